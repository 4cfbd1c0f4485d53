#!/usr/bin/env python3
"""What the overlay refuses, and what it makes, on small canned texts. Run by lab/lint.sh."""
import contextlib
import io
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
import apply  # noqa: E402
import edits  # noqa: E402
import grow  # noqa: E402
import semantic  # noqa: E402
import tidy  # noqa: E402

UAPI = '''struct before { int x; };

/* old words */
#define CLOCK_A 1
#define CLOCK_B 2

struct clock {
	int a;
};

#define AFTER 1
'''

RST = '''4. API
======

4.1 FIRST
---------

old

4.2 SECOND
----------

second


5. Other
========
'''

MAINTAINERS = '''Maintainers List
----------------

ALPHA
M:	a@b

GAMMA DELTA
M:	c@d

THE REST
M:	e@f
'''


class Definitions(unittest.TestCase):
    def test_replaces_region_and_comment(self):
        out = edits.replace_definitions(UAPI, '/* SPDX-License-Identifier: x */\n\n/* new */\n#define CLOCK_A 1\n'
                                        '#define CLOCK_B 2\n#define CLOCK_C 4\n\nstruct clock {\n\tint b;\n};\n')
        self.assertIn('};\n\n/* new */\n#define CLOCK_A', out)
        self.assertIn('int b;\n};\n\n#define AFTER', out)
        self.assertNotIn('old words', out)
        self.assertNotIn('SPDX', out)

    def test_place_not_found(self):
        with self.assertRaisesRegex(edits.Failed, 'none of'):
            edits.replace_definitions(UAPI, '#define NOWHERE 1\n')

    def test_foreign_definition_between(self):
        with self.assertRaisesRegex(edits.Failed, 'CLOCK_B'):
            edits.replace_definitions(UAPI, '#define CLOCK_A 1\nstruct clock {\n};\n')

    def test_not_unique(self):
        with self.assertRaisesRegex(edits.Failed, 'more than once'):
            edits.replace_definitions(UAPI + '#define CLOCK_A 1\n', '#define CLOCK_A 1\n')


    def test_later_state(self):
        early = '#define CLOCK_A 1\n#define CLOCK_B 2\n\nstruct clock {\n\tint b;\n};\n'
        late = early.replace('2\n', '2\n#define CLOCK_C 4\n')
        once = edits.replace_definitions(UAPI, early)
        self.assertEqual(edits.replace_definitions(once, late, early), edits.replace_definitions(UAPI, late))
        # What the later state has not any more goes.
        self.assertEqual(edits.replace_definitions(edits.replace_definitions(UAPI, late), early, late), once)


class Sections(unittest.TestCase):
    def test_replaces_by_title_and_keeps_number(self):
        out = edits.replace_sections(RST, 'SECOND\n------\n\nnew words\n')
        self.assertIn('4.2 SECOND\n----------\n\nnew words\n\n\n5. Other', out)
        self.assertIn('old', out)

    def test_new_section_gets_next_number(self):
        out = edits.replace_sections(RST, '4.x THIRD\n---------\n\nthird\n')
        self.assertIn('second\n\n4.3 THIRD\n---------\n\nthird\n\n5. Other', out)

    def test_not_found(self):
        with self.assertRaisesRegex(edits.Failed, 'found 0 times'):
            edits.replace_sections(RST, 'FOURTH\n------\n\nx\n')

    def test_new_section_is_there_already(self):
        with self.assertRaisesRegex(edits.Failed, 'in the base already'):
            edits.replace_sections(RST, '4.x FIRST\n---------\n\nx\n')

    def test_later_state(self):
        early = 'SECOND\n------\n\nnew\n\n4.x THIRD\n---------\n\nthird\n'
        late = early.replace('third', 'more') + '\n4.x FOURTH\n----------\n\nfourth\n'
        once = edits.replace_sections(RST, early)
        self.assertEqual(edits.replace_sections(once, late, early), edits.replace_sections(RST, late))
        with self.assertRaisesRegex(edits.Failed, 'cannot go again: FOURTH'):
            edits.replace_sections(once, early, late)


