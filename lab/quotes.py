#!/usr/bin/env python3
"""What documents quote is what stands in the file: lab/quotes.py, in lab/lint.sh.

A quote is the code block that follows a comment which names the file:

    .. quote: PATH              in reStructuredText: the next literal block, indented
    <!-- quote: PATH -->        in Markdown: the next fenced block

Its lines stand in the file one after the other, but for blanks at their ends; a line '...' leaves some out. PATH is the
repository's.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKS = {'.rst': re.compile(r'^\.\. quote: (\S+)$'), '.md': re.compile(r'^<!-- quote: (\S+) -->$')}


def literal_block(lines, at):
    """The lines of the literal block after line @at."""
    while at < len(lines) and not lines[at].rstrip().endswith('::'):
        at += 1
    block = []
    for line in lines[at + 1:]:
        if line.strip() and not line[0].isspace():
            break
        block.append(line)
    return block


def fenced_block(lines, at):
    while at < len(lines) and not lines[at].startswith('```'):
        at += 1
    block = lines[at + 1:]
    ends = [i for i, line in enumerate(block) if line.startswith('```')]
    return block[:ends[0]] if ends else []


def stripped(lines):
    return [line.strip() for line in lines]


def pieces(block):
    """The block, cut where lines are left out, without blank lines at the ends."""
    out = [[]]
    for line in stripped(block):
        if line == '...':
            out.append([])
        else:
            out[-1].append(line)
    for piece in out:
        while piece and not piece[0]:
            piece.pop(0)
        while piece and not piece[-1]:
            piece.pop()
    return [piece for piece in out if piece]


def find(piece, lines, at):
    """Where the piece ends in the lines, from @at on, or None."""
    for i in range(at, len(lines) - len(piece) + 1):
        if lines[i:i + len(piece)] == piece:
            return i + len(piece)
    return None


def check(document, number, path, block):
    """What is wrong with a quote, or None."""
    if not (ROOT / path).is_file():
        return f'{document}:{number}: there is no {path}'
    found = pieces(block)
    if not found:
        return f'{document}:{number}: no code follows'
    lines, at = stripped((ROOT / path).read_text().splitlines()), 0
    for piece in found:
        at = find(piece, lines, at)
        if at is None:
            return f'{document}:{number}: not in {path}:\n' + '\n'.join('    ' + line for line in piece)
    return None


def quotes(document):
    lines = (ROOT / document).read_text().splitlines()
    suffix = Path(document).suffix
    for at, line in enumerate(lines):
        mark = MARKS[suffix].match(line)
        if mark:
            block = (literal_block if suffix == '.rst' else fenced_block)(lines, at + 1)
            yield at + 1, mark[1], block


def main():
    documents = subprocess.run(['git', '-C', str(ROOT), 'ls-files', '*.rst', '*.md'], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()
    seen, wrong = 0, []
    for document in documents:
        for number, path, block in quotes(document):
            seen += 1
            wrong += filter(None, [check(document, number, path, block)])
    print('\n'.join(wrong or [f'{seen} quotes']))
    return 1 if wrong or not seen else 0


if __name__ == '__main__':
    sys.exit(main())
