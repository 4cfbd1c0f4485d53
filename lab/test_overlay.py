#!/usr/bin/env python3
"""What the overlay refuses, and what it makes, on small canned texts. Run by lab/lint.sh."""
import sys
import unittest

sys.dont_write_bytecode = True
import edits  # noqa: E402
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


class Entry(unittest.TestCase):
    def test_alphabetical(self):
        out = edits.insert_entry(MAINTAINERS, 'BETA\nM:\tx@y\n')
        self.assertIn('M:\ta@b\n\nBETA\nM:\tx@y\n\nGAMMA', out)

    def test_there_already(self):
        with self.assertRaises(edits.Failed):
            edits.insert_entry(MAINTAINERS, 'ALPHA\nM:\tx@y\n')


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


class Tidy(unittest.TestCase):
    def test_clears_what_a_removal_leaves(self):
        old = '#ifdef X\nint a;\n#endif\n\n{\n\t/* about b */\n\tb();\n\tc();\n}\n'
        out, _ = tidy.tidy(old, '#ifdef X\n#endif\n\n{\n\t/* about b */\n\tc();\n}\n', [])
        self.assertEqual(out.strip(), '{\n\tc();\n}')

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