class Entry(unittest.TestCase):
    def test_alphabetical(self):
        out = edits.insert_entry(MAINTAINERS, 'BETA\nM:\tx@y\n')
        self.assertIn('M:\ta@b\n\nBETA\nM:\tx@y\n\nGAMMA', out)

    def test_there_already(self):
        with self.assertRaises(edits.Failed):
            edits.insert_entry(MAINTAINERS, 'ALPHA\nM:\tx@y\n')

    def test_later_state(self):
        once = edits.insert_entry(MAINTAINERS, 'BETA\nM:\tx@y\n')
        out = edits.insert_entry(once, 'BETA\nM:\tx@z\n', 'BETA\nM:\tx@y\n')
        self.assertEqual(out, edits.insert_entry(MAINTAINERS, 'BETA\nM:\tx@z\n'))


class Diffs(unittest.TestCase):
    def apply(self, base, hunk):
        files = edits.parse_diff('--- a/f\n+++ b/f\n' + hunk)
        return edits.apply_hunks(base, files['f'], 'f')

    def test_applies(self):
        self.assertEqual(self.apply('a\nb\nc\n', '@@ -2 +2,2 @@\n b\n+x\n'), 'a\nb\nx\nc\n')

    def test_other_patch_level_moves_it(self):
        self.assertEqual(self.apply('a\nb\nc\n', '@@ -1,1 +1,2 @@\n b\n+x\n'), 'a\nb\nx\nc\n')

    def test_does_not_fit(self):
        with self.assertRaisesRegex(edits.Failed, 'hunk 1 does not apply exactly .0 places'):
            self.apply('a\nc\n', '@@ -2 +2,2 @@\n b\n+x\n')

    def test_fits_twice_elsewhere(self):
        with self.assertRaisesRegex(edits.Failed, '2 places'):
            self.apply('a\nb\nc\nb\n', '@@ -1 +1,2 @@\n b\n+x\n')

    def test_follows_the_hunk_before_it(self):
        diff = '@@ -1 +1,2 @@\n a\n+x\n@@ -2 +3,2 @@\n b\n+y\n'
        self.assertEqual(self.apply('0\na\nb\nc\nb\n', diff), '0\na\nx\nb\ny\nc\nb\n')
        with self.assertRaisesRegex(edits.Failed, 'hunk 2 .* .2 places'):
            self.apply('0\na\nc\nb\nb\n', diff)

    def test_more_context_than_one_line(self):
        with self.assertRaisesRegex(edits.Failed, 'more than one line of context'):
            self.apply('a\nb\nc\n', '@@ -1,2 +1,3 @@\n a\n b\n+x\n')

    def test_wrong_counts(self):
        with self.assertRaisesRegex(edits.Failed, 'counts'):
            self.apply('a\nb\nc\n', '@@ -1,2 +1,3 @@\n a\n+x\n')


class States(unittest.TestCase):
    """A file of ours, by the diffs that later commits add to it."""
    EARLY, LATE = 'a\nb\nc\nd\ne\n', 'x\na\nb\nC\nd\n'
    DIFF = ('--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+x\n@@ -2,3 +3,3 @@\n b\n-c\n+C\n d\n@@ -5 +5,0 @@\n-e\n')

    def hunks(self, diff=DIFF):
        return edits.parse_diff(diff, ours=True)['f']

    def test_forwards_and_backwards(self):
        self.assertEqual(edits.step(self.EARLY, self.hunks(), 'f'), self.LATE)
        self.assertEqual(edits.step(self.LATE, edits.backwards(self.hunks()), 'f'), self.EARLY)
        self.assertEqual(edits.backwards(edits.backwards(self.hunks())), self.hunks())

    def test_two_on_one_file(self):
        more = self.hunks('--- a/f\n+++ b/f\n@@ -5,0 +6,2 @@\n+y\n+z\n')
        last = edits.step(self.LATE, more, 'f')
        self.assertEqual(last, self.LATE + 'y\nz\n')
        first = edits.step(edits.step(last, edits.backwards(more), 'f'), edits.backwards(self.hunks()), 'f')
        self.assertEqual(first, self.EARLY)

    def test_other_line_stops(self):
        with self.assertRaisesRegex(edits.Failed, 'f: hunk 1: its lines are not at line 2'):
            edits.step('b\n' + self.EARLY, self.hunks('--- a/f\n+++ b/f\n@@ -2 +2 @@\n-b\n+B\n'), 'f')

    def test_other_content_stops(self):
        with self.assertRaisesRegex(edits.Failed, 'f: hunk 2'):
            edits.step(self.LATE.replace('C', 'D'), edits.backwards(self.hunks()), 'f')

    def test_follow(self):
        """Both what a hunk adds, and what is around it, may have got longer: the next hunk's lines move, on both sides."""
        new = 'x\nx2\na\na2\nb\nC\nd\n'
        hunks = grow.follow(self.hunks(), self.LATE.split('\n'), new.split('\n'), 'f')
        self.assertEqual(edits.step(new, edits.backwards(hunks), 'f'), 'a\na2\nb\nc\nd\ne\n')
        self.assertEqual([hunk[0] for hunk in hunks], [0, 3, 6])


