#!/usr/bin/env python3
"""What the tests measured, as a Markdown table: stock against ours, from out/results/BASE-LAB-KVM.tsv.

    table.py [--brief] [PATTERN...]     keys that match a PATTERN (may hold * and ?); all without

Keys that differ in a last part min, med or max share a row. --brief folds the ages of the line and the scaled
frequencies too, into the least and the greatest value, and leaves out what only says how much was measured, and rows
where ours and stock are the same.
"""
import fnmatch
import os
import re
import signal
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / 'out'
RESULTS = Path(os.environ.get('RESULTS', OUT / 'results'))
BASE = os.environ.get('BASE', '7.3')
PART = re.compile(r'\.(min|med|median|max)$')
AMOUNT = re.compile(r'\.(readings|true_age)$')
AGE = re.compile(r'\.age\d+m?s\b')
MODE = re.compile(r'\.(1to1|up|down|\d+MHz)\b')


def number(text):
    """With thousands, and a sign where the value is a difference."""
    value = float(text)
    return f'{int(value):+,}' if value and value == int(value) else f'{value:+,.3f}' if value else '0'


def read(lab, kvm):
    """[(key, value, unit)] in the order measured."""
    path = RESULTS / f'{BASE}-{lab}-{kvm}.tsv'
    return [line.split('\t')[1:] for line in path.read_text().splitlines()] if path.exists() else []


def full_cells(lab, kvm, patterns):
    """{(key, unit): 'min / med / max'}"""
    cells = {}
    for key, value, unit in read(lab, kvm):
        key = PART.sub('', key)
        if not patterns or any(fnmatch.fnmatchcase(key, p) for p in patterns):
            cells.setdefault((key, unit), []).append(number(value))
    return {row: ' / '.join(values) for row, values in cells.items()}


def full(patterns):
    print('| what | host | unit | stock | ours |')
    print('|---|---|---|---|---|')
    for lab in ('amd', 'intel'):
        stock, ours = (full_cells(lab, kvm, patterns) for kvm in ('stock', 'ours'))
        for row in dict.fromkeys([*stock, *ours]):
            print(f'| `{row[0]}` | {lab} | {row[1]} | {stock.get(row, "–")} | {ours.get(row, "–")} |')


def spans(kvm, patterns):
    """{(key, unit): {column: [least, greatest]}}, a column for each host and for 1:1 and scaled TSCs."""
    rows = {}
    for lab in ('amd', 'intel'):
        for key, value, unit in read(lab, kvm):
            key = AGE.sub('', PART.sub('', key))
            mode = MODE.search(key)
            key = MODE.sub('', key)
            if not any(fnmatch.fnmatchcase(key, p) for p in patterns or '*') or AMOUNT.search(key):
                continue
            column = (lab, 'scaled' if mode and mode[1] != '1to1' else '1:1')
            span = rows.setdefault((key, unit), {}).setdefault(column, [float(value)] * 2)
            span[:] = min(span[0], float(value)), max(span[1], float(value))
    return rows


def span_text(span):
    if not span:
        return '–'
    return number(span[0]) if span[0] == span[1] else f'{number(span[0])} … {number(span[1])}'


def brief(patterns):
    columns = [('amd', '1:1'), ('intel', '1:1'), ('intel', 'scaled')]
    stock, ours = spans('stock', patterns), spans('ours', patterns)
    print('| what | unit |' + ''.join(f' {lab} {mode}: stock | ours |' for lab, mode in columns))
    print('|---|---|' + '---|---|' * len(columns))
    for row in dict.fromkeys([*stock, *ours]):
        sides = [(stock.get(row, {}).get(c), ours.get(row, {}).get(c)) for c in columns]
        if any(s != o for s, o in sides):
            print(f'| `{row[0]}` | {row[1]} |' + ''.join(f' {span_text(s)} | {span_text(o)} |' for s, o in sides))


if __name__ == '__main__':
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    words = sys.argv[1:]
    if '--brief' in words:
        brief([w for w in words if w != '--brief'])
    else:
        full(words)
