#!/usr/bin/env python3
"""The judge of the laboratory.

    report.py plan LAB KVM TIER [TEST...]   write the plan of a run (see lab/init) to standard output
    report.py check RUN...                  judge runs (directories, see lab/boot.sh), each named LAB or LAB-something

A run passes only if each planned test has one result and no other stands there, none failed, none skipped that
lab/known.list does not list, the kernel logged no splat, the host reported its own end, and the emulator ended by
itself. What is missing has failed. A test that reports its cases (TAP) counts by its cases.
"""
import fnmatch
import os
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

LAB = Path(__file__).resolve().parent
RESULTS = Path(os.environ.get('RESULTS', LAB.parent / 'out' / 'results'))
BASE = os.environ.get('BASE', '7.3')
SLOWER = int(os.environ.get('SLOWER') or 1)     # the hosts' kernel is that many times as slow (lab/sanitize.sh)
SAN = os.environ.get('SAN', '')                 # and the sanitizers that it has

# One pattern a kind of trouble that the kernel reports.
SPLAT = re.compile(
    r'WARNING:|\bBUG:|kernel BUG at|\bOops\b|general protection fault|Kernel panic|KASAN:|KCSAN:|UBSAN:'
    r'|INFO: task .* blocked|INFO: rcu|rcu: INFO:|RCU Stall|detected .*stalls?|soft lockup|hard LOCKUP'
    r'|suspicious RCU usage|possible .* locking|inconsistent lock state|[Ii]nvalid wait context'
    r'|bad unlock balance|held lock freed|lock held when returning|sleeping function called'
    r'|scheduling while atomic|refcount_t:|list_(add|del) corruption|unchecked MSR access'
    r'|[Cc]locksource .*(unstable|skewed)|nobody cared|kmemleak: \d+ new suspected')
KVMS = ('stock', 'ours')
CUT, TRACE_END = '[ cut here ]', '[ end trace'


def table(path, columns):
    """Rows of a list: columns split at blanks, the last takes the rest of the line."""
    rows = []
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith('#'):
            row = line.split(None, columns - 1)
            if len(row) != columns:
                sys.exit(f'{path.name}: not {columns} columns: {line}')
            rows.append(row)
    return rows


class Test:
    """A line of lab/tests.list."""

    FAULT_TRIES = 3     # of a test that is to show a fault of stock's, which some depend on chance for

    def __init__(self, name, amd, intel, limit, tries, stock):
        self.name, self.tier = name, {'amd': amd, 'intel': intel}
        self.limit, self.tries, self.stock = limit, tries, stock

    def planned(self, kvm):
        """Its line of a plan, see lab/init."""
        limit = int(self.limit) * SLOWER
        if kvm == 'stock' and self.stock == 'fail':
            return f'{kvm} {self.name} {limit} {max(int(self.tries), self.FAULT_TRIES)} fault'
        return f'{kvm} {self.name} {limit} {self.tries}'


def read_tests():
    """The rounds of lab/tests.list, each a list of tests; those that only the base has are in the first."""
    own = LAB.parent / 'bases' / BASE / 'tests.list'
    rounds = [[Test(*row) for row in table(own, 6)] if own.exists() else []]
    for row in table(LAB / 'tests.list', 6):
        if row == ['round', '-', '-', '-', '-', '-']:
            rounds.append([])
        else:
            rounds[-1].append(Test(*row))
    return rounds


class Known:
    """lab/known.list: what the emulation itself makes impossible."""

    def __init__(self, rows, san=SAN):
        self.rows, self.san = rows, san

    def is_of(self, k_lab, lab):
        """A lab's entry holds under all kernels, LAB+SAN only under that one (lab/sanitize.sh)."""
        return k_lab in (lab, f'{lab}+{self.san}')

    def reason(self, lab, kvm, what, name):
        for k_lab, k_kvm, k_what, k_name, reason in self.rows:
            if k_what == what and self.is_of(k_lab, lab) and k_kvm in (kvm, 'both') and fnmatch.fnmatchcase(name, k_name):
                return reason
        return None

    def is_left_out(self, lab, name):
        """Under a sanitizer's kernel, and only there, a test may be absent that the lab has otherwise."""
        return self.reason(f'{lab}+{self.san}', 'both', 'absent', name)

    def splat(self, lab, kvm, test, line):
        """Listed as TEST:TEXT, with _ for the blanks of the text; TEST is boot, end, console, a test, or * for any."""
        for k_lab, k_kvm, what, name, _ in self.rows:
            where, _, text = name.partition(':')
            if what != 'splat' or not self.is_of(k_lab, lab) or k_kvm not in ('both', kvm):
                continue
            if where in (test, '*') and text in line.replace(' ', '_'):
                return True
        return False