class Growth(unittest.TestCase):
    """The whole way of a series, from its directories to its commits, in a repository and a base that are made up."""
    FINAL = 'a\nsecond\nb\nthird\n'
    RST_FINAL = 'SECOND\n------\n\nnew\n\n4.x THIRD\n---------\n\nthird\nmore\n'
    SECOND = '--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+second\n'
    THIRD = ('--- a/f\n+++ b/f\n@@ -3,0 +4 @@\n+third\n'
             '--- a/api.rst\n+++ b/api.rst\n@@ -9,0 +10 @@\n+more\n'
             '--- a/kvm.h\n+++ b/kvm.h\n@@ -1,0 +2 @@\n+#define CLOCK_C 4\n')

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.root, self.tree = Path(tmp.name), Path(tmp.name) / 'base'
        for name, text in {'base/api.rst': RST, 'base/kvm.h': UAPI, 'f': self.FINAL, 'api.rst': self.RST_FINAL,
                           'kvm.h': '#define CLOCK_B 2\n#define CLOCK_C 4\n', 'bases/x/base': '',
                           'series/0001-a/apply': 'file f\nrst api.rst\nuapi kvm.h\n',
                           'series/0002-b/apply': 'grow grow.diff\n', 'series/0002-b/grow.diff': self.SECOND,
                           'series/0003-c/apply': 'grow grow.diff\n', 'series/0003-c/grow.diff': self.THIRD}.items():
            self.put(name, text)
        for name in '0001-a', '0002-b', '0003-c':
            self.put(f'series/{name}/message', name)
        self.put('MAINTAINERS', 'CLOCK\nM:\tSomebody <somebody@localhost>\n')
        for command in (['init', '-q'], ['add', '.'], ['-c', 'user.name=x', '-c', 'user.email=x@y', 'commit', '-qmbase'],
                        ['tag', 'base']):
            subprocess.run(['git', '-C', self.tree, *command], check=True)
        out = self.root / 'out'
        for name, value in ('ROOT', self.root), ('HOME', self.root), ('OUT', out), ('TREES', out):
            patch = mock.patch.object(apply, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def put(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def states(self, path):
        series = apply.Series('x', self.tree)
        return [series.changes(commit).get(path) for commit in series.commits]

    def make(self):
        apply.Series('x', self.tree).stream()

    def test_file(self):
        self.assertEqual(self.states('f'), ['a\nb\n', 'a\nsecond\nb\n', self.FINAL])
        self.make()

    def test_sections(self):
        first, _, last = self.states('api.rst')
        self.assertIn('4.2 SECOND\n----------\n\nnew\n', first)
        self.assertIn('4.3 THIRD\n---------\n\nthird\n\n', first)
        self.assertEqual(last, edits.replace_sections(RST, self.RST_FINAL))

    def test_definitions(self):
        first, _, last = self.states('kvm.h')
        self.assertNotIn('CLOCK_C', first)
        self.assertEqual(last, edits.replace_definitions(UAPI, (self.root / 'kvm.h').read_text()))

    def test_several_diffs_of_one_commit(self):
        self.put('series/0002-b/apply', 'grow grow.diff\ngrow more.diff\n')
        self.put('series/0002-b/more.diff', '--- a/f\n+++ b/f\n@@ -2 +2,2 @@\n second\n+2a\n')
        self.put('series/0003-c/grow.diff', self.THIRD.replace('-3,0 +4', '-4,0 +5'))
        self.put('f', 'a\nsecond\n2a\nb\nthird\n')
        self.assertEqual(self.states('f')[:2], ['a\nb\n', 'a\nsecond\n2a\nb\n'])
        self.make()

    def test_moved_by_a_line_stops(self):
        self.put('f', '0\n' + self.FINAL)
        with self.assertRaisesRegex(apply.Stop, '0003-c: what it adds cannot be taken out: f: hunk 1'):
            self.make()

    def test_another_word_stops(self):
        self.put('f', self.FINAL.replace('second', 'Second'))
        with self.assertRaisesRegex(apply.Stop, '0002-b: what it adds cannot be taken out: f: hunk 1'):
            self.make()

    def test_no_earlier_commit_stops(self):
        self.put('series/0001-a/apply', 'rst api.rst\nuapi kvm.h\n')
        with self.assertRaisesRegex(apply.Stop, '0002-b: grow grow.diff: f is in no earlier commit'):
            self.make()

    def test_other_edits_of_the_file_stop(self):
        self.put('series/0003-c/apply', 'grow grow.diff\ndiff late.diff\n')
        self.put('series/0003-c/late.diff', '--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+A\n')
        with self.assertRaisesRegex(apply.Stop, 'f: what the commits add up to is not the file of the repository'):
            self.make()

    def test_missing_diff_stops(self):
        (self.root / 'series/0003-c/grow.diff').unlink()
        with self.assertRaisesRegex(apply.Stop, '0003-c: grow grow.diff'):
            self.make()

    def test_cut(self):
        """From a whole file to an earlier state of it, as series/README tells."""
        for name in '0002-b', '0003-c':
            self.put(f'series/{name}/apply', '')
        series, early = apply.Series('x', self.tree), self.root / 'early'
        commit = grow.commit_of(series, '0003-c')
        grow.show(series, commit, early, ['f'])
        self.assertEqual((early / 'f').read_text(), self.FINAL)
        (early / 'f').write_text(self.FINAL.replace('third\n', ''))
        with contextlib.redirect_stdout(io.StringIO()):
            grow.write(series, commit, early, 'cut.diff')
        self.assertEqual(self.states('f'), ['a\nsecond\nb\n', None, self.FINAL])
        self.make()

    def test_cut_more(self):
        """What a diff says of other files stays."""
        series, early = apply.Series('x', self.tree), self.root / 'early'
        commit = grow.commit_of(series, '0003-c')
        grow.show(series, commit, early, ['f'])
        (early / 'f').write_text(self.FINAL.replace('b\nthird\n', ''))
        with contextlib.redirect_stdout(io.StringIO()):
            grow.write(series, commit, early, 'grow.diff')
        self.assertEqual(self.states('f'), ['a\n', 'a\nsecond\n', self.FINAL])
        self.assertNotIn('more', self.states('api.rst')[0])
        self.make()

    def test_no_newline_at_the_end(self):
        with self.assertRaisesRegex(apply.Stop, 'f: no newline'):
            grow.diff('f', 'a\n', 'a\nb')

    def test_refresh(self):
        old, new = 'a\nsecond\nb\n1\n2\n3\nthird\n', 'A\n0\na\nsecond\nb\n1\n2\n3\nthird\n'
        self.put('series/0003-c/grow.diff', '--- a/f\n+++ b/f\n@@ -6,0 +7 @@\n+third\n')
        self.put('f', new)
        self.assertEqual(grow.refresh(apply.Series('x', self.tree), {'f': old}), ['0003-c/grow.diff', '0002-b/grow.diff'])
        self.assertEqual(self.states('f'), [new.replace('second\n', '').replace('third\n', ''),
                                            new.replace('third\n', ''), new])
        self.make()
        self.assertEqual(grow.refresh(apply.Series('x', self.tree), {'f': new}), [])

    def test_what_fitted_last(self):
        self.make()
        for ahead in '1\n', '2\n1\n':     # twice, without a commit in between
            self.put('f', ahead + self.FINAL)
            series = apply.Series('x', self.tree)
            old = grow.last_fit(series, 'HEAD')
            self.assertNotEqual(old['f'], ahead + self.FINAL)
            grow.refresh(series, old)
            self.make()
        self.assertEqual(self.states('f')[0], '2\n1\na\nb\n')
        self.put('series/0003-c/grow.diff', self.THIRD.replace('-3,0 +4', '-2,0 +3'))
        with self.assertRaisesRegex(apply.Stop, 'f: the diffs fit neither'):
            grow.last_fit(apply.Series('x', self.tree), 'HEAD')

    def test_refresh_within_what_is_added(self):
        self.put('f', self.FINAL.replace('second\n', '2nd\n2nd and a half\n'))
        self.assertEqual(grow.refresh(apply.Series('x', self.tree), {'f': self.FINAL}),
                         ['0003-c/grow.diff', '0002-b/grow.diff'])
        self.assertEqual(self.states('f')[:2], ['a\nb\n', 'a\n2nd\n2nd and a half\nb\n'])
        self.make()

    def test_refresh_across_an_edge(self):
        self.put('f', self.FINAL.replace('second\nb', '2nd\nB'))
        with self.assertRaisesRegex(apply.Stop, '0002-b: f: a change across the edge of what is added, near line 2'):
            grow.refresh(apply.Series('x', self.tree), {'f': self.FINAL})


class Base(Growth):
    """What a base may have of its own. All that holds for a series holds with it, too."""
    VARY = '--- a/f\n+++ b/f\n@@ -9,1 +9,2 @@\n b\n+base\n'

    def setUp(self):
        super().setUp()
        self.put('bases/x/moved', '# where\nold/ new/\n')

    def vary(self, diff=VARY, commit='0001-a'):
        self.put(f'bases/x/{commit}.apply', 'vary b.diff\n')
        self.put('bases/x/b.diff', diff)

    def test_every_state_varies(self):
        self.vary()
        self.assertEqual(self.states('f'), ['a\nb\nbase\n', 'a\nsecond\nb\nbase\n', 'a\nsecond\nb\nbase\nthird\n'])
        self.make()

    def test_from_a_later_commit_on(self):
        self.vary(commit='0002-b')
        self.assertEqual(self.states('f'), ['a\nb\n', 'a\nsecond\nb\nbase\n', 'a\nsecond\nb\nbase\nthird\n'])

    def test_fragments_vary(self):
        self.vary('--- a/kvm.h\n+++ b/kvm.h\n@@ -1 +1 @@\n-#define CLOCK_B 2\n+#define CLOCK_B 3\n'
                  '--- a/api.rst\n+++ b/api.rst\n@@ -4 +4 @@\n-new\n+base\n')
        self.assertEqual([text.count('#define CLOCK_B 3') for text in self.states('kvm.h') if text], [1, 1])
        self.assertEqual([text.count('\nbase\n') for text in self.states('api.rst') if text], [1, 1])
        self.make()

    def test_what_does_not_fit_stops(self):
        self.vary(self.VARY.replace(' b\n', ' B\n'))
        with self.assertRaisesRegex(apply.Stop, '0001-a: vary b.diff: f: hunk 1 does not apply exactly .0 places'):
            self.make()

    def test_what_fits_no_later_state_stops(self):
        self.put('series/0002-b/grow.diff', '--- a/f\n+++ b/f\n@@ -2 +2,2 @@\n-B\n+second\n+b\n')
        self.vary(self.VARY.replace(' b\n', ' B\n'))
        with self.assertRaisesRegex(apply.Stop, '0002-b: grow grow.diff: 0001-a: vary b.diff: f: hunk 1'):
            self.make()

    def test_place_not_known_stops(self):
        self.vary('--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+base\n')
        with self.assertRaisesRegex(apply.Stop, 'f: a hunk without a line that is there before'):
            self.make()

    def test_no_earlier_commit_varies(self):
        self.vary(self.VARY.replace('/f\n', '/g\n'))
        with self.assertRaisesRegex(apply.Stop, '0001-a: vary b.diff: g is in no commit so far'):
            self.make()

    def test_file_of_the_base(self):
        self.put('bases/x/files/g', 'only here\n')
        self.put('bases/x/0002-b.apply', 'file g\n')
        self.assertEqual(self.states('g'), [None, 'only here\n', None])
        self.make()

    def test_file_in_place_of_the_repository_s(self):
        self.put('g', 'ours\n')
        self.put('bases/x/files/g', "the base's\n")
        self.put('bases/x/0002-b.apply', 'file g\n')
        self.assertEqual(self.states('g'), [None, "the base's\n", None])

    def test_moved(self):
        self.put('old/g', 'moved\n')
        self.put('bases/x/0001-a.apply', 'file old/g\n')
        self.put('bases/x/0002-b.apply', 'vary b.diff\n')
        self.put('bases/x/b.diff', '--- a/old/g\n+++ b/old/g\n@@ -1 +1,2 @@\n moved\n+more\n')
        self.assertEqual(self.states('new/g'), ['moved\n', 'moved\nmore\n', None])
        self.assertEqual(self.states('old/g'), [None, None, None])
        self.make()


class Tidy(unittest.TestCase):
    def test_clears_what_a_removal_leaves(self):
        old = '#ifdef X\nint a;\n#endif\n\n{\n\t/* about b */\n\tb();\n\tc();\n}\n'
        out, _ = tidy.tidy(old, '#ifdef X\n#endif\n\n{\n\t/* about b */\n\tc();\n}\n', [])
        self.assertEqual(out.strip(), '{\n\tc();\n}')

    def test_clears_blank_lines_below_what_it_clears(self):
        old = '#if X\nint a;\n\nint b;\n#endif\n\n{\n\t/* about b */\n\tb();\n\n\tc();\n}\n'
        out, _ = tidy.tidy(old, '#if X\n\nint b;\n#endif\n\n{\n\t/* about b */\n\n\tc();\n}\n', [])
        self.assertEqual(out, '#if X\nint b;\n#endif\n\n{\n\tc();\n}\n')

    def test_keeps_what_is_listed(self):
        old, new = '{\n\t/* about b */\n\tb();\n}\n', '{\n\t/* about b */\n\td();\n}\n'
        self.assertEqual(tidy.tidy(old, new, ['about b'])[0], new)
        # The comment behind deleted code goes with it.
        out, report = tidy.tidy('a();\n\nb(); /* about b */\n\nc();\n', 'a(); /* about b */\n\nc();\n', [])
        self.assertEqual(out, 'a();\n\nc();\n')
        self.assertEqual(report, ['dropped comment: about b'])

    def test_keep_without_effect_is_told(self):
        self.assertIn('keep without effect: zzz', tidy.tidy('a\n', 'b\n', ['zzz'])[1])


class Rules(unittest.TestCase):
    COCCI = '@gone@ type T; identifier f = {one, two}; @@\n- T f(...) { ... }\n@look@ @@\n  x\n'

    def ledger(self, hits, silent=()):
        ledger = semantic.Ledger(silent)
        ledger.add('a.cocci', self.COCCI, 'x.c', hits)
        return ledger.problems()

    def test_all_effective(self):
        self.assertEqual(self.ledger(['gone', 'gone.f=one', 'gone.f=two']), [])

    def test_name_not_found(self):
        self.assertEqual(self.ledger(['gone', 'gone.f=one']), ['a.cocci: name two changes nothing'])

    def test_name_expected_silent(self):
        self.assertEqual(self.ledger(['gone', 'gone.f=one'], ['name a.cocci two']), [])

    def test_silent_but_effective(self):
        problems = self.ledger(['gone', 'gone.f=one', 'gone.f=two'], ['name a.cocci two'])
        self.assertEqual(problems, ['a.cocci: name two is listed silent but changes something'])

    def test_rule_without_effect(self):
        self.assertIn('a.cocci: rule gone changes nothing', self.ledger([]))
        self.assertIn('a.cocci changes nothing in x.c', self.ledger([]))

    def test_stale_entry(self):
        self.assertIn('no such thing', self.ledger(['gone', 'gone.f=one', 'gone.f=two'], ['rule a.cocci zzz'])[0])

    def test_nothing_to_do_on_a_file(self):
        entry = 'nothing a.cocci x.c'
        self.assertEqual(self.ledger([], [entry]), [])
        self.assertEqual(self.ledger(['gone', 'gone.f=one', 'gone.f=two'], [entry]),
                         ['a.cocci is listed silent for x.c but changes something in it'])
        self.assertIn('no such thing: nothing a.cocci y.c',
                      self.ledger(['gone', 'gone.f=one', 'gone.f=two'], ['nothing a.cocci y.c'])[0])

    def test_nothing_to_do_on_one_of_two_files(self):
        ledger = semantic.Ledger(['nothing a.cocci x.c'])
        ledger.add('a.cocci', self.COCCI, 'x.c', [])
        ledger.add('a.cocci', self.COCCI, 'y.c', ['gone', 'gone.f=one'])
        self.assertEqual(ledger.problems(), ['a.cocci: name two changes nothing'])

    def test_rule_without_name(self):
        with self.assertRaisesRegex(semantic.Failed, 'without a name'):
            semantic.parse('@@ @@\n- x;\n', 'a.cocci')

    def test_real_spatch(self):
        text, hits = semantic.spatch(self.COCCI, 'a.cocci', 'int one(void) { return 1; }\n\nint three;\n', 'x.c')
        self.assertEqual(text.strip(), 'int three;')
        self.assertIn('gone', hits)
        self.assertEqual(self.ledger(hits), ['a.cocci: name two changes nothing'])


if __name__ == '__main__':
    unittest.main()
