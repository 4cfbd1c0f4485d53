#!/usr/bin/env python3
"""Test of what lab/results.py writes, from canned runs."""
import os
import tempfile
import unittest
from pathlib import Path

import links
import results as r
from report import table as read_list

LIST = [r.Row('readme', 'amd', 'continuity.generation.*', '-', 'A generation'),
        r.Row('results', 'intel', 'restore.pause.*', 'ms', 'A pause'),
        r.Row('readme', 'demo', 'gain_ms', '-', 'A migration')]
STOCK = """\
continuity\tcontinuity.generation.1to1.min\t-1647\tns
continuity\tcontinuity.generation.1to1.max\t63\tns
"""
OURS = 'continuity\tcontinuity.generation.1to1.min\t0\tns\n'
INTEL = 'restore\trestore.pause.43MHz\t-999000000\tns\n'
DEMO = """\
run\thop\tgain_ms\tbound_ms
stock\t1\t-349.13\t7.5
stock\t2\t-340.9\t7.5
ours\t1\t-3\t7.5
patched\t1\t0.65\t8
patched\t2\t-0.28\t8
"""
RUNS = '7.3\tamd\tstock+ours\t7.3.4-kvmclock\t2978\t0\t48\t12\t2026-11-28\n'
DAY = 1_800_000_000     # 2027-01-15
README = f'before\n{r.BEGIN}... -->\n{r.END}\nbehind\n'


class ResultsTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.out = Path(self.dir.name)
        self.results = r.Results(self.out)

    def put(self, name, text):
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (DAY, DAY))

    def put_all(self):
        for name, text in (('results/7.3-amd-stock.tsv', STOCK), ('results/7.3-amd-ours.tsv', OURS),
                           ('results/7.3-intel-ours.tsv', INTEL), ('results/runs.tsv', RUNS), ('demo/demo.tsv', DEMO),
                           ('results/kcsan/runs.tsv', RUNS.replace('2978', '967')), ('demo/demo.txt', 'KVM  hop\n')):
            self.put(name, text)

    def written(self, old=''):
        return r.results_md(self.results, LIST, old)

    def test_rows(self):
        self.put_all()
        text = self.written()
        self.assertIn('| A generation | AMD | -1,647 … +63 ns | 0 ns | 2027-01-15 |\n', text)
        self.assertNotIn('A pause', text, 'there is nothing to compare with')
        self.assertIn('| A migration | two AMD | -349.1 … -340.9 ms | -0.280 … +0.650 ms | 2027-01-15 |\n', text)

    def test_runs(self):
        self.put_all()
        text = self.written()
        self.assertIn('| 7.3 amd | 7.3.4-kvmclock | stock+ours | 2978 | 0 | 48 | 12 | 2026-11-28 |\n', text)
        self.assertIn('| 7.3 amd, kcsan | 7.3.4-kvmclock | stock+ours | 967 | 0 | 48 | 12 | 2026-11-28 |\n', text)

    def test_what_the_demo_printed(self):
        self.put_all()
        self.assertIn('## make demo\n\nOf 2027-01-15.\n\n    KVM  hop\n', self.written())

    def test_again_is_the_same(self):
        self.put_all()
        text = self.written()
        self.assertEqual(self.written(text), text)

    def test_what_was_not_run_again_stays(self):
        self.put_all()
        old = self.written()
        r_empty = r.Results(self.out / 'nothing')
        self.assertEqual(r.results_md(r_empty, LIST, old), old)

    def test_what_was_run_again_is_new(self):
        self.put_all()
        old = self.written()
        self.put('results/7.3-amd-ours.tsv', OURS.replace('\t0\t', '\t-7\t'))
        self.put('results/runs.tsv', RUNS.replace('\t0\t48', '\t1\t48'))
        text = self.written(old)
        self.assertIn('| A generation | AMD | -1,647 … +63 ns | -7 ns |', text)
        self.assertEqual(text.count('A generation'), 1)
        self.assertIn('| 2978 | 1 | 48 |', text)
        self.assertNotIn('| 2978 | 0 | 48 |', text)

    def test_a_row_that_the_list_has_no_more_is_gone(self):
        self.put_all()
        old = self.written()
        self.assertIn('A migration', old)
        self.assertNotIn('A migration', r.results_md(self.results, LIST[:1], old))

    def test_mixed_units(self):
        self.put_all()
        self.put('results/7.3-amd-ours.tsv', OURS + 'continuity\tcontinuity.generation.hz\t1\tmHz\n')
        with self.assertRaises(SystemExit):
            self.written()

    def test_a_name_that_nothing_has(self):
        self.put_all()
        with self.assertRaisesRegex(SystemExit, 'none of that name'):
            r.results_md(self.results, [r.Row('readme', 'amd', 'continuity.new_name.*', '-', 'A row')], '')

    def test_readme(self):
        self.put_all()
        text = r.readme(self.results, LIST, README)
        self.assertTrue(text.startswith('before\n') and text.endswith(f'{r.END}\nbehind\n'), text)
        self.assertIn('| A generation |', text)
        self.assertNotIn('| A pause |', text)
        self.assertEqual(r.readme(r.Results(self.out / 'nothing'), LIST, text), text)

    def test_readme_without_a_place(self):
        with self.assertRaises(SystemExit):
            r.readme(self.results, LIST, 'nothing here\n')

    def test_numbers(self):
        for value, text in ((0, '0'), (-349.13, '-349.1'), (0.65, '+0.650'), (-1e9, '-1,000,000,000')):
            self.assertEqual(r.number(value), text)
        self.assertEqual(str(r.Span(0, 1500, 'readings', '')), '0 … 1,500 readings')
        self.assertEqual(str(r.Span(3, 3, 'ns', '')), '+3 ns')

    def test_the_list_is_well_formed(self):
        rows = [r.Row(*cells) for cells in read_list(r.ROOT / 'lab' / 'results.list', 5)]
        self.assertEqual(len(r.order_of(rows)), len(set(r.order_of(rows))))
        for row in rows:
            self.assertIn(row.place, ('readme', 'results'))
            self.assertIn(row.source, r.HOSTS)
            self.assertTrue(row.unit == '-' or row.unit in r.SCALE)
        self.assertLessEqual(sum(row.place == 'readme' for row in rows), 6)


class LinksTest(unittest.TestCase):
    def complaints(self, text, name='lab/README.md'):
        return list(links.complaints(links.ROOT / name, text, {'demo'}))

    def test_what_is_there(self):
        text = '# A *title*: of two\n[a](tests.list) [b](#a-title-of-two) [c](../README.md) [d](https://example.org/x)\n'
        self.assertEqual(self.complaints(text + '\n    make demo LAB=amd    # make sure\n'), [])

    def test_what_is_not(self):
        for text in '[a](nonesuch.md)', '[b](#no-such-title)', '`make nonesuch`', '\n    make demo nonesuch\n':
            with self.subTest(text):
                self.assertEqual(len(self.complaints(text)), 1)

    def test_a_long_readme(self):
        self.assertEqual(self.complaints('x\n' * 150, 'README.md'), [])
        self.assertEqual(len(self.complaints('x\n' * 151, 'README.md')), 1)


if __name__ == '__main__':
    unittest.main()
