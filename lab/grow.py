#!/usr/bin/env python3
"""What a commit of the series adds to files that an earlier one has: series/NNNN-name/grow.diff.

    lab/grow.py refresh [REVISION]                  after an edit of the repository's files: the diffs follow
    lab/grow.py show NNNN-name DIRECTORY FILE...    put the files as that commit leaves them into the directory
    lab/grow.py NNNN-name DIRECTORY [DIFF]          once they are edited there to what they were before it: write the diff,
                                                    grow.diff unless told, and list it in the commit's apply

The repository's files stay the only source, and a diff that does not fit them to the line stops lab/apply.py with its name.
'refresh' takes what has changed in a file since the diffs did fit, when lab/apply.py ran last or in REVISION (HEAD unless told),
to its earlier states, and writes the diffs anew: a change within lines that a commit adds is that commit's. What lies across
an edge is named, and is left to 'show'.
"""
import difflib
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import apply  # noqa: E402
import edits  # noqa: E402


def commit_of(series, name):
    found = [commit for commit in series.commits if commit.name == name]
    if not found:
        sys.exit(f'no such commit: {name}; known: ' + ' '.join(commit.name for commit in series.commits))
    return found[0]


def diff(path, before, after):
    if not (before.endswith('\n') and after.endswith('\n')):
        raise apply.Stop(f'{path}: no newline at its end')
    return list(difflib.unified_diff(before.splitlines(True), after.splitlines(True), f'a/{path}', f'b/{path}', n=0))


def show(series, commit, directory, paths):
    for path in paths:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(series.state(commit, path))


def write(series, commit, directory, name):
    """The files in the directory; what the diff says of others stays."""
    early = {}
    if ('grow', name) in commit.actions:
        for path, hunks in series.steps(commit, name).items():
            early[path] = edits.step(series.state(commit, path), edits.backwards(hunks), path)
    early.update({str(p.relative_to(directory)): p.read_text() for p in directory.rglob('*') if p.is_file()})
    out = [line for path in sorted(early) for line in diff(path, early[path], series.state(commit, path))]
    (commit.directory / name).write_text(''.join(out))
    if ('grow', name) not in commit.actions:
        with open(commit.directory / 'apply', 'a') as actions:
            actions.write(f'grow {name}\n')
    print(f'{commit.directory.relative_to(apply.ROOT)}/{name}: {len(out)} lines')


# -- refresh

def follow(hunks, old, new, where):
    """The hunks that lead to new as they led to old. What was changed within lines that a hunk adds, or put directly behind
    them, is that commit's; what was changed elsewhere moves it; a change across its edge is nobody's."""
    ops = [op[1:] for op in difflib.SequenceMatcher(None, old, new, False).get_opcodes() if op[0] != 'equal']
    out, was, now = [], 0, 0    # was, now: by how much the lines that the hunks so far add move those behind them
    for line, before, after in hunks:
        start = edits.place(line, before) + was
        end, moved, lines = start + len(after), 0, list(after)
        for i1, i2, j1, j2 in reversed(ops):
            if i2 <= start:
                moved += (j2 - j1) - (i2 - i1)
            elif start <= i1 and i2 <= end:
                lines[i1 - start:i2 - start] = new[j1:j2]
            elif i1 < end:
                raise apply.Stop(f'{where}: a change across the edge of what is added, near line {j1 + 1}; '
                                 'take it out by hand')
        at = start + moved - now
        out.append((at + 1 if before else at, before, lines))
        was += len(after) - len(before)
        now += len(lines) - len(before)
    return out


def refresh(series, old):
    """old: {path: text}, the repository's files that the diffs fit. Returns the names of the diffs that were written."""
    actions = [(commit, argument) for commit in series.commits for verb, argument in commit.actions if verb == 'grow']
    new = {path: (apply.HOME / path).read_text() for path in old}
    written = {}
    for commit, name in reversed(actions):
        out = []
        for path, hunks in series.steps(commit, name).items():
            now = new.setdefault(path, (apply.HOME / path).read_text())
            was = old.setdefault(path, now)
            followed = follow(hunks, was.split('\n'), now.split('\n'), f'{commit.name}: {path}')
            old[path] = edits.step(was, edits.backwards(hunks), path)
            new[path] = edits.step(now, edits.backwards(followed), path)
            out += diff(path, new[path], now)
        written[commit.directory / name] = ''.join(out)
    written = {path: text for path, text in written.items() if path.read_text() != text}
    for path, text in written.items():
        path.write_text(text)
    return [f'{path.parent.name}/{path.name}' for path in written]


def at_revision(path, revision):
    done = subprocess.run(['git', '-C', str(apply.HOME), 'show', f'{revision}:./{path}'], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout if done.returncode == 0 else None


def fits(series, path, text):
    try:
        for _, hunks in reversed(series.growth[path]):
            text = edits.step(text, edits.backwards(hunks), path)
    except edits.Failed:
        return False
    return True


def last_fit(series, revision):
    """{path: text}: what the diffs fit, which is what apply.py ran on last, or a revision of the project."""
    found = {}
    for path in series.growth:
        saved = series.grown / path
        texts = [(apply.HOME / path).read_text(), saved.read_text() if saved.exists() else None, at_revision(path, revision)]
        found[path] = next((text for text in texts if text is not None and fits(series, path, text)), None)
        if found[path] is None:
            raise apply.Stop(f'{path}: the diffs fit neither what lab/apply.py ran on last nor {revision}')
    return found


def main(arguments):
    if not arguments or len(arguments) < 2 and arguments[0] != 'refresh':
        sys.exit(__doc__)
    base = os.environ.get('BASE', '7.3')
    series = apply.Series(base, apply.TREES / base / 'ours')
    if arguments[0] == 'refresh':
        for name in refresh(series, last_fit(series, *(arguments[1:] or ['HEAD']))):
            print(f'series/{name}: written anew')
    elif arguments[0] == 'show':
        show(series, commit_of(series, arguments[1]), Path(arguments[2]), arguments[3:])
    else:
        write(series, commit_of(series, arguments[0]), Path(arguments[1]), *(arguments[2:] or ['grow.diff']))


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (apply.Stop, edits.Failed) as stop:
        sys.exit(f'[grow] error: {stop}')
