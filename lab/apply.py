#!/usr/bin/env python3
"""Build the series for a base as git commits on top of the commit "base", and check them out in out/BASE/ours.

    lab/apply.py BASE [-v] [--strict]           SUITE=NAME: on the base as that suite of Debian has it, in out/BASE-SUITE

Each directory series/NNNN-name is one commit: `message`, and `apply` with one action a line (series/README tells which).
The same input gives the same commits. Whatever has no effect or does not fit stops the run and is named. -v tells what
became of comments, --strict also refuses files of the repository that are in no commit.
"""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
import edits  # noqa: E402
import semantic  # noqa: E402
import tidy  # noqa: E402
import variation  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / 'out'
# What is applied: the kernel's part, or with VMM=NAME what makes a VMM use it, which looks the same: its own files at the paths
# of its tree, series/, bases/.
VMM = os.environ.get('VMM', '')
HOME = ROOT / 'vmm' / VMM if VMM else ROOT
TREES = OUT / VMM
SUITE = os.environ.get('SUITE', '')
DATE = 1767225600  # a fixed date, so that the same input gives the same hashes
GIT_ENV = dict(os.environ, GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_SYSTEM='/dev/null', GIT_CONFIG_NOSYSTEM='1')
for leftover in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE', 'GIT_OBJECT_DIRECTORY'):
    GIT_ENV.pop(leftover, None)


class Stop(Exception):
    pass


def say(text):
    print(f'[apply] {text}', flush=True)


