#!/usr/bin/env python3
"""Judge what `make bench` measured.

    judge.py OUT RUN...    RUN is a directory of a run (see lab/boot.sh) named bench-LAB or bench-LAB-WHAT, or bench-pages,
                           which holds what lab/bench/pages.py wrote, in a directory for each KVM

Writes OUT/LAB.json (all that was measured), OUT/table.md and plots, prints the table and the checks of
lab/bench/targets.list, and counts them in its last line. A run that did not end well, a measurement that was asked for
and is missing, and a target without a measurement are failures.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))
import report as lab_report  # noqa: E402

KVMS = ('stock', 'ours')


class Target:
    """A line of lab/bench/targets.list."""

    def __init__(self, lab, case, vcpus, formula):
        self.lab, self.case, self.vcpus, self.formula = lab, case, vcpus, formula

    def applies(self, lab, case, vcpus):
        if (lab, case) != (self.lab, self.case):
            return False
        if self.vcpus.startswith('>'):
            return vcpus > int(self.vcpus[1:])
        return self.vcpus == 'any' or int(self.vcpus) == vcpus

    def needs(self, name):
        return re.search(rf'\b{name}\b', self.formula) is not None

    def limit(self, values):
        """values: what the formula's names stand for. None where one of them was not measured."""
        if any(self.needs(name) and values[name] is None for name in values):
            return None
        return eval(self.formula, {'__builtins__': {}}, values)  # noqa: S307, the list is ours


def read_targets():
    return [Target(*row) for row in lab_report.table(HERE / 'targets.list', 4)]


class Run:
    """One boot: what was asked for, what came, by (kvm, case, vCPUs)."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.name = self.dir.name.partition('-')[2]
        self.lab = self.name.partition('-')[0]
        self.result = lab_report.Result(self.text('result.ktap'))
        self.host = self.result.host
        self.status = self.text('status').strip() or 'nothing'
        self.asked = [line.split()[:2] for line in self.text('plan').splitlines() if line]
        self.found, self.complaints = {}, []
        for record in self.result.records:
            self.read(record)

    def text(self, name):
        path = self.dir / name
        return path.read_text(errors='replace') if path.exists() else ''

    def read(self, record):
        kvm = record.name.partition('/')[0]
        if record.verdict != 'ok':
            last = ' '.join(record.output[-1:])
            self.complaints.append(f'{record.name}: exit {record.exit} {record.comment} {last}')
        for line in record.output:
            if line.startswith('{"case"'):
                sample = json.loads(line)
                self.found[kvm, sample['case'], sample['vcpus']] = sample

    def judge_run(self):
        """What is wrong with the run as a whole."""
        why = self.result.errors + self.complaints
        if len(self.result.records) != len(self.asked) or not self.asked:
            why.append(f'{len(self.asked)} results asked for, {len(self.result.records)} came')
        if self.result.end != 0:
            why.append('the host did not report its own end')
        if self.status != 'exit 0':
            why.append(f'the emulator ended with {self.status}')
        known = lab_report.read_known()
        for record in [self.result.boot, *self.result.records, self.result.after]:
            why += lab_report.splats(record.kernel, self.lab, record.name, known)
        return why

    def cost(self, kvm, case, vcpus):
        """Median above its floor's, the least where other things get in between; None if not there."""
        sample = self.found.get((kvm, case, vcpus))
        if not sample:
            return None
        which = 'min' if self.lab == 'amd' else 'median'
        floor = self.found.get((kvm, sample['floor'], vcpus))
        if sample['floor'] and not floor:
            return None
        return sample[which] - (floor[which] if floor else 0)

    def floor(self, case, vcpus):
        """What is subtracted from ours, or None."""
        sample = self.found.get(('ours', case, vcpus))
        floor = sample and self.found.get(('ours', sample['floor'], vcpus))
        return floor['median'] if floor else None

    def measured(self):
        """All (case, vCPUs) that any KVM has, in the order in which they came."""
        return list(dict.fromkeys((case, vcpus) for _, case, vcpus in self.found))

    def whole(self):
        """The numbers of vCPUs at which all cases were asked for, on stock and on ours."""
        asked = {kvm: {int(name.split(':')[1]) for k, name in self.asked if k == kvm and re.fullmatch(r'\w+:\d+', name)}
                 for kvm in KVMS}
        return asked['stock'] & asked['ours']


class Pages(Run):
    """How often pages were written, by stock and ours, while the demo's guest booted and migrated."""

    def __init__(self, directory):
        self.dir, self.name, self.lab = Path(directory), 'pages', 'pages'
        self.host = 'a Linux guest under QEMU, on two emulated AMD hosts'
        self.found = {}
        for kvm in KVMS:
            counted = json.loads(self.text(f'{kvm}/pages.json') or '{}')
            for case, count in counted.get('written', {}).items():
                self.found[kvm, case, counted['vcpus']] = {'case': case, 'vcpus': counted['vcpus'], 'floor': '', 'samples': 1,
                                                           'min': count, 'median': count, 'max': count}

    def judge_run(self):
        known = lab_report.read_known()
        counted = {kvm for kvm, _, _ in self.found}
        why = [f'{kvm} was not counted' for kvm in KVMS if kvm not in counted and (self.dir / kvm).is_dir()]
        why += [] if counted else ['nothing was counted']
        for console in sorted(self.dir.glob('*/host-?.log')):
            why += lab_report.splats(self.text(console.relative_to(self.dir)).splitlines(), 'amd', 'console', known)
        return why

    def whole(self):
        return {vcpus for _, _, vcpus in self.found}


