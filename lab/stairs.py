#!/usr/bin/env python3
"""Calls go down the stairs only: no file of the clock uses what a file above it, or on none of lab/stairs, defines.

    lab/stairs.py [DIRECTORY]       DIRECTORY has the kernel's files (arch/x86/kvm of this repository)
"""
import re
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parent
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL)
# A definition begins in the first column, and a function's body follows its parameters.
FUNCTION = re.compile(r'^(?!static\b|typedef\b|return\b)[a-z][\w \t*]*?\b(\w+)\([^;{}]*\)\s*\{', re.MULTILINE)
VARIABLE = re.compile(r'^(?!static\b|extern\b|typedef\b|struct \w+ \{)(?:const )?(?:struct )?\w+[ *]+(\w+)(?: = [^;]*)?;',
                      re.MULTILINE)
PER_CPU = re.compile(r'^DEFINE_PER_CPU\([^,]+, (\w+)\)', re.MULTILINE)


def read_stairs():
    lines = (LAB / 'stairs').read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith('#')]


def definitions(code):
    return {name for pattern in (FUNCTION, VARIABLE, PER_CPU) for name in pattern.findall(code)}


def climbs(sources, stairs):
    """(file, name, file that defines it) for each name that a file uses from above."""
    code = {name: COMMENT.sub(' ', text) for name, text in sources.items()}
    step = {name: i for i, name in enumerate(stairs)}
    home = {d: name for name in code for d in definitions(code[name])}
    for name in stairs:
        for word in sorted(set(re.findall(r'\w+', code[name])) & set(home)):
            if step[home[word]] < step[name]:
                yield name, word, home[word]


def main(directory):
    stairs = read_stairs()
    files = sorted(p.name for p in directory.glob('kvmclock*.c'))
    if sorted(stairs) != files:
        print(f'lab/stairs has {sorted(stairs)}, {directory} has {files}')
        return 1
    sources = {name: (directory / name).read_text() for name in stairs}
    nothing = [name for name in stairs if not definitions(COMMENT.sub(' ', sources[name]))]
    up = list(climbs(sources, stairs))
    for name in nothing:
        print(f'{name} defines nothing that could be found: is this script still right?')
    for name, word, home in up:
        print(f'{name} calls {word} of {home}, which stands above it')
    return 1 if nothing or up else 0


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else LAB.parent / 'arch' / 'x86' / 'kvm'))
