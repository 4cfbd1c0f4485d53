#!/usr/bin/env python3
"""What the tests measured, as a Markdown table: stock against ours, from out/results/BASE-LAB-KVM.tsv.

    table.py [PATTERN...]       keys that match a PATTERN (may hold * and ?); all without

Keys that differ in a last part min, med, median or max share a row.
"""
import fnmatch
import os
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / 'out'
RESULTS = Path(os.environ.get('RESULTS', OUT / 'results'))
BASE = os.environ.get('BASE', '7.3')
PARTS = ('min', 'med', 'median', 'max')


def number(text):
    value = float(text)
    return f'{int(value):+,}' if value == int(value) else f'{value:+,.3f}'


def read(lab, kvm):
    """{(key, unit): [values in the order measured]}"""
    path = RESULTS / f'{BASE}-{lab}-{kvm}.tsv'
    cells = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        _, key, value, unit = line.split('\t')
        stem, _, part = key.rpartition('.')
        cells.setdefault((stem if part in PARTS else key, unit), []).append(value)
    return cells


def rows(lab, patterns):
    stock, ours = read(lab, 'stock'), read(lab, 'ours')
    for key, unit in dict.fromkeys([*stock, *ours]):
        if not patterns or any(fnmatch.fnmatchcase(key, p) for p in patterns):
            cells = [' / '.join(map(number, side.get((key, unit), []))) or '–' for side in (stock, ours)]
            yield f'| `{key}` | {lab} | {unit} | {cells[0]} | {cells[1]} |'


def main(patterns):
    print('| what | host | unit | stock | ours |')
    print('|---|---|---|---|---|')
    for lab in ('amd', 'intel'):
        for row in rows(lab, patterns):
            print(row)


if __name__ == '__main__':
    main(sys.argv[1:])
