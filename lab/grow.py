#!/usr/bin/env python3
"""Write what a commit of the series adds to files that an earlier one has: series/NNNN-name/grow.diff.

    lab/grow.py show NNNN-name DIRECTORY FILE...    put the files as that commit leaves them into the directory
    lab/grow.py NNNN-name DIRECTORY                 once they are edited there to what they were before it: write the diff

The repository's files stay the only source. A diff that does not fit any more, because a file was changed, stops
lab/apply.py with its name; show the files as they are, take out of them what the diff said, and write it anew.
"""
import difflib
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import apply  # noqa: E402


def commit_of(series, name):
    found = [commit for commit in series.commits if commit.name == name]
    if not found:
        sys.exit(f'no such commit: {name}; known: ' + ' '.join(commit.name for commit in series.commits))
    return found[0]


def show(series, commit, directory, paths):
    for path in paths:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(series.state(commit, path))


def write(series, commit, directory):
    out = []
    for path in sorted(str(p.relative_to(directory)) for p in directory.rglob('*') if p.is_file()):
        before, after = ((directory / path).read_text(), series.state(commit, path))
        out += difflib.unified_diff(before.splitlines(True), after.splitlines(True), f'a/{path}', f'b/{path}', n=0)
    (commit.directory / 'grow.diff').write_text(''.join(out))
    print(f'{commit.directory.relative_to(apply.ROOT)}/grow.diff: {len(out)} lines')


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    base = os.environ.get('BASE', '7.3')
    series = apply.Series(base, apply.OUT / base / 'ours')
    if arguments[0] == 'show':
        show(series, commit_of(series, arguments[1]), Path(arguments[2]), arguments[3:])
    else:
        write(series, commit_of(series, arguments[0]), Path(arguments[1]))


if __name__ == '__main__':
    main(sys.argv[1:])
