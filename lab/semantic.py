"""Run semantic patches (Coccinelle), and know which of their rules did something."""
import re
import subprocess
import tempfile
from pathlib import Path

from tidy import opcodes

SPATCH = ['spatch', '--no-includes', '--no-show-diff', '--debug']


class Failed(Exception):
    pass


class Rule:
    """A rule of a .cocci file: its name, whether it changes code, and the lists of names it looks for."""

    def __init__(self, header, declarations, body):
        self.name = header.split()[0] if header.split() else ''
        self.script = self.name.startswith(('script:', 'initialize:', 'finalize:'))
        self.changes = not self.script and re.search(r'^[-+]', body, re.M) is not None
        declarations = re.sub(r'//[^\n]*|/\*.*?\*/', '', declarations, flags=re.S)
        self.lists = {var: re.findall(r'\w+', names)
                      for var, names in re.findall(r'(\w+)\s*=\s*\{([^}]*)\}', declarations)}


def parse(text, name):
    rules = []
    pieces = re.split(r'^@([^@]*)@(.*?)@@', text, flags=re.M | re.S)
    for header, declarations, body in zip(pieces[1::3], pieces[2::3], pieces[3::3]):
        rule = Rule(header, declarations, body)
        if rule.changes and not rule.name or rule.name == 'depends':
            raise Failed(f'{name}: a rule without a name: {body.strip().splitlines()[0] if body.strip() else "?"}')
        rules.append(rule)
    return rules


def hits_of(debug):
    """What transformed something: rule names, and 'rule.variable=name' for each name that was bound then."""
    hits, current, binding = set(), None, ''
    transform = False
    for line in debug.split('\n'):
        m = re.match(r'(rule starting on line \d+|[\w-]+) = $', line)
        if m:
            current = m[1]
        elif 'transform state:' in line and current:
            transform = True
            hits.add(current)
        elif transform and (binding or 'with binding:' in line):
            binding += line
            if line.rstrip().endswith(']'):
                hits.update(f'{rule}={name}' for rule, name in re.findall(r'([\w-]+\.\w+) --> id (\w+)', binding))
                transform, binding = False, ''
    return hits


def removed_words(before, after):
    """The words on lines that a semantic patch took away or changed."""
    old, new = before.split('\n'), after.split('\n')
    return {w for _, i1, i2, _, _ in opcodes(old, new) for line in old[i1:i2] for w in re.findall(r'\w+', line)}


def spatch(cocci_text, cocci_name, source, path):
    """(new source, hits)"""
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        patch, old, new = tmp / 'p.cocci', tmp / Path(path).name, tmp / 'out'
        patch.write_text(cocci_text)
        old.write_text(source)
        done = subprocess.run(SPATCH + ['--sp-file', str(patch), str(old), '-o', str(new)], cwd=tmp,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
        if done.returncode:
            tail = '\n'.join(done.stdout.strip().split('\n')[-8:])
            raise Failed(f'{cocci_name} on {path}: spatch fails:\n{tail}')
        result = new.read_text() if new.exists() else source
    listed = {n for rule in parse(cocci_text, cocci_name) for names in rule.lists.values() for n in names}
    gone = {f'removed={w}' for w in listed & removed_words(source, result)}
    return result, sorted(hits_of(done.stdout) | gone)


class Ledger:
    """Which rules and names of the semantic patches did something, on all files together."""

    def __init__(self, silent):
        self.silent, self.rules, self.hits, self.idle, self.done = silent, {}, {}, [], set()

    def add(self, cocci, text, path, hits):
        self.rules.setdefault(cocci, parse(text, cocci))
        busy = any(r.changes and r.name in hits for r in self.rules[cocci])
        entry = f'nothing {cocci} {path}'
        if entry in self.silent:
            self.done.add(entry)
            if busy:
                self.idle.append(f'{cocci} is listed silent for {path} but changes something in it')
            return
        self.hits.setdefault(cocci, set()).update(hits)
        if not busy:
            self.idle.append(f'{cocci} changes nothing in {path}')

    def problems(self):
        found, expected = list(self.idle), set(self.silent) - self.done
        for cocci, rules in self.rules.items():
            if cocci not in self.hits:
                continue    # nothing to do anywhere, as it is listed
            for kind, name, effective in self._items(rules, self.hits[cocci]):
                entry = f'{kind} {cocci} {name}'
                if entry in expected:
                    expected.discard(entry)
                    if effective:
                        found.append(f'{cocci}: {kind} {name} is listed silent but changes something')
                elif not effective:
                    found.append(f'{cocci}: {kind} {name} changes nothing')
        return found + [f'listed silent, but there is no such thing: {e}' for e in sorted(expected)
                        if e.split()[1] in self.rules]

    @staticmethod
    def _items(rules, hits):
        """Each rule, and each name of a list: rules that share a list (repeated passes) share its names too. Coccinelle
        tells which name was bound only where a rule uses it twice; else the name must be on a line that changed."""
        lists = {}
        for rule in rules:
            if rule.changes:
                yield 'rule', rule.name, rule.name in hits
            for var, names in rule.lists.items():
                lists.setdefault(tuple(names), []).append(f'{rule.name}.{var}')
        for names, variables in lists.items():
            bound = {hit.partition('=')[2] for hit in hits if hit.partition('=')[0] in variables}
            for name in names:
                yield 'name', name, name in bound if bound else f'removed={name}' in hits