class Check:
    """A target at one number of vCPUs."""

    def __init__(self, run, target, vcpus):
        self.target, self.case, self.vcpus = target, target.case, vcpus
        self.cost = run.cost('ours', target.case, vcpus)
        values = {'vcpus': vcpus, 'stock': run.cost('stock', target.case, vcpus),
                  'at1': run.cost('ours', target.case, 1), 'at8': run.cost('ours', target.case, 8)}
        self.limit = target.limit(values)

    def verdict(self):
        if self.cost is None or self.limit is None:
            return 'skipped'
        return 'ok' if self.cost <= self.limit else 'NOT OK'

    def __str__(self):
        limit = f'{self.limit:,.0f}' if self.limit is not None else '?'
        cost = f'{self.cost:,}' if self.cost is not None else 'not measured'
        return f'{self.target.lab}/{self.case}/{self.vcpus}: {cost}, at most {limit} = {self.target.formula}'


def checks(run, targets):
    """Every target at every number of vCPUs that it speaks of: what was measured, and what was to be."""
    found = []
    for target in targets:
        numbers = {vcpus for case, vcpus in run.measured() if target.applies(run.name, case, vcpus)}
        expected = {vcpus for vcpus in run.whole() if target.applies(run.name, target.case, vcpus)}
        found += [(Check(run, target, vcpus), vcpus in expected) for vcpus in sorted(numbers | expected)]
    return found


def judge(run, targets):
    """Prints a line for each check; (verdict, text) of all."""
    lines = []
    why = run.judge_run()
    lines.append(('NOT OK' if why else 'ok', f'{run.name}/run: {"; ".join(why) or run.host}'))
    for check, expected in checks(run, targets):
        verdict = check.verdict()
        lines.append(('NOT OK' if verdict == 'skipped' and expected else verdict, str(check)))
    return lines


def amount(value):
    return '–' if value is None else f'{value:,}'


def table(run, targets):
    """Markdown, a row for each case and number of vCPUs; costs are above the floor, where there is one."""
    rows = ['| case | vCPUs | stock | ours | floor | ours / stock | at most | |', '|---|---:|---:|---:|---:|---:|---:|---|']
    judged = {}
    for check, _ in checks(run, targets):
        judged.setdefault((check.case, check.vcpus), []).append(check)
    for case, vcpus in sorted(run.measured(), key=lambda row: [c for c, _ in run.measured()].index(row[0])):
        stock, ours = run.cost('stock', case, vcpus), run.cost('ours', case, vcpus)
        limits = [c for c in judged.get((case, vcpus), []) if c.verdict() != 'skipped']
        least = min((c.limit for c in limits), default=None)
        ratio = f'{ours / stock:.2f}' if ours is not None and stock else '–'
        verdict = '' if not limits else 'ok' if all(c.verdict() == 'ok' for c in limits) else '**missed**'
        values = [amount(stock), amount(ours), amount(run.floor(case, vcpus))]
        limit = '' if least is None else f'{least:,.0f}'
        if run.lab == 'amd':
            values, limit = [''] * 3, ''
        rows.append(f'| {case} | {vcpus} | {" | ".join(values)} | {ratio} | {limit} | {verdict} |')
    return '\n'.join(rows) + '\n'


def save(run, out):
    """All that was measured, and what the plots are drawn from."""
    results = [dict(sample, kvm=kvm, cost=run.cost(kvm, case, vcpus)) for (kvm, case, vcpus), sample in run.found.items()]
    (out / f'{run.name}.json').write_text(json.dumps({'run': run.name, 'host': run.host, 'results': results}, indent=1)
                                         + '\n')
    data = out / f'{run.name}.tsv'
    data.write_text(''.join(f'{r["kvm"]}\t{r["case"]}\t{r["vcpus"]}\t{r["cost"]}\n' for r in results))
    return data


def plot(out, data):
    subprocess.run(['gnuplot', '-e', f'data = "{data}"; out = "{out}"', str(HERE / 'plot.gp')], check=True)


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    out, targets, lines, tables = Path(argv[0]), read_targets(), [], []
    out.mkdir(parents=True, exist_ok=True)
    for directory in argv[1:]:
        run = (Pages if directory.endswith('-pages') else Run)(directory)
        tables.append(f'### {run.name}: {run.host}\n\n{table(run, targets)}')
        lines += judge(run, targets)
        data = save(run, out)
        if run.name == 'intel':
            plot(out, data)
    (out / 'table.md').write_text('\n'.join(tables))
    print('\n'.join(tables))
    print('\n'.join(f'{verdict:8} {text}' for verdict, text in lines))
    passed, failed, skipped = (sum(v == verdict for v, _ in lines) for verdict in ('ok', 'NOT OK', 'skipped'))
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