def read_known():
    return Known(table(LAB / 'known.list', 5))


def plan(lab, kvm, tier, only, rounds=None, known=None):
    """The lines of a plan: in each round, for each KVM, its modules loaded, the tests, its modules unloaded."""
    rounds = rounds or read_tests()
    known = known or read_known()
    unknown = set(only) - {t.name for tests in rounds for t in tests}
    if unknown:
        sys.exit(f'no such test in lab/tests.list: {" ".join(sorted(unknown))}')
    lines = []
    for tests in rounds:
        chosen = [t for t in tests if t.name in only or
                  (not only and t.tier[lab] in (tier, 'both') and not known.is_left_out(lab, t.name))]
        for k in ['stock', 'ours'] if kvm == 'both' else [kvm]:
            mine = [t.planned(k) for t in chosen if k == 'ours' or t.stock != '-']
            if mine:
                lines += [f'{k} load {60 * SLOWER} 1', *mine, f'{k} unload {60 * SLOWER} 1']
    return lines


class Tap:
    """The cases that a test reports in its output: TAP or KTAP, nested by indentation. Leaves count."""

    RESULT = re.compile(r'^( *)(ok|not ok) (\d+)\b ?-? ?(.*)$')
    PLAN = re.compile(r'^( *)1\.\.(\d+)')
    VERSION = re.compile(r'^( *)K?TAP version')

    def __init__(self, lines):
        self.cases, self.errors = [], []        # (verdict, name, reason)
        self.levels = {}                        # indentation: [planned, seen, cases below the next result]
        self.prefix = []
        for line in lines:
            self.line(line)
        for indent in sorted(self.levels, reverse=True):
            self.close(indent)

    def is_skipped(self, record):
        """Nothing was tested; whether that is excused is for the list of what is known to say."""
        return all(c[0] == 'skip' for c in self.cases) if self.cases else record.comment == 'SKIP'

    def level(self, indent):
        return self.levels.setdefault(indent, [None, 0, 0])

    def close(self, indent):
        planned, seen, _ = self.levels.pop(indent)
        if planned is not None and planned != seen:
            self.errors.append(f'{planned} cases planned, {seen} reported')

    def line(self, line):
        if line.lstrip().startswith('Bail out!'):
            self.errors.append(line.strip())
        if m := self.VERSION.match(line):
            for indent in [i for i in sorted(self.levels, reverse=True) if i >= len(m[1])]:
                self.close(indent)
        elif m := self.PLAN.match(line):
            self.level(len(m[1]))[0] = int(m[2])
        elif m := self.RESULT.match(line):
            self.result(len(m[1]), m[2], int(m[3]), m[4])

    def result(self, indent, verdict, number, text):
        level = self.level(indent)
        level[1] += 1
        if number != level[1]:
            self.errors.append(f'case {number} where {level[1]} was due')
        below = [i for i in self.levels if i > indent]
        for i in sorted(below, reverse=True):
            self.close(i)
        name, _, directive = text.partition('#')
        word, _, reason = directive.strip().partition(' ')
        if word.upper() == 'SKIP':
            name, verdict = name.strip() or reason, 'skip'
        elif word.upper() in ('XFAIL', 'TODO'):
            verdict = 'ok'
        # A suite's own line adds nothing to its cases, unless it fails where they do not.
        if not below or (verdict == 'not ok' and all(c[0] != 'not ok' for c in self.cases)):
            self.cases.append((verdict, name.strip().replace(' ', '_'), reason.strip()))


class Record:
    """One result of the host and what came before it."""

    def __init__(self, number, name):
        self.number, self.name = number, name
        self.output, self.kernel = [], []
        self.verdict, self.comment, self.exit = None, '', None

    def measures(self):
        for line in self.output:
            if m := re.match(r'^\s*# measure (\S+) (-?[0-9.]+) (\S+)$', line):
                yield m.groups()


