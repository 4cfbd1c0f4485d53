"""Edits of upstream's files that are no semantic patches: definitions, sections, an entry, small diffs. Pure functions."""
import re


class Failed(Exception):
    pass


def without_header(text):
    """A fragment without its own first paragraph, where that is a licence line and a word on what the file is."""
    first, _, rest = text.partition('\n\n')
    return rest if 'SPDX-License-Identifier' in first else text


# --- C definitions, by name

DEFINITION = re.compile(r'^#define[ \t]+(\w+)|^struct[ \t]+(\w+)[ \t]*\{', re.M)
GAP = re.compile(r'(?:\s|/\*.*?\*/)*', re.S)
COMMENT_BEFORE = re.compile(r'/\*(?:(?!\*/).)*\*/[ \t]*\n\Z', re.S)


def definitions(text):
    """{name: (start, end)} of macros and structures at file level."""
    found = {}
    for m in DEFINITION.finditer(text):
        end = re.compile(r'(?<!\\)\n' if m[1] else r'^\}[^\n]*;[^\n]*\n', re.M).search(text, m.start())
        if not end:
            raise Failed(f'the definition of {m[1] or m[2]} does not end')
        found.setdefault(m[1] or m[2], []).append((m.start(), end.end()))
    return found


def replace_definitions(base, fragment, before=''):
    """The base with its definitions of the fragment's names, which must stand together, replaced by the fragment. before:
    the fragment that is in the base already, whose names go, too."""
    fragment = without_header(fragment).strip('\n') + '\n'
    names, have = {**definitions(without_header(before)), **definitions(fragment)}, definitions(base)
    spans = sorted(span for n in names for span in have.get(n, []))
    if not spans:
        raise Failed('none of the definitions is in the base: ' + ' '.join(sorted(names)))
    twice = [n for n in names if len(have.get(n, [])) > 1]
    if twice:
        raise Failed('defined more than once in the base: ' + ' '.join(twice))
    for (_, end), (start, _) in zip(spans, spans[1:]):
        if GAP.fullmatch(base, end, start) is None:
            raise Failed('the definitions do not stand together in the base, between them is: '
                         + base[end:start].strip().split('\n')[0])
    start = spans[0][0]
    comment = COMMENT_BEFORE.search(base, 0, start)
    return base[:comment.start() if comment else start] + fragment + base[spans[-1][1]:]


# --- reStructuredText, by section

UNDERLINE = re.compile(r'([-=~^])\1{3,}')
NUMBERED = re.compile(r'(\d+(?:\.(?:\d+|x))*)\.? +(.*)')


class Section:
    def __init__(self, start, number, title, level):
        self.start, self.number, self.title, self.level, self.end = start, number, title, level, None


def sections(lines):
    """All titled sections; one ends where the next of its own or a higher level starts. Level: order of appearance."""
    found, levels = [], []
    for i, line in enumerate(lines[:-1]):
        under = lines[i + 1].rstrip()
        if not (line.strip() and UNDERLINE.fullmatch(under) and abs(len(under) - len(line.rstrip())) < 4):
            continue
        if i and lines[i - 1].strip() and not (UNDERLINE.fullmatch(lines[i - 1].rstrip())):
            continue
        style = (under[0], bool(i and UNDERLINE.fullmatch(lines[i - 1].rstrip())))
        if style not in levels:
            levels.append(style)
        m = NUMBERED.match(line)
        found.append(Section(i - style[1], m[1] if m else None, (m[2] if m else line).strip(), levels.index(style)))
    for k, s in enumerate(found):
        s.end = next((t.start for t in found[k + 1:] if t.level <= s.level), len(lines))
    return found


def body_of(lines, section):
    body = lines[section.start + 2:section.end]
    while body and not body[-1].strip():
        body.pop()
    return body


def new_section(base, title, chapter, body, underline):
    """Append a section to a numbered chapter, with the chapter's next number."""
    have = sections(base)
    chapters = [s for s in have if s.number == chapter]
    if len(chapters) != 1:
        raise Failed(f'chapter {chapter} found {len(chapters)} times')
    last = max((int(s.number.split('.')[1]) for s in have
                if s.number and re.fullmatch(re.escape(chapter) + r'\.\d+', s.number)), default=0)
    head = f'{chapter}.{last + 1} {title}'
    at = chapters[0].end
    while at and not base[at - 1].strip():
        at -= 1
    base[at:chapters[0].end] = ['', head, underline * len(head)] + body + ['']


def top_sections(lines):
    return [s for s in sections(lines) if s.level == 0]


