#!/usr/bin/env python3
"""The judge of `make bench`, judged: python3 lab/bench/test_judge.py"""
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import judge  # noqa: E402

TARGETS = [judge.Target('intel', 'set', 'any', 'stock'), judge.Target('intel', 'set', '>8', '1.2 * vcpus * at8 / 8'),
           judge.Target('intel', 'only_ours', '64', '1000')]


def sample(case, vcpus, median, floor=''):
    return json.dumps({'case': case, 'vcpus': vcpus, 'floor': floor, 'samples': 3, 'min': median - 1, 'median': median,
                       'max': median + 100})


class Boot:
    """A run as a host would have reported it."""

    def __init__(self):
        self.plan, self.records, self.end, self.status = [], [], '# end 0\n', 'exit 0'

    def add(self, name, lines, verdict='ok', code=0, kernel=''):
        n = len(self.plan) + 1
        self.plan.append(f'{name.replace("/", " ", 1)} 60 1')
        text = f'# begin {n} {name}\n' + ''.join(f'# > {line}\n' for line in lines)
        self.records.append(f'{text}{kernel}{verdict} {n} {name} # exit={code} seconds=1.00\n')
        return self

    def run(self, lab='intel'):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name) / f'bench-{lab}'
            directory.mkdir()
            (directory / 'plan').write_text('\n'.join(self.plan) + '\n')
            (directory / 'status').write_text(self.status + '\n')
            head = f'KTAP version 1\n1..{len(self.plan)}\n# host lab={lab}\n'
            (directory / 'result.ktap').write_text(head + ''.join(self.records) + self.end)
            return judge.Run(directory)


def boot(ours=(90, 900, 8000), stock=(100, 1000, 9000)):
    """KVMs measured at 1, 8 and 64 vCPUs."""
    made = Boot()
    for kvm, values in (('stock', stock), ('ours', ours)):
        for vcpus, value in zip((1, 8, 64), values):
            lines = [sample('floor', vcpus, 10), sample('set', vcpus, value + 10, 'floor')]
            if kvm == 'ours' and vcpus == 64:
                lines.append(sample('only_ours', 64, 1000))
            made.add(f'{kvm}/kvmclock_bench:{vcpus}', lines)
    return made


def failures(made, lab='intel', targets=None):
    return [text for verdict, text in judge.judge(made.run(lab), targets or TARGETS) if verdict == 'NOT OK']


class Good(unittest.TestCase):
    def test_passes(self):
        lines = judge.judge(boot().run(), TARGETS)
        # The run, three against stock, one of growth, one of its own.
        self.assertEqual([verdict for verdict, _ in lines], ['ok'] * 6)

    def test_floor_is_subtracted(self):
        self.assertEqual(boot().run().cost('stock', 'set', 8), 1000)

    def test_exactly_the_limit(self):
        self.assertEqual(failures(boot(ours=(100, 1000, 9000))), [])

    def test_amd_takes_the_least(self):
        self.assertEqual(boot().run('amd').cost('stock', 'set', 8), 1000)
        self.assertEqual(boot().run('amd').cost('ours', 'floor', 8), 9)


class Bad(unittest.TestCase):
    def test_dearer_than_stock(self):
        self.assertEqual(len(failures(boot(ours=(101, 900, 8000)))), 1)

    def test_grows(self):
        """Cheaper than stock at every number, but each vCPU costs more the more there are."""
        found = failures(boot(ours=(1, 8, 100)))
        self.assertEqual(len(found), 1)
        self.assertIn('at8', found[0])

    def test_own_limit(self):
        made = boot()
        made.records[-1] = made.records[-1].replace('"median": 1000', '"median": 1001')
        self.assertEqual(len(failures(made)), 1)

    def test_missing_measurement(self):
        made = boot()
        made.records[-1] = made.records[-1].replace('"case": "set"', '"case": "other"')
        self.assertTrue(any('set/64: not measured' in text for text in failures(made)))

    def test_missing_stock(self):
        made = boot()
        made.records[2] = made.records[2].replace('"case": "set"', '"case": "other"')
        self.assertTrue(any('set/64' in text and '?' in text for text in failures(made)))

    def test_missing_floor(self):
        made = boot()
        made.records[0] = made.records[0].replace('"case": "floor"', '"case": "other"')
        self.assertTrue(any('set/1' in text for text in failures(made)))


class Broken(unittest.TestCase):
    def test_program_fails(self):
        self.assertTrue(failures(boot().add('ours/unload', ['rmmod: busy'], 'not ok', 1)))

    def test_host_dies(self):
        made = boot()
        made.end = ''
        self.assertTrue(failures(made))

    def test_record_is_missing(self):
        made = boot()
        made.records.pop()
        self.assertTrue(failures(made))

    def test_emulator_stopped(self):
        made = boot()
        made.status = 'limit'
        self.assertTrue(failures(made))

    def test_kernel_complains(self):
        made = boot().add('ours/unload', [], kernel='# k [    1.0] BUG: sleeping function called\n')
        self.assertTrue(failures(made))

    def test_nothing_at_all(self):
        self.assertTrue(failures(Boot()))


class Partial(unittest.TestCase):
    def test_what_was_not_asked_for_is_skipped(self):
        """Only ours: no comparison, but what needs none is judged."""
        made = Boot()
        for vcpus, value in ((8, 900), (64, 9000)):
            made.add(f'ours/kvmclock_bench:set:{vcpus}', [sample('set', vcpus, value)])
        verdicts = [verdict for verdict, _ in judge.judge(made.run(), TARGETS)]
        self.assertEqual(verdicts, ['ok', 'skipped', 'skipped', 'NOT OK'])


class Pages(unittest.TestCase):
    TARGETS = [judge.Target('pages', 'pages_boot', 'any', 'stock + vcpus')]

    def failures(self, stock, ours, console=''):
        with tempfile.TemporaryDirectory() as name:
            for kvm, count in (('stock', stock), ('ours', ours)):
                directory = Path(name) / kvm
                directory.mkdir()
                (directory / 'host-A.log').write_text(console)
                if count is not None:
                    (directory / 'pages.json').write_text(json.dumps({'vcpus': 4, 'written': {'pages_boot': count}}))
            return [text for verdict, text in judge.judge(judge.Pages(name), self.TARGETS) if verdict == 'NOT OK']

    def test_passes(self):
        self.assertEqual(self.failures(8, 12), [])

    def test_too_often(self):
        self.assertEqual(len(self.failures(8, 13)), 1)

    def test_not_counted(self):
        self.assertIn('stock was not counted', self.failures(None, 1)[0])
        self.assertEqual(len(self.failures(8, None)), 2)
        self.assertIn('nothing was counted', self.failures(None, None)[0])

    def test_host_complains(self):
        self.assertIn('BUG', self.failures(8, 8, '[    1.0] BUG: sleeping function called\n')[0])


class List(unittest.TestCase):
    def test_the_list_is_sound(self):
        names = {'stock': 1000, 'vcpus': 8, 'at1': 100, 'at8': 800}
        for target in judge.read_targets():
            self.assertGreater(target.limit(names), 0)
            self.assertIn(target.lab, ('intel', 'intel-short', 'intel-irqs', 'amd', 'pages'))


if __name__ == '__main__':
    unittest.main()