class Result:
    """The host's result channel, taken apart. Whatever is not of its grammar is an error."""

    def __init__(self, text):
        self.errors, self.records, self.end, self.planned, self.host = [], [], None, None, ''
        self.boot, self.after = Record(0, 'boot'), Record(0, 'end')
        self.current = None
        lines = text.split('\n')
        if lines.pop() != '':
            self.errors.append('the last record is truncated')
        for number, line in enumerate(lines, 1):
            if not self.line(line.rstrip('\r')):
                self.errors.append(f'line {number} is no record: {line[:80]!r}')

    def line(self, line):
        place = self.current or (self.after if self.records else self.boot)
        if line.startswith('# > ') or line == '# >':
            place.output.append(line[4:])
        elif line.startswith('# k ') or line == '# k':
            place.kernel.append(line[4:])
        elif line.startswith('# again '):
            place.output = []
        elif line.startswith('# clocksource '):
            place.output.append(line)
        elif line.startswith('# host '):
            self.host = line[7:]
        elif m := re.fullmatch(r'# begin (\d+) (\S+)', line):
            self.current = Record(int(m[1]), m[2])
        elif m := re.fullmatch(r'(ok|not ok) (\d+) (\S+) # (SKIP |TIMEOUT )?exit=(\d+) seconds=(-?[0-9.]+)', line):
            return self.result(m)
        elif m := re.fullmatch(r'# end (\d+)', line):
            self.end = int(m[1])
        elif m := re.fullmatch(r'1\.\.(\d+)', line):
            self.planned = int(m[1])
        else:
            return line == 'KTAP version 1'
        return True

    def result(self, m):
        record = self.current
        if not record or (record.number, record.name) != (int(m[2]), m[3]):
            return False
        record.verdict, record.exit, record.seconds = m[1], int(m[5]), m[6]
        record.comment = (m[4] or '').strip()
        self.records.append(record)
        self.current = None
        return True


def accesses(lines):
    """The two accesses of a race, e.g. `read 1`, from the lines behind its first: functions are long, and have many."""
    for line in lines:
        if 'KCSAN:' in line or 'Reported by Kernel Concurrency Sanitizer' in line:
            return
        if m := re.search(r'\b(read-write|read|write)(?: \([^)]*\))? to 0x\S+ of (\d+) bytes by', line):
            yield f'{m[1]} {m[2]}'


def splats(lines, lab, test, known, kvm='both'):
    """First lines of the kernel's complaints that are not known. What a WARN prints between its marks is one."""
    found, quiet = [], False
    for number, line in enumerate(lines):
        if CUT in line:
            quiet = False
        elif TRACE_END in line:
            quiet = False
        elif not quiet and SPLAT.search(line):
            quiet = True
            if 'KCSAN: data-race' in line:
                line = f'{line.rstrip()} ({", ".join(sorted(accesses(lines[number + 1:])))})'
            if not known.splat(lab, kvm, test, line):
                found.append(re.sub(r'^\[ *[0-9.]+\] *', '', line).strip())
            # A report without marks ends where it will; further lines of it may count again, which harms nobody.
            quiet = 'WARNING: ' in line and bool(re.search(r'WARNING: \S+:\d+ at |WARNING: CPU', line))
    return found