def replace_sections(base_text, fragment, before=''):
    """Each top section of the fragment replaces the base's section of the same title, whatever number that has there.
    'N.x TITLE' is a new section at the end of chapter N. before: the fragment that is in the base already, with such ones."""
    base, frag = base_text.split('\n'), without_header(fragment).split('\n')
    top = top_sections(frag)
    there = {s.title for s in top_sections(without_header(before).split('\n'))}
    if not top:
        raise Failed('the fragment has no section')
    if there - {s.title for s in top}:
        raise Failed('a section cannot go again: ' + ' '.join(sorted(there - {s.title for s in top})))
    for s in top:
        underline = frag[s.start + 1][0]
        same = [b for b in sections(base) if b.title == s.title]
        if s.number and s.number.endswith('.x') and s.title not in there:
            if same:
                raise Failed(f'section "{s.title}" is in the base already')
            new_section(base, s.title, s.number[:-2], body_of(frag, s), underline)
            continue
        if len(same) != 1:
            raise Failed(f'section "{s.title}" found {len(same)} times in the base')
        head = base[same[0].start]
        after = base[:same[0].end]
        blanks = len(after) - len('\n'.join(after).rstrip('\n').split('\n'))
        base[same[0].start:same[0].end] = [head, base[same[0].start + 1]] + body_of(frag, s) + [''] * blanks
    return '\n'.join(base)


# --- MAINTAINERS

def insert_entry(base_text, fragment, before=''):
    """Insert an entry where it disturbs the alphabet least, which in a sorted file is its place. before: the one that is in the
    base already, and goes."""
    entry = without_header(fragment).strip('\n').split('\n')
    if before:
        base_text = base_text.replace(without_header(before).strip('\n') + '\n\n', '', 1)
    base = base_text.split('\n')
    heads = [i for i in range(1, len(base) - 1)
             if not base[i - 1].strip() and re.match(r'[A-Z]:\t', base[i + 1]) and not re.match(r'[A-Z]:\t', base[i])]
    if not heads or entry[0] in (base[i] for i in heads):
        raise Failed(f'no place for the entry "{entry[0]}"' if not heads else f'"{entry[0]}" is there already')
    key = entry[0].upper()
    greater = [base[i].upper() > key for i in heads]
    cost = sum(not g for g in greater)
    best, at = cost, heads[0]
    for k, g in enumerate(greater):
        cost += 1 if g else -1
        if cost < best and k + 1 < len(heads):
            best, at = cost, heads[k + 1]
    base[at:at] = entry + ['']
    return '\n'.join(base)


# --- unified diffs

HUNK = re.compile(r'@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@')


def parse_diff(text, ours=False):
    """{path: [(line, old lines, new lines)]}. Refuses more than one line of context in a row, unless both sides are ours."""
    files, hunks, path = {}, None, None
    for line in text.split('\n'):
        if line.startswith('--- '):
            hunks = None
        elif line.startswith('+++ '):
            path = re.sub(r'^b/', '', line[4:].split('\t')[0].strip())
            hunks = files.setdefault(path, [])
        elif hunks is not None and HUNK.match(line):
            m = HUNK.match(line)
            hunks.append((int(m[1]), [], [], [int(m[2] or 1), int(m[4] or 1)], []))
        elif hunks and line[:1] in (' ', '+', '-') and sum(hunks[-1][3]) > 0:
            _, old, new, left, marks = hunks[-1]
            marks.append(line[0])
            for side, other, k in (old, '+', 0), (new, '-', 1):
                if line[0] != other:
                    side.append(line[1:])
                    left[k] -= 1
        elif line.strip() and hunks is not None and not line.startswith(('diff ', 'index ')):
            raise Failed(f'not a line of a diff: {line}')
    for path, hunks in files.items():
        for number, (line, _, _, left, marks) in enumerate(hunks, 1):
            if left != [0, 0]:
                raise Failed(f'{path}: hunk {number}: its line counts are wrong')
            if '  ' in ''.join(marks) and not ours:
                raise Failed(f'{path}: hunk {number}: more than one line of context')
    if not files:
        raise Failed('no diff in it')
    return {p: [h[:3] for h in hs] for p, hs in files.items()}


def apply_hunks(base_text, hunks, path):
    """Every hunk exactly: at its line, where another patch level moved that as it did with the hunk before, or at the only
    place that fits."""
    base, shift = base_text.split('\n'), 0
    for number, (line, old, new) in enumerate(hunks, 1):
        at = line - 1 + shift if old else line + shift
        if base[at:at + len(old)] != old:
            places = [i for i in range(len(base) - len(old) + 1) if old and base[i:i + len(old)] == old]
            if len(places) != 1:
                raise Failed(f'{path}: hunk {number} does not apply exactly ({len(places)} places fit)')
            shift += places[0] - at
            at = places[0]
        base[at:at + len(old)] = new
        shift += len(new) - len(old)
    return '\n'.join(base)


# --- states of a file of ours

def place(line, lines):
    """Where a side of a hunk begins, counted from 0: one without lines names the line before it."""
    return line - 1 if lines else line


def backwards(hunks):
    """What takes back what the hunks do."""
    shift, out = 0, []
    for line, old, new in hunks:
        at = place(line, old) + shift
        out.append((at + 1 if new else at, new, old))
        shift += len(new) - len(old)
    return out


def step(text, hunks, path):
    """From one state of a file to the next: every hunk at its very line."""
    lines, shift = text.split('\n'), 0
    for number, (line, old, new) in enumerate(hunks, 1):
        at = place(line, old) + shift
        if lines[at:at + len(old)] != old:
            raise Failed(f'{path}: hunk {number}: its lines are not at line {line}')
        lines[at:at + len(old)] = new
        shift += len(new) - len(old)
    return '\n'.join(lines)
