"""Clear what semantic patches leave behind: empty #if blocks, orphaned comments, surplus blank lines."""
import re
import subprocess
import tempfile

RANGE = re.compile(r'(\d+)(?:,(\d+))?([acd])(\d+)(?:,(\d+))?$')


def opcodes(old, new):
    """The changed ranges of two lists of lines as (tag, i1, i2, j1, j2), tag 'a', 'c' or 'd', counted from 0."""
    with tempfile.NamedTemporaryFile('w') as a, tempfile.NamedTemporaryFile('w') as b:
        for f, lines in (a, old), (b, new):
            f.write(''.join(line + '\n' for line in lines))
            f.flush()
        out = subprocess.run(['diff', a.name, b.name], stdout=subprocess.PIPE, text=True).stdout
    for line in out.split('\n'):
        m = RANGE.match(line)
        if not m:
            continue
        i1, j1, tag = int(m[1]), int(m[4]), m[3]
        i2, j2 = int(m[2] or i1), int(m[5] or j1)
        # 'a' names the old line before the gap, 'd' the new line before it
        yield (tag, i1 if tag == 'a' else i1 - 1, i2, j1 if tag == 'd' else j1 - 1, j2)


def drop_empty_conditionals(lines):
    """One pass; (lines, number dropped). An #else part that is empty goes alone."""
    i, out, n = 0, [], 0
    while i < len(lines):
        if re.match(r'\s*#\s*(if|else)', lines[i]):
            whole = re.match(r'\s*#\s*if', lines[i])
            j = i + 1
            while j < len(lines) and (not lines[j].strip() or (whole and re.match(r'\s*#\s*el', lines[j]))):
                j += 1
            if j < len(lines) and re.match(r'\s*#\s*endif', lines[j]):
                n += 1
                i = j + 1 if whole else j
                continue
        out.append(lines[i])
        i += 1
    return out, n


def comment_before(lines, k):
    """Start of the comment that ends on the line before k, or None."""
    if k < 1 or not lines[k - 1].rstrip().endswith('*/'):
        return None
    j = k - 1
    while j >= 0 and '/*' not in lines[j]:
        j -= 1
    return j if j >= 0 and lines[j].lstrip().startswith('/*') else None


def without_moved_comment(old_line, new_line):
    """spatch hangs the comment behind deleted code to the end of the line before: that line as it was, or None."""
    rest = new_line[len(old_line):]
    return old_line if new_line.startswith(old_line) and re.fullmatch(r'\s*/\*.*\*/', rest) else None


def words(lines):
    return ' '.join(' '.join(line.strip(' \t/*') for line in lines).split())


def surplus_blank(lines, j, drop):
    before = next((lines[k] for k in range(j - 1, -1, -1) if k not in drop), '')
    return not lines[j].strip() and (not before.strip() or before.rstrip().endswith('{')
                                     or re.match(r'#\s*if', before) is not None or lines[j + 1].strip() == '}')


def tidy(old_text, new_text, keep):
    """(text, report). keep: phrases; a comment that has one stays before the statement that replaced another."""
    old, new, report, used = old_text.split('\n'), new_text.split('\n'), [], set()
    n = 1
    while n:
        new, n = drop_empty_conditionals(new)
        report += ['empty #if dropped'] * n
    drop = set()
    for tag, i1, _, j1, j2 in opcodes(old, new):
        new[j1:j2] = [line.rstrip() for line in new[j1:j2]]
        if tag == 'c' and (line := without_moved_comment(old[i1], new[j1])) is not None:
            report.append('dropped comment: ' + words([new[j1][len(line):]]))
            new[j1] = line
        start = comment_before(new, j1) if tag in 'cd' and old[i1].strip() else None
        if start is not None:
            text = words(new[start:j1])
            phrase = next((k for k in keep if k in text), None)
            if phrase:
                used.add(phrase)
                report.append('kept comment: ' + text)
            else:
                drop.update(range(start, j1))
                report.append('dropped comment: ' + text)
        for j in range(max(1, j1 - 1), min(len(new) - 1, j2 + 2)):
            if surplus_blank(new, j, drop):
                drop.add(j)
    report += ['keep without effect: ' + k for k in keep if k not in used]
    return '\n'.join(line for j, line in enumerate(new) if j not in drop), report