class Judge:
    def __init__(self, lab, directory, known, rounds):
        self.lab, self.dir, self.known = lab, Path(directory), known
        self.tests = {t.name: t for tests in rounds for t in tests}
        self.passed, self.failed, self.skipped = [], [], []
        self.result = Result(self.text('result.ktap'))
        self.plan = [line.split() for line in self.text('plan').splitlines()]
        self.records = {r.number: r for r in self.result.records}
        self.runs = [self]  # those of this lab that are judged together

    def text(self, name):
        path = self.dir / name
        return path.read_text(errors='replace') if path.exists() else ''

    def say(self, verdict, name, why=''):
        where = {'ok': self.passed, 'NOT OK': self.failed, 'skipped': self.skipped}[verdict]
        where.append(name)
        if verdict != 'ok' or '/' not in name.partition('/')[2].partition('/')[2]:
            print(f'{verdict:8} {name}{": " + why if why else ""}')

    def judge(self):
        self.judge_run()
        for number, (kvm, test, *_) in enumerate(self.plan, 1):
            self.judge_test(number, kvm, test)
        if not self.plan:
            self.say('NOT OK', f'{self.dir.name}/run', 'nothing was planned')
        self.save_measures()
        return self

    def judge_run(self):
        """The run as a whole: one result, which needs all of these."""
        result, why = self.result, list(self.result.errors)
        status = self.text('status').strip()
        if result.planned != len(self.plan) or len(result.records) != len(self.plan):
            why.append(f'{len(self.plan)} tests asked for, {result.planned} planned by the host, '
                       f'{len(result.records)} results')
        if result.current:
            why.append(f'it ended in {result.current.name}')
        if result.end != 0:
            why.append('the host did not report its own end')
        if status != 'exit 0':
            why.append('stopped at the time limit' if status == 'limit' else f'the emulator ended with {status or "?"}')
        reported = {line for r in [result.boot, result.after, *result.records] for line in r.kernel}
        rest = [line for line in self.text('console.log').splitlines() if line not in reported]
        for lines, when in ((result.boot.kernel, 'boot'), (result.after.kernel, 'end'), (rest, 'console')):
            why += [f'{splat} ({when})' for splat in splats(lines, self.lab, when, self.known)]
        self.say('NOT OK' if why else 'ok', f'{self.dir.name}/run', '; '.join(why) or result.host)

    def judge_test(self, number, kvm, name):
        full = f'{self.lab}/{kvm}/{name}'
        record = self.records.get(number)
        if not record or record.name != f'{kvm}/{name}':
            self.say('NOT OK', full, 'no result')
            return
        complaints = splats(record.kernel, self.lab, name, self.known, kvm)
        if complaints:
            self.say('NOT OK', full, '; '.join(complaints))
            return
        tap = Tap(record.output)
        if kvm == 'stock' and name in self.tests and self.tests[name].stock == 'fail' and not tap.is_skipped(record):
            self.judge_fault(full, record, tap)
        else:
            self.judge_result(full, kvm, name, record, tap)

    def judge_fault(self, full, record, tap):
        """One of our tests on stock, whose fault it must show, and by a case of its own, not by falling over."""
        shown = [c[1] for c in tap.cases if c[0] == 'not ok']
        if record.comment == 'TIMEOUT' or record.exit >= 126:    # by a signal, or not to be run at all
            self.say('NOT OK', full, f'fell over on stock (exit {record.exit}) {record.comment}')
        elif record.verdict == 'ok' or not (shown or not tap.cases):
            self.say('NOT OK', full, 'passes on stock, so it shows no fault')
        elif tap.errors:
            self.say('NOT OK', full, '; '.join(tap.errors))
        else:
            self.say('ok', full, f'fails on stock, as it must: {len(shown)} of {len(tap.cases)} cases')

    def judge_result(self, full, kvm, name, record, tap):
        why = list(tap.errors)
        bad = [c[1] for c in tap.cases if c[0] == 'not ok']
        if record.verdict == 'not ok' or (record.exit != 0 and record.comment != 'SKIP'):
            why.append(f'{record.comment.lower() or "exit"} {record.exit}')
            why += [line.strip() for line in record.output if re.search(r'Assertion|FAIL|errno', line)][:3]
        if bad:
            why.append('failing cases: ' + ' '.join(bad[:8]) + (' ...' if len(bad) > 8 else ''))
        if why:
            self.judge_failure(full, kvm, name, why)
        elif record.comment == 'SKIP' and not tap.cases:
            self.judge_skip(full, kvm, name, ' '.join(record.output[-1:]))
        else:
            skips = sum(c[0] == 'skip' for c in tap.cases)
            cases = f'{len(tap.cases) - skips} cases, ' if tap.cases else ''
            if len(tap.cases) > skips or not tap.cases:
                print(f'ok       {full}: {cases}{record.seconds} s')
            self.judge_cases(full, kvm, name, tap)

    def judge_cases(self, full, kvm, name, tap):
        if not tap.cases:
            self.passed.append(full)
        for verdict, case, reason in tap.cases:
            if verdict == 'skip':
                self.judge_skip(f'{full}/{case}', kvm, f'{name}/{case}', reason)
            else:
                self.passed.append(f'{full}/{case}')

    def judge_skip(self, full, kvm, name, said):
        reason = self.known.reason(self.lab, kvm, 'skip', name)
        if reason:
            self.say('skipped', full, reason)
        else:
            self.say('NOT OK', full, f'skips, and lab/known.list does not allow it: {said}')

    def judge_failure(self, full, kvm, name, why):
        """A listed failure is excused on ours only if stock, where it ran as well, failed too."""
        reason = self.known.reason(self.lab, kvm, 'fail', name)
        stock = [r.verdict for run in self.runs for r in run.result.records if r.name == f'stock/{name}']
        if reason and (kvm == 'stock' or 'ok' not in stock):
            self.say('skipped', full, f'fails, as known: {reason}')
        else:
            self.say('NOT OK', full, '; '.join(why))

    def save_measures(self):
        """What the tests measured, without arguments of their own: out/results/BASE-LAB-KVM.tsv, a test's old lines
        replaced by its new ones."""
        new = {}
        for record in self.result.records:
            kvm, _, name = record.name.partition('/')
            for key, value, unit in record.measures() if ':' not in name else ():
                new.setdefault(kvm, {}).setdefault(name, []).append(f'{name}\t{key}\t{value}\t{unit}')
        for kvm, tests in new.items():
            path = RESULTS / f'{BASE}-{self.lab}-{kvm}.tsv'
            old = path.read_text().splitlines() if path.exists() else []
            lines = [line for line in old if line.split('\t')[0] not in tests] + sum(tests.values(), [])
            RESULTS.mkdir(parents=True, exist_ok=True)
            path.write_text('\n'.join(lines) + '\n')


    def kvms(self):
        return list(dict.fromkeys(line[0] for line in self.plan))

    def is_whole(self, rounds):
        """Whether all tests of its lab and tier were asked for. Other runs than of a tier have plans of their own."""
        name = self.dir.name.split('-')[1:]
        if set(name) - {'slow', *KVMS}:
            return True
        kvm = 'both' if len(self.kvms()) > 1 else self.kvms()[0]
        tier = 'slow' if 'slow' in name else 'fast'
        asked = {tuple(line[:2]) for line in self.plan}
        return asked >= {tuple(line.split()[:2]) for line in plan(self.lab, kvm, tier, [], rounds, self.known)}

    def summary(self):
        """Its line of runs.tsv: what lab/results.py shows of a run."""
        kernel = re.search(r'kernel=(\S+)', self.result.host)
        minutes = (self.written('status') - self.written('plan')) / 60
        day = datetime.fromtimestamp(self.written('status'), timezone.utc).strftime('%Y-%m-%d')
        return [BASE, self.dir.name, '+'.join(self.kvms()), kernel[1] if kernel else '?', len(self.passed), len(self.failed),
                len(self.skipped), f'{minutes:.0f}', day]

    def written(self, name):
        path = self.dir / name
        return path.stat().st_mtime if path.exists() else 0

    def save_summary(self, rounds):
        """Of a run that was asked for whole, in place of the last one of the same kind."""
        if not self.plan or not self.text('status') or not self.is_whole(rounds):
            return
        path, new = RESULTS / 'runs.tsv', [str(cell) for cell in self.summary()]
        old = [line.split('\t') for line in path.read_text().splitlines()] if path.exists() else []
        lines = [cells for cells in old if cells[:3] != new[:3]] + [new]
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join('\t'.join(cells) + '\n' for cells in sorted(lines)))

    def booted_again(self):
        """Why, if it was."""
        if not (self.dir / 'first').is_dir():
            return None
        said = [line for line in self.text('first/console.log').splitlines() if line.strip()]
        panic = [line for line in said if SPLAT.search(line)]
        return (panic or said[-1:] or [self.text('first/status').strip() or 'nothing'])[0].strip()


def judge_all(directories, known, rounds):
    judges = [Judge(Path(d).name.split('-')[0], d, known, rounds) for d in directories]
    for judge in judges:
        judge.runs = [other for other in judges if other.lab == judge.lab]
        judge.judge()
        judge.save_summary(rounds)
    return judges


def check(directories):
    judges = judge_all(directories, read_known(), read_tests())
    for judge in judges:
        if why := judge.booted_again():
            print(f'again    {judge.dir.name}: booted once more; it had ended before its first test: {why}')
    passed, failed, skipped = (sum(len(getattr(j, k)) for j in judges) for k in ('passed', 'failed', 'skipped'))
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or not passed else 0


def main(argv):
    if len(argv) >= 4 and argv[0] == 'plan':
        print('\n'.join(plan(argv[1], argv[2], argv[3], argv[4:])))
        return 0
    if len(argv) >= 2 and argv[0] == 'check':
        return check(argv[1:])
    sys.exit(__doc__)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
