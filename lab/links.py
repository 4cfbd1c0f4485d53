#!/usr/bin/env python3
"""Check the repository's Markdown: what it links to is there, what it has one type is a target of the Makefile, and README.md is short.

    links.py        prints what is wrong; exit status 1 if anything is
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = {'README.md': 150}
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
CODE = re.compile(r'^    .*|`[^`]+`', re.M)
MAKE = re.compile(r'\bmake((?: (?!-)[\w.=/"-]+)+)')
OTHERS = ('headers_install', '$(ls')     # of the kernel's makefiles


def tracked(pattern):
    listed = subprocess.run(['git', '-C', ROOT, 'ls-files', pattern], check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in listed.split()]


def targets():
    return set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M))


def anchors(text):
    """Of all titles, as GitHub makes them."""
    titles = re.findall(r'^#+ (.*)$', text, re.M)
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles}


def broken_links(path, text):
    for link in LINK.findall(text):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = path.parent / name if name else path
        if not target.exists():
            yield f'there is no {link}'
        elif anchor and anchor not in anchors(target.read_text() if name else text):
            yield f'{link}: there is no such title'


def unknown_targets(text, known):
    for code in CODE.findall(text):
        for words in MAKE.findall(code.split(' # ')[0]):
            for word in words.split():
                if re.fullmatch(r'[a-z-]+', word) and word not in known and word not in OTHERS:
                    yield f'make has no target {word}'


def complaints(path, text, known):
    yield from broken_links(path, text)
    yield from unknown_targets(text, known)
    most = LONGEST.get(str(path.relative_to(ROOT)))
    if most and len(text.splitlines()) > most:
        yield f'{len(text.splitlines())} lines, of {most} at most'


def main():
    known, found = targets(), 0
    for path in tracked('*.md'):
        for what in complaints(path, path.read_text(), known):
            print(f'{path.relative_to(ROOT)}: {what}')
            found += 1
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
