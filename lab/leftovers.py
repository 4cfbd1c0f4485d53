#!/usr/bin/env python3
"""Names that the semantic patches took away and that upstream's files still mention, in code or in comments.

    lab/leftovers.py TREE BASE       TREE has the series for BASE applied
"""
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import semantic  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def removed_names(base):
    """Of the lists of names in the semantic patches those that are no common words."""
    names = set()
    for path in [*ROOT.glob('series/*/*.cocci'), *ROOT.glob(f'bases/{base}/*.cocci')]:
        for rule in semantic.parse(path.read_text(), path.name):
            names.update(n for listed in rule.lists.values() for n in listed if '_' in n and len(n) > 8)
    return names


def main(tree, base):
    ours = subprocess.run(['git', '-C', tree, 'diff', '--name-only', '--diff-filter=A', 'base', 'HEAD'], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.split()
    still = set(re.findall(r'\w+', ' '.join((Path(tree) / f).read_text() for f in ours if f.endswith(('.c', '.h')))))
    names, found = removed_names(base) - still, 0
    files = subprocess.run(['git', '-C', tree, 'ls-files', 'arch/x86/kvm/*.[ch]', 'arch/x86/include/asm/kvm*.h'],
                           check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for file in sorted(set(files) - set(ours)):
        for number, line in enumerate((Path(tree) / file).read_text().split('\n'), 1):
            for name in names.intersection(re.findall(r'\w+', line)):
                print(f'{file}:{number}: {name}: {line.strip()}')
                found += 1
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:3]))