def git(tree, *args, check=True, data=None):
    command = ['git', '-C', str(tree), '-c', 'core.hooksPath=/dev/null', '-c', 'gc.auto=0', '-c', 'safe.directory=*',
               '-c', 'advice.detachedHead=false', *args]
    done = subprocess.run(command, env=GIT_ENV, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and done.returncode:
        raise Stop(f'git {args[0]} in {tree.relative_to(ROOT)}: {done.stderr.decode().strip()}')
    return done.stdout


def identity():
    """Who the commits are by, whoever exports them: the maintainer that MAINTAINERS names."""
    for line in (ROOT / 'MAINTAINERS').read_text().splitlines():
        if line.startswith('M:'):
            return line[2:].strip()
    raise Stop('MAINTAINERS: no line with M:')


class Cache:
    """What spatch and the tidying made of a content, addressed by the hash of everything that went in."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.tools = directory, {}

    def get(self, tool, make, *inputs):
        """tool: the module that does the work; a change of it is a change of the input."""
        code = self.tools.setdefault(tool, Path(tool.__file__).read_text())
        key = hashlib.sha256(json.dumps([code, inputs]).encode()).hexdigest()
        path = self.directory / key
        if path.exists():
            return json.loads(path.read_text())
        value = make()
        temporary = path.with_suffix(f'.{os.getpid()}.{id(value)}')
        temporary.write_text(json.dumps(value))
        temporary.rename(path)
        return value


def read_list(path):
    """The lines of a file without comments and blank lines."""
    if not path.exists():
        return []
    lines = (line.split('#')[0].strip() if not line.startswith('keep ') else line.strip()
             for line in path.read_text().split('\n'))
    return [line for line in lines if line]


class Commit:
    """One directory of series/: its message and actions, with what the base adds to them."""

    def __init__(self, directory, bases):
        self.name, self.directory, self.bases = directory.name, directory, bases
        own = bases / (self.name + '.message')
        self.message = (own if own.exists() else directory / 'message').read_text().strip() + '\n'
        self.actions = []
        for line in read_list(directory / 'apply') + read_list(bases / (self.name + '.apply')):
            verb, _, rest = line.partition(' ')
            self.actions.append((verb, rest.strip()))

    def beside(self, name, what):
        """A semantic patch or a diff stands beside the actions, or with the base."""
        found = [d / name for d in (self.directory, self.bases) if (d / name).exists()]
        if len(found) != 1:
            raise Stop(f'{self.name}: {what} {name} found {len(found)} times')
        return found[0]

    def cocci(self, name):
        return self.beside(name, 'semantic patch')


class Series:
    def __init__(self, base, tree):
        self.base, self.tree = base, tree
        self.bases = HOME / 'bases' / base
        silent = read_list(self.bases / 'silent')
        self.absent = {entry.split()[1] for entry in silent if entry.startswith('file ')}
        self.ledger = semantic.Ledger([entry for entry in silent if not entry.startswith('file ')])
        self.cache = Cache(OUT / 'cache' / 'spatch')
        self.content = {}       # path -> text, as of the last commit made; None where there is no such file
        self.owner = {}         # whole file or fragment -> the commit it appears in
        self.states = {}        # whole file or fragment -> the repository's text of it, as of the last commit made
        self.fragments = {}     # fragment -> (the edit that puts it into the file, what it has put there)
        self.variation = variation.Variation(HOME, base, read_list(self.bases / 'moved'))
        self.executable = set()
        self.report = []
        self.commits = [Commit(d, self.bases) for d in sorted((HOME / 'series').glob('[0-9]*')) if (d / 'apply').exists()]
        self.grown = OUT / 'cache' / 'grown' / VMM
        self.growth = {}        # path -> [(commit, hunks)]: how a file grows after the commit that adds it
        for commit in self.commits:
            self.read_growth(commit)

    # -- files

    def read(self, path):
        """A file as the commits so far left it, or None."""
        if path not in self.content:
            done = subprocess.run(['git', '-C', str(self.tree), '-c', 'safe.directory=*', 'cat-file', 'blob', f'base:{path}'],
                                  env=GIT_ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.content[path] = done.stdout.decode() if done.returncode == 0 else None
        return self.content[path]

    def need(self, commit, path):
        text = self.read(path)
        if text is None:
            raise Stop(f'{commit.name}: {path} is not in base {self.base}')
        return text

    def own(self, commit, path):
        if path in self.owner:
            raise Stop(f'{commit.name}: {path} appears in {self.owner[path]} already')
        self.owner[path] = commit.name

    # -- files that a later commit adds to

    def read_growth(self, commit):
        for verb, argument in commit.actions:
            if verb == 'grow':
                for path, hunks in self.steps(commit, argument).items():
                    self.growth.setdefault(path, []).append((commit.name, hunks))

    @staticmethod
    def steps(commit, name):
        try:
            return edits.parse_diff((commit.directory / name).read_text(), ours=True)
        except (edits.Failed, OSError) as error:
            raise Stop(f'{commit.name}: grow {name}: {error}') from None

    def state(self, commit, path):
        """A file of the repository as this commit has it: without what later ones add."""
        text = self.variation.source(path).read_text()
        for later, hunks in reversed(self.growth.get(path, [])):
            if later > commit.name:
                try:
                    text = edits.step(text, edits.backwards(hunks), path)
                except edits.Failed as error:
                    raise Stop(f"{later}: what it adds cannot be taken out: {error}; see 'lab/grow.py refresh'") from None
        return text

    def check_grown(self):
        """All steps together make the repository's files, which are kept for 'lab/grow.py refresh'."""
        for path in self.growth:
            there = self.variation.of(path, self.states[path])
            edited = path not in self.fragments and self.content[self.variation.there(path)] != there
            if edited or self.states[path] != (HOME / path).read_text():
                raise Stop(f'{path}: what the commits add up to is not the file of the repository')
            saved = self.grown / path
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_text(self.states[path])

    def put(self, commit, path, text):
        """A state of a file or fragment of ours into the base, as the base has it: {path: text}."""
        self.states[path] = text
        there, text = self.variation.there(path), self.variation.of(path, text)
        if path not in self.fragments:
            return {there: text}
        edit, before = self.fragments[path]
        self.fragments[path] = edit, text
        return {there: edit(self.need(commit, there), text, before)}

    # -- actions; each returns {path: text}

    def do_file(self, commit, argument):
        out = {}
        for pattern in argument.split():
            paths = self.variation.glob(pattern)
            if not paths:
                raise Stop(f'{commit.name}: file {pattern}: no such file in the repository')
            for path in paths:
                there = self.variation.there(path)
                if self.read(there) is not None:
                    raise Stop(f'{commit.name}: file {there} is in the base already')
                self.own(commit, path)
                out.update(self.put(commit, path, self.state(commit, path)))
                if os.access(self.variation.source(path), os.X_OK):
                    self.executable.add(there)
        return out

    def do_grow(self, commit, argument):
        out = {}
        for path, hunks in self.steps(commit, argument).items():
            if path not in self.owner:
                raise Stop(f'{commit.name}: grow {argument}: {path} is in no earlier commit')
            try:
                out.update(self.put(commit, path, edits.step(self.states[path], hunks, path)))
            except edits.Failed as error:
                raise Stop(f'{commit.name}: grow {argument}: {error}') from None
        return out

    def fragment(self, commit, path, edit):
        if not (HOME / path).exists():
            raise Stop(f'{commit.name}: fragment {path} is not in the repository')
        self.own(commit, path)
        self.fragments[path] = edit, ''
        try:
            return self.put(commit, path, self.state(commit, path))
        except edits.Failed as error:
            raise Stop(f'{commit.name}: fragment {path}: {error}') from None

    def do_uapi(self, commit, argument):
        return self.fragment(commit, argument, edits.replace_definitions)

    def do_rst(self, commit, argument):
        return self.fragment(commit, argument, edits.replace_sections)

    def do_entry(self, commit, argument):
        return self.fragment(commit, argument, edits.insert_entry)

    def do_vary(self, commit, argument):
        """From this commit on, files of ours are different on this base."""
        out = {}
        try:
            files = edits.parse_diff(commit.beside(argument, 'diff').read_text(), ours=True)
            self.variation.add(f'{commit.name}: vary {argument}', files)
            for path in files:
                if path not in self.states:
                    raise Stop(f'{commit.name}: vary {argument}: {path} is in no commit so far')
                out.update(self.put(commit, path, self.states[path]))
        except edits.Failed as error:
            raise Stop(f'{commit.name}: vary {argument}: {error}') from None
        return out

    def do_delete(self, commit, argument):
        self.need(commit, argument)
        return {argument: None}

    def do_diff(self, commit, argument):
        name = argument.replace('$BASE', self.base)
        out = {}
        try:
            diff = HOME / name if '/' in name else commit.beside(name, 'diff')
            for path, hunks in edits.parse_diff(diff.read_text()).items():
                out[path] = edits.apply_hunks(self.need(commit, path), hunks, path)
        except (edits.Failed, OSError) as error:
            raise Stop(f'{commit.name}: diff {name}: {error}') from None
        return out

    # -- semantic patches: all of a commit's, file by file, two files at a time

    def patch_file(self, commit, path, names, keep):
        """(path, text, [(cocci, its text, hits)], report)"""
        before = text = self.need(commit, path)
        ran = []
        for name in names:
            rules = commit.cocci(name).read_text()
            semantic.parse(rules, name)
            text, hits = self.cache.get(semantic, lambda: self.slow(name, path, rules, text), rules, path, text)
            ran.append((name, rules, hits))
        text, report = self.cache.get(tidy, lambda: tidy.tidy(before, text, keep), before, text, keep)
        return path, text, ran, report

    @staticmethod
    def slow(name, path, rules, text):
        say(f'spatch {name} {path}')
        return semantic.spatch(rules, name, text, path)

    def do_spatches(self, commit):
        todo, keep = {}, {}
        for verb, argument in commit.actions:
            words = argument.split()
            if words:
                words[0] = self.variation.there(words[0])
            if verb == 'spatch' and words[0] not in self.absent:
                todo.setdefault(words[0], []).extend(words[1:])
            elif verb == 'keep' and words[0] not in self.absent:
                keep.setdefault(words[0], []).append(' '.join(words[1:]))
        stray = set(keep) - set(todo)
        if stray:
            raise Stop(f'{commit.name}: keep for a file without semantic patch: {" ".join(stray)}')
        out = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda p: self.patch_file(commit, p, todo[p], keep.get(p, [])), todo))
        for path, text, ran, report in results:
            for name, rules, hits in ran:
                self.ledger.add(name, rules, path, hits)
            self.report += [f'{commit.name}: {path}: {line}' for line in report]
            out[path] = text
        useless = [line for line in self.report if 'keep without effect' in line]
        if useless:
            raise Stop('\n'.join(useless))
        return out

    # -- commits

    def changes(self, commit):
        """{path: text} of one commit. The semantic patches see the file as the commit before left it."""
        changed = self.do_spatches(commit)
        self.content.update(changed)
        for verb, argument in commit.actions:
            if verb in ('spatch', 'keep'):
                continue
            do = getattr(self, 'do_' + verb, None)
            if not do:
                raise Stop(f'{commit.name}: no such action: {verb}')
            new = do(commit, argument)
            self.content.update(new)
            changed.update(new)
        return changed

    def stream(self):
        """The series in the language of git fast-import."""
        who, out = identity(), []

        def data(text):
            raw = text.encode()
            out.extend([b'data %d\n' % len(raw), raw, b'\n'])

        for number, commit in enumerate(self.commits, 1):
            stamp = f'{who} {DATE + 60 * number} +0000'
            changed = self.changes(commit)
            out.append(f'commit refs/kvmclock/next\nauthor {stamp}\ncommitter {stamp}\n'.encode())
            data(commit.message + f'\nSigned-off-by: {who}\n')
            if number == 1:
                out.append(b'from refs/tags/base^0\n')
            for path in sorted(changed):
                if changed[path] is None:
                    out.append(f'D {path}\n'.encode())
                    continue
                mode = '100755' if path in self.executable else '100644'
                out.append(f'M {mode} inline {path}\n'.encode())
                data(changed[path])
        self.check_grown()
        problems = self.ledger.problems()
        if problems:
            raise Stop('semantic patches without effect:\n' + '\n'.join('    ' + p for p in problems))
        return b''.join(out)


