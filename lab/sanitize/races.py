#!/usr/bin/env python3
"""What KCSAN reported in a run, each race once, the most frequent first.

    races.py out/run/BASE-kcsan/amd/result.ktap

Of each race: how often, under which KVM (stock or ours) and which tests; and of both sides the access, where it was, and
what called that.
"""
import collections
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import report  # noqa: E402

TITLE = re.compile(r'BUG: KCSAN: (.*)')
ACCESS = re.compile(r'^((?:read|write)\S*(?: \([^)]*\))?) to 0x\S+ of (\d+) bytes by')
FRAME = re.compile(r'^ (?:\? )?(\S+\+0x[0-9a-f]+)/0x')
TIME = re.compile(r'^\[ *[0-9.]+\] ?')
DEPTH = 6


def reports(result):
    """(KVM/test, [(access, [frame...])...]) of each report."""
    for record in [result.boot, *result.records, result.after]:
        sides = None
        for line in record.kernel:
            text = TIME.sub('', line)
            if TITLE.search(text):
                sides = []
            elif sides is not None and (m := ACCESS.match(text)):
                sides.append((f'{m[1]} {m[2]}', []))
            elif sides and (m := FRAME.match(text)):
                sides[-1][1].append(m[1])
            elif sides and text.startswith('Reported by'):
                yield record.name, sides
                sides = None


def races(path):
    """{(KVM, where each side's access was): [times, tests, the sides of the first report]}"""
    found = {}
    for where, sides in reports(report.Result(path.read_text(errors='replace'))):
        kvm, _, test = where.rpartition('/')
        key = kvm, tuple(sorted((access, frames[0] if frames else '?') for access, frames in sides))
        race = found.setdefault(key, [0, collections.Counter(), sides])
        race[0] += 1
        race[1][test] += 1
    return found


def main(path):
    found = races(Path(path))
    for (kvm, _), (times, tests, sides) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f'{times:5} {kvm or "boot"}: {" ".join(sorted(tests))}')
        for access, frames in sides:
            print(f'        {access:20} {" < ".join(frames[:DEPTH])}')
    print(f'{len(found)} races, {sum(times for times, _, _ in found.values())} reports')


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
