#!/usr/bin/env python3
"""Write lab/RESULTS.md, and the README's table of how good it is, from the last runs: make results.

Runs that the judge has seen whole are in out/results/runs.tsv and out/results/SAN/runs.tsv, measurements in out/results/BASE-LAB-KVM.tsv,
the demo's in out/demo/. lab/results.list says which measurements have a row. What is not there, because that was not run here, stays
as it is in the files: each row says of when it is.
"""
import fnmatch
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from report import table as read_list

ROOT = Path(__file__).resolve().parent.parent
BASE = '7.3'                # the base whose measurements are shown
SCALE = {'s': 1e9, 'ms': 1e6, 'us': 1e3}
BEGIN, END = '<!-- results: ', '<!-- end of results -->'
INTRO = """\
# What the last runs showed

Written by `make results`, from `out/` and by nobody's hand. A row stays as it is until what it is of was run again where this is
written; the last column says of when it is.
"""
SIDES = """\
The tests compare the guest's lines at one and the same TSC, so the speed of the emulator does not matter. Negative: back in time. Least
… greatest value. `lab/table.py --brief` prints everything that was measured, `lab/table.py 'continuity.*'` all of a kind.
"""


@dataclass
class Row:
    """A line of lab/results.list."""
    place: str
    source: str
    keys: str
    unit: str
    text: str


@dataclass
class Span:
    """The least and the greatest of some values, of a day."""
    low: float
    high: float
    unit: str
    day: str

    def __str__(self):
        ends = [number(self.low), number(self.high)]
        if self.unit == 'readings':     # a number of them, and no difference
            ends = [end.lstrip('+') for end in ends]
        return f'{" … ".join(dict.fromkeys(ends))} {self.unit}'


def number(value):
    """With thousands and a sign, and as many digits as it has a use for."""
    if value == int(value):
        return f'{int(value):+,}' if value else '0'
    return f'{value:+,.3f}' if abs(value) < 100 else f'{value:+,.1f}'


def day_of(path):
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime('%Y-%m-%d')


def rows_of(path):
    return [line.split('\t') for line in path.read_text().splitlines()] if path.exists() else []


class Results:
    """What is in out/."""

    def __init__(self, out):
        self.out = out

    def span(self, row, kvm):
        """The Span of a row on stock or ours; None where it was not measured."""
        return self.demo_span(row, kvm) if row.source == 'demo' else self.lab_span(row, kvm)

    def lab_span(self, row, kvm):
        path = self.out / 'results' / f'{BASE}-{row.source}-{kvm}.tsv'
        measures = rows_of(path)
        found = [(float(value), unit) for _, key, value, unit in measures if fnmatch.fnmatchcase(key, row.keys)]
        units = {unit for _, unit in found}
        if len(units) > 1:
            sys.exit(f'results.list: {row.keys} are of different units: {" ".join(sorted(units))}')
        if not found:
            test = row.keys.split('.')[0]
            if any(key.split('.')[0] == test for _, key, _, _ in measures):
                sys.exit(f'results.list: {row.keys}: {path.name} has measurements of {test}, but none of that name')
            return None
        scale = 1 if row.unit == '-' else SCALE[row.unit]
        values = [value / scale for value, _ in found]
        return Span(min(values), max(values), row.unit if row.unit != '-' else units.pop(), day_of(path))

    def demo_span(self, row, kvm):
        path = self.out / 'demo' / 'demo.tsv'
        header, *lines = rows_of(path) or [[]]
        run = 'stock' if kvm == 'stock' else 'patched'
        values = [float(cells[header.index(row.keys)]) for cells in lines if cells[0] == run]
        return Span(min(values), max(values), row.keys.rsplit('_', 1)[1], day_of(path)) if values else None

    def measured(self, rows):
        """(text, host, stock, ours, day) of those that were measured on both."""
        for row in rows:
            stock, ours = self.span(row, 'stock'), self.span(row, 'ours')
            if stock and ours:
                host = {'amd': 'AMD', 'intel': 'Intel', 'demo': 'two AMD'}[row.source]
                yield row.text, host, str(stock), str(ours), min(stock.day, ours.day)

    def runs(self):
        """(kind of run, kernel, KVM, passed, failed, skipped, minutes, day)"""
        for path in sorted((self.out / 'results').glob('**/runs.tsv')):
            kind = '' if path.parent.name == 'results' else f', {path.parent.name}'
            for base, name, kvms, kernel, passed, failed, skipped, minutes, day in rows_of(path):
                yield f'{base} {name}{kind}', kernel, kvms, passed, failed, skipped, minutes, day

    def text(self, name):
        """What the demo has printed, and when; None if it has not."""
        path = self.out / 'demo' / name
        return f'Of {day_of(path)}.\n\n' + ''.join(f'    {line}'.rstrip() + '\n' for line in path.read_text().splitlines()) \
            if path.exists() else None

    def bench(self):
        path = self.out / 'bench' / 'table.md'
        return f'Of {day_of(path)}.\n\n{path.read_text()}' if path.exists() else None


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip('|').split('|')]