def copy_tree(stock, ours):
    """ours starts as a copy of stock, built or not; a copy for another base, or a half-finished one, is made anew."""
    head = git(stock, 'rev-parse', 'base')
    if (ours / '.git').is_dir() and git(ours, 'rev-parse', '-q', '--verify', 'base', check=False) == head:
        return
    say('copying the base tree (once)')
    temporary = ours.with_name('ours.tmp')
    for old in (temporary, ours):
        if old.exists():
            shutil.rmtree(old)
    subprocess.run(['cp', '-a', str(stock), str(temporary)], check=True)
    temporary.rename(ours)


def keep_edits(ours):
    """What somebody edited in the copy is about to be overwritten: leave it in a file and say so."""
    edited = git(ours, 'diff', 'HEAD')
    if edited:
        path = OUT / 'logs' / 'ours-edits.diff'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(edited)
        say(f'warning: {ours.relative_to(ROOT)} had edits of its own, now undone; they are in {path.relative_to(ROOT)}')


def check_out(ours, stream):
    """Returns True if anything changed."""
    for lock in ('index.lock', 'HEAD.lock'):
        (ours / '.git' / lock).unlink(missing_ok=True)   # of a run that was killed; ours is locked by this one
    git(ours, 'update-ref', '-d', 'refs/kvmclock/next')
    git(ours, 'fast-import', '--quiet', '--force', data=stream)
    new, old = (git(ours, 'rev-parse', ref).decode().strip() for ref in ('refs/kvmclock/next', 'HEAD'))
    keep_edits(ours)
    git(ours, 'checkout', '-q', '-f', '--detach', new)
    git(ours, 'update-ref', 'refs/heads/series', new)
    return new != old