def merge(old, new, keys, order=None):
    """Rows, each known by its first cells: the new ones in place of the old ones, in the order given, else in the old one."""
    rows = {tuple(cells[:keys]): cells for cells in [*old, *new]}
    wanted = order if order is not None else list(rows)
    return [rows[key] for key in wanted if key in rows]


def markdown(header, align, rows):
    head, *body = (f'| {" | ".join(cells)} |\n' for cells in [header, *rows])
    return f'{head}|{align}|\n' + ''.join(body)


def old_table(text, header):
    """The rows below this header in a text."""
    lines, rows = text.splitlines(), []
    start = next((i for i, line in enumerate(lines) if line == f'| {" | ".join(header)} |'), None)
    for line in lines[start + 2:] if start is not None else []:
        if not line.startswith('|'):
            break
        rows.append(cells_of(line))
    return rows


def old_section(text, title):
    """What stands below a title; None where it is not there."""
    _, found, rest = text.partition(f'## {title}\n\n')
    return rest.partition('\n## ')[0].rstrip('\n') + '\n' if found else None


RUNS = ('run', 'kernel', 'KVM', 'passed', 'failed', 'skipped', 'minutes', 'of')
MEASURED = ('what', 'host', 'stock', 'ours', 'of')
README = ('what', 'host', 'mainline', 'this clock', 'of')
HOSTS = {'amd': 'AMD', 'intel': 'Intel', 'demo': 'two AMD'}


def order_of(rows):
    return [(row.text, HOSTS[row.source]) for row in rows]


def results_md(results, rows, old):
    """lab/RESULTS.md, of what is in out/ and what the old one has."""
    runs = merge(old_table(old, RUNS), results.runs(), 3)
    measured = merge(old_table(old, MEASURED), results.measured(rows), 2, order_of(rows))
    parts = [INTRO,
             '## Runs\n\n' + markdown(RUNS, '---|---|---|---:|---:|---:|---:|---', sorted(map(list, runs))),
             '## Stock and ours, side by side\n\n' + SIDES + '\n' + markdown(MEASURED, '---|---|---|---|---', measured)]
    for title, text in (('make demo', results.text('demo.txt')), ('make demo-ways', results.text('ways.txt')),
                        ('make bench', results.bench())):
        text = text or old_section(old, title)
        if text:
            parts.append(f'## {title}\n\n{text}')
    return '\n'.join(parts)


def readme(results, rows, old):
    """README.md with its table written anew."""
    rows = [row for row in rows if row.place == 'readme']
    begin, end = old.find(BEGIN), old.find(END)
    if begin < 0 or end < begin:
        sys.exit('README.md has no place for the results')
    begin = old.index('\n', begin) + 1
    table = merge(old_table(old[begin:end], README), results.measured(rows), 2, order_of(rows))
    return old[:begin] + markdown(README, '---|---|---|---|---', table) + old[end:]


def main():
    rows = [Row(*cells) for cells in read_list(ROOT / 'lab' / 'results.list', 5)]
    results = Results(ROOT / 'out')
    for path, write in ((ROOT / 'lab' / 'RESULTS.md', results_md), (ROOT / 'README.md', readme)):
        old = path.read_text() if path.exists() else ''
        path.write_text(write(results, rows, old))
        print(f'[results] {path.relative_to(ROOT)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