def unused(series):
    """Files of the repository at in-tree paths that no commit of the series has."""
    listed = subprocess.run(['git', '-C', str(HOME), 'ls-files', 'arch', 'include', 'Documentation', 'tools', 'MAINTAINERS',
                             'docs', 'hw', 'linux-headers'], stdout=subprocess.PIPE, text=True).stdout.split()
    return [path for path in listed if path not in series.owner]


def main(arguments):
    verbose, strict = '-v' in arguments, '--strict' in arguments
    base = next((a for a in arguments if not a.startswith('-')), os.environ.get('BASE', '7.3'))
    name = f'{base}-{SUITE}' if SUITE else base
    stock, ours = TREES / name / 'stock', TREES / name / 'ours'
    if not (HOME / 'bases' / base / 'base').exists():
        raise Stop(f'unknown BASE={base}; known: ' + ' '.join(sorted(p.name for p in (HOME / 'bases').iterdir())))
    if not (stock / '.git' / 'base.txt').exists():
        raise Stop(f"the base is not there yet: run 'make fetch BASE={base}' first")
    if not shutil.which('spatch'):
        raise Stop("missing tool: spatch; 'make setup' as root installs it")
    with open(OUT / f'.lock.apply-{VMM}{name}', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy_tree(stock, ours)
        series = Series(base, ours)
        stream = series.stream()
        changed = check_out(ours, stream)
        (OUT / 'logs').mkdir(exist_ok=True)
        (OUT / 'logs' / f'apply-{VMM}{name}.log').write_text('\n'.join(series.report) + '\n')
    if strict and unused(series):
        raise Stop('in no commit of the series: ' + ' '.join(unused(series)))
    if verbose:
        print('\n'.join(series.report))
    say(f'{len(series.commits)} commits on {name}, {"checked out" if changed else "nothing changed"}')


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (Stop, semantic.Failed, edits.Failed) as stop:
        sys.exit(f'[apply] error: {stop}')
