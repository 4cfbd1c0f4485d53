#!/usr/bin/env python3
"""Test of the judge: canned runs, one good and others each spoilt in one way, and what it must say of them."""
import contextlib
import io
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import report

PLAN = """\
stock load 60 1
stock upstream 60 1
stock fault 60 3 fault
stock unload 60 1
ours load 60 1
ours upstream 60 1
ours fault 60 1
ours kunit 60 1
ours unload 60 1
"""

RESULT = """\
KTAP version 1
1..9
# host lab=amd kernel=7.3.4 cpus=2 vendor=amd clocksource=tsc uptime=3.98
# k [    0.000000] Linux version 7.3.4
# begin 1 stock/load
# > loaded stock amd
# k [    5.100000] kvm_amd: Nested Paging enabled
ok 1 stock/load # exit=0 seconds=1.62
# begin 2 stock/upstream
# > Random seed: 0x2f9cfeec
ok 2 stock/upstream # exit=0 seconds=0.63
# begin 3 stock/fault
# > TAP version 13
# > 1..3
# > # measure continuity.generation.1to1.min -647 ns
# > not ok 1 generation 1:1
# > ok 2 steady 1:1
# > ok 3 # SKIP scaled: no TSC scaling
# > # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
not ok 3 stock/fault # exit=1 seconds=0.71
# begin 4 stock/unload
ok 4 stock/unload # exit=0 seconds=1.21
# begin 5 ours/load
# > loaded ours amd
ok 5 ours/load # exit=0 seconds=1.60
# begin 6 ours/upstream
# > Random seed: 0x2f9cfeed
ok 6 ours/upstream # exit=0 seconds=0.60
# begin 7 ours/fault
# > TAP version 13
# > 1..3
# > # measure continuity.generation.1to1.min 0 ns
# > ok 1 generation 1:1
# > ok 2 steady 1:1
# > ok 3 # SKIP scaled: no TSC scaling
# > # Totals: pass:2 fail:0 xfail:0 xpass:0 skip:1 error:0
ok 7 ours/fault # exit=0 seconds=0.70
# begin 8 ours/kunit
# > KTAP version 1
# > 1..1
# >     KTAP version 1
# >     # Subtest: kvmclock
# >     1..2
# >         KTAP version 1
# >         # Subtest: edges
# >         1..2
# >         ok 1 zero
# >         ok 2 one
# >     ok 1 edges
# >     ok 2 oracle
# > ok 1 kvmclock
ok 8 ours/kunit # exit=0 seconds=0.41
# begin 9 ours/unload
ok 9 ours/unload # exit=0 seconds=1.19
# k [   12.000000] reboot: Power down soon
# end 0
"""

WARN = """\
# k [    7.000000] ------------[ cut here ]------------
# k [    7.000001] WARNING: arch/x86/kvm/x86.c:95 at kvm_guest_time_update+0x152/0x240, CPU#0: qemu/1
# k [    7.000002] Call Trace:
# k [    7.000003] ---[ end trace 0000000000000000 ]---
"""

RACE = """\
# k [    7.0] BUG: KCSAN: data-race in kvm_vcpu_kick [kvm] / vcpu_load [kvm]
# k [    7.1]
# k [    7.1] write (marked) to 0xff11000000fe8360 of 4 bytes by task 1044 on cpu 1:
# k [    7.1]  vcpu_load+0x73a/0x1430 [kvm]
# k [    7.1] read to 0xff11000000fe8360 of 4 bytes by task 1043 on cpu 0:
# k [    7.2] Reported by Kernel Concurrency Sanitizer on:
"""

TESTS = [[report.Test('upstream', 'fast', 'fast', '60', '1', 'pass'),
          report.Test('fault', 'fast', 'fast', '60', '1', 'fail'),
          report.Test('kunit', 'fast', 'slow', '60', '1', '-')]]

KNOWN = [['amd', 'both', 'skip', 'fault/scaled*', 'TCG has no TSC scaling'],
         ['amd', 'both', 'splat', 'boot:topology_common.c:95_at', 'the model']]

# Counts of the good run: the run, 3 results of loading and unloading and upstream's each, stock's fault as one,
# two cases and a skip of ours, three cases of KUnit.
GOOD = (1 + 3 + 1 + 3 + 2 + 3, 0, 1)


class JudgeTest(unittest.TestCase):
    def judge_runs(self, runs, plan=PLAN, status='exit 0', console='', known=(), san=''):
        """runs: {name: result}. [(passed, failed, skipped)], and what was printed."""
        with tempfile.TemporaryDirectory() as tmp:
            for run, result in runs.items():
                (Path(tmp) / run).mkdir()
                for name, text in (('plan', plan), ('result.ktap', result), ('status', status), ('console.log', console)):
                    (Path(tmp) / run / name).write_text(text)
            report.RESULTS = Path(tmp) / 'results'
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                judges = report.judge_all([Path(tmp) / run for run in runs], report.Known([*KNOWN, *known], san), TESTS)
            self.measures = {p.name: p.read_text() for p in report.RESULTS.glob('*')}
        return [(len(j.passed), len(j.failed), len(j.skipped)) for j in judges], out.getvalue()

    def judge(self, result=RESULT, **kwargs):
        counts, printed = self.judge_runs({'amd': result}, **kwargs)
        return counts[0], printed

    def spoil(self, old, new, **kwargs):
        self.assertIn(old, RESULT)
        return self.judge(RESULT.replace(old, new, 1), **kwargs)

    def assertFails(self, judged, *words, failures=1):
        (_, failed, _), text = judged
        self.assertEqual(failed, failures, text)
        for word in words:
            self.assertIn(word, text)

    def test_good(self):
        counts, text = self.judge()
        self.assertEqual(counts, GOOD, text)

    def test_measures(self):
        self.judge()
        self.assertEqual(self.measures[f'{report.BASE}-amd-stock.tsv'], 'fault\tcontinuity.generation.1to1.min\t-647\tns\n')
        self.assertEqual(self.measures[f'{report.BASE}-amd-ours.tsv'], 'fault\tcontinuity.generation.1to1.min\t0\tns\n')

    def test_splat_among_passes(self):
        for splat in (WARN, '# k [    7.0] UBSAN: shift-out-of-bounds in arch/x86/kvm/x86.c:7\n',
                      '# k [    7.0] BUG: sleeping function called from invalid context at mm/slab.h:1\n',
                      '# k [    7.0] WARNING: possible circular locking dependency detected\n',
                      '# k [    7.0] WARNING: suspicious RCU usage\n',
                      '# k [    7.0] rcu: INFO: rcu_preempt self-detected stall on CPU\n',
                      '# k [    7.0] BUG: KASAN: use-after-free in kvm_get_time\n',
                      RACE,
                      '# k [    7.0] kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n',
                      '# k [    7.0] Oops: general protection fault, probably for non-canonical address\n'):
            with self.subTest(splat):
                self.assertFails(self.spoil('ok 6 ours/upstream', f'{splat}ok 6 ours/upstream'), 'NOT OK   amd/ours/upstream')

    def test_splat_at_boot(self):
        self.assertFails(self.spoil('# begin 1', f'{WARN}# begin 1'), 'NOT OK   amd/run', '(boot)')

    def test_splat_at_the_end(self):
        self.assertFails(self.spoil('# end 0', f'{WARN}# end 0'), 'NOT OK   amd/run', '(end)')

    def test_splat_on_the_console_only(self):
        self.assertFails(self.judge(console='[   12.5] Kernel panic - not syncing: Fatal exception\n'), '(console)')

    def test_splat_on_the_console_is_counted_once(self):
        console = WARN.replace('# k ', '')
        self.assertFails(self.spoil('ok 6 ours/upstream', f'{WARN}ok 6 ours/upstream', console=console))

    def test_known_splat(self):
        counts, _ = self.spoil('# begin 1', WARN.replace('x86/kvm/x86.c:95', 'x86/kernel/cpu/topology_common.c:95') + '# begin 1')
        self.assertEqual(counts, GOOD)

    def test_known_splat_elsewhere(self):
        known = WARN.replace('x86/kvm/x86.c:95', 'x86/kernel/cpu/topology_common.c:95')
        self.assertFails(self.spoil('ok 6 ours/upstream', f'{known}ok 6 ours/upstream'), 'amd/ours/upstream')

    def test_splat_known_under_one_kernel(self):
        known = [['amd+kcsan', 'both', 'splat', '*:data-race_in_kvm_vcpu_kick_[kvm]_/_vcpu_load_[kvm]_(read_4,_write_4)', 'x']]
        raced = RESULT.replace('ok 6 ours/upstream', f'{RACE}ok 6 ours/upstream', 1)
        self.assertEqual(self.judge(raced, known=known, san='kcsan')[0], GOOD)
        self.assertFails(self.judge(raced, known=known, san='kasan'), 'data-race')
        self.assertFails(self.judge(raced, known=known), 'data-race')
        known[0][1] = 'stock'
        self.assertFails(self.judge(raced, known=known, san='kcsan'), 'data-race')
        known[0][1] = 'ours'
        self.assertEqual(self.judge(raced, known=known, san='kcsan')[0], GOOD)
        self.assertFails(self.judge(raced.replace('read to 0xff11000000fe8360 of 4', 'read to 0xff11000000fe8360 of 8'),
                                    known=known, san='kcsan'), '(read 8, write 4)')

    def test_splat_behind_a_known_one(self):
        known = WARN.replace('x86/kvm/x86.c:95', 'x86/kernel/cpu/topology_common.c:95')
        self.assertFails(self.spoil('# begin 1', f'{known}{WARN}# begin 1'), 'kvm_guest_time_update')

    def test_missing_result(self):
        self.assertFails(self.spoil('ok 6 ours/upstream # exit=0 seconds=0.60\n', ''), 'amd/ours/upstream: no result', failures=2)

    def test_last_result_missing(self):
        self.assertFails(self.judge(RESULT.partition('# begin 9')[0] + '# end 0\n'), 'amd/ours/unload: no result', failures=2)

    def test_double_result(self):
        line = 'ok 6 ours/upstream # exit=0 seconds=0.60\n'
        self.assertFails(self.spoil(line, line + line), 'is no record')

    def test_plan_of_the_host_does_not_match(self):
        self.assertFails(self.spoil('1..9', '1..8'), '9 tests asked for, 8 planned')

    def test_results_beyond_the_plan(self):
        self.assertFails(self.judge(plan=PLAN.replace('ours unload 60 1\n', '')), '8 tests asked for')

    def test_another_test_than_planned(self):
        self.assertFails(self.judge(plan=PLAN.replace('ours upstream', 'ours downstream')), 'downstream: no result')

    def test_nothing_planned(self):
        self.assertFails(self.judge('', plan=''), failures=2)

    def test_nothing_reported(self):
        self.assertFails(self.judge(''), 'no result', failures=10)

    def test_emulator_dies(self):
        self.assertFails(self.judge(RESULT.partition('ok 6')[0], status='exit 139'), 'the emulator ended with exit 139',
                         'it ended in ours/upstream', 'did not report its own end', failures=5)

    def test_emulator_dies_behind_the_end(self):
        self.assertFails(self.judge(status='exit 1'), 'the emulator ended with exit 1')

    def test_emulator_left_no_status(self):
        self.assertFails(self.judge(status=''), 'the emulator ended with ?')

    def test_hang(self):
        self.assertFails(self.judge(RESULT.partition('ok 6')[0], status='limit'), 'stopped at the time limit', failures=5)

    def test_no_end(self):
        self.assertFails(self.spoil('# end 0\n', ''), 'did not report its own end')

    def test_host_gave_up(self):
        self.assertFails(self.spoil('# end 0', '# end 1'), 'did not report its own end')

    def test_truncated_record(self):
        self.assertFails(self.judge(RESULT[:-3]), 'truncated', failures=1)
        self.assertFails(self.judge(RESULT.partition(' # exit=0 seconds=1.19')[0]), 'truncated', failures=2)

    def test_garbage(self):
        self.assertFails(self.spoil('# begin 4', 'hello\n# begin 4'), 'is no record')

    def test_failure(self):
        self.assertFails(self.spoil('ok 6 ours/upstream # exit=0', 'not ok 6 ours/upstream # exit=254'), 'exit 254')

    def test_ok_with_an_exit_code(self):
        self.assertFails(self.spoil('ok 6 ours/upstream # exit=0', 'ok 6 ours/upstream # exit=3'), 'exit 3')

    def test_timeout(self):
        self.assertFails(self.spoil('ok 6 ours/upstream # exit=0', 'not ok 6 ours/upstream # TIMEOUT exit=137'), 'timeout')

    def test_failing_case_in_a_passing_test(self):
        self.assertFails(self.spoil('# > ok 2 steady 1:1\n# > ok 3 # SKIP scaled: no TSC scaling\n# > # Totals: pass:2',
                                    '# > not ok 2 steady 1:1\n# > ok 3 # SKIP scaled: x\n# > # Totals: pass:2'),
                         'failing cases: steady_1:1')

    def test_failing_kunit_case(self):
        self.assertFails(self.spoil('# >         ok 2 one', '# >         not ok 2 one'), 'failing cases: one')

    def test_missing_case(self):
        self.assertFails(self.spoil('# >         ok 2 one\n', ''), '2 cases planned, 1 reported')

    def test_bail_out(self):
        self.assertFails(self.spoil('# > Random seed: 0x2f9cfeed', '# > Bail out! no VM'), 'Bail out')

    def test_unlisted_skip(self):
        self.assertFails(self.spoil('ok 6 ours/upstream # exit=0', 'ok 6 ours/upstream # SKIP exit=4'), 'does not allow')

    def test_unlisted_skip_of_a_case(self):
        self.assertFails(self.spoil('# > ok 2 steady 1:1\n# > ok 3 # SKIP scaled: no TSC scaling\n# > # Totals: pass:2',
                                    '# > ok 2 # SKIP steady: why\n# > ok 3 # SKIP scaled: x\n# > # Totals: pass:2'),
                         'NOT OK   amd/ours/fault/steady:_why')

    def test_listed_skip(self):
        counts, _ = self.spoil('ok 6 ours/upstream # exit=0', 'ok 6 ours/upstream # SKIP exit=4',
                               known=[['amd', 'both', 'skip', 'upstream', 'no hardware']])
        self.assertEqual(counts, (GOOD[0] - 1, 0, 2))

    def skip_on_stock(self, **kwargs):
        text = RESULT.replace('# > not ok 1 generation 1:1\n# > ok 2 steady 1:1\n',
                              '# > ok 1 # SKIP a: x\n# > ok 2 # SKIP b: x\n', 1)
        return self.judge(text.replace('not ok 3 stock/fault # exit=1', 'ok 3 stock/fault # SKIP exit=4'), **kwargs)

    def test_stock_skips_what_is_listed(self):
        counts, _ = self.skip_on_stock(known=[['amd', 'both', 'skip', 'fault/*', 'no hardware']])
        self.assertEqual(counts[1], 0)

    def test_stock_skips_what_is_not_listed(self):
        self.assertFails(self.skip_on_stock(known=[['amd', 'both', 'skip', 'fault/scaled*', 'no hardware']]),
                         'NOT OK   amd/stock/fault/a', failures=2)

    def test_stock_does_not_show_its_fault(self):
        text = RESULT.replace('# > not ok 1', '# > ok 1').replace('not ok 3 stock/fault # exit=1', 'ok 3 stock/fault # exit=0')
        self.assertFails(self.judge(text), 'shows no fault')

    def test_stock_falls_over_instead(self):
        self.assertFails(self.spoil('not ok 3 stock/fault # exit=1', 'not ok 3 stock/fault # exit=139'), 'fell over')
        self.assertFails(self.spoil('not ok 3 stock/fault # exit=1', 'not ok 3 stock/fault # TIMEOUT exit=137'), 'fell over')
        self.assertFails(self.spoil('not ok 3 stock/fault # exit=1', 'not ok 3 stock/fault # exit=127'), 'fell over')
        self.assertFails(self.spoil('# > ok 2 steady 1:1\n', ''), 'where 2 was due')

    def test_known_failure_excuses_ours_only_with_stock(self):
        known = [['amd', 'both', 'fail', 'upstream', 'durations']]
        ours = RESULT.replace('ok 6 ours/upstream # exit=0', 'not ok 6 ours/upstream # exit=254')
        self.assertFails(self.judge(ours, known=known), 'exit 254')
        both = ours.replace('ok 2 stock/upstream # exit=0', 'not ok 2 stock/upstream # exit=254')
        self.assertEqual(self.judge(both, known=known)[0], (GOOD[0] - 2, 0, 3))
        counts, _ = self.judge_runs({'amd-ours': both, 'amd-stock': RESULT}, known=known)
        self.assertEqual(counts[0][1], 1, 'stock passed in a run of its own')
        counts, _ = self.judge_runs({'amd-ours': both, 'intel-stock': RESULT}, known=known)
        self.assertEqual(counts[0][1], 0, "another lab's stock says nothing")

    def test_second_try(self):
        counts, _ = self.spoil('ok 6 ours/upstream', '# > Bail out!\n# again 6 ours/upstream\n# > fine\nok 6 ours/upstream')
        self.assertEqual(counts, GOOD)


    def check(self, first=None):
        """What a check of a good run prints, whose first boot has left these files."""
        out = io.StringIO()
        with tempfile.TemporaryDirectory() as tmp, unittest.mock.patch.object(report, 'RESULTS', Path(tmp)):
            run = Path(tmp) / 'amd'
            for name, text in [('plan', PLAN), ('result.ktap', RESULT), ('status', 'exit 0'),
                               *((f'first/{n}', t) for n, t in (first or {}).items())]:
                (run / name).parent.mkdir(parents=True, exist_ok=True)
                (run / name).write_text(text)
            with contextlib.redirect_stdout(out), unittest.mock.patch.object(report, 'read_tests', lambda: TESTS), \
                    unittest.mock.patch.object(report, 'read_known', lambda: report.Known(KNOWN)):
                status = report.check([run])
        return status, out.getvalue()

    def test_booted_once_more(self):
        console = '[    0.1] APIC: x\n[    0.2] Kernel panic - not syncing: IO-APIC + timer\n[    0.3] Rebooting\n'
        status, text = self.check({'console.log': console, 'status': 'exit 0'})
        self.assertEqual(status, 0, 'nothing that is tested was loaded')
        self.assertEqual([line for line in text.splitlines() if line.startswith('again')],
                         ['again    amd: booted once more; it had ended before its first test: '
                          '[    0.2] Kernel panic - not syncing: IO-APIC + timer'])
        self.assertIn('before its first test: exit 1\n', self.check({'console.log': '', 'status': 'exit 1'})[1])

    def test_booted_once(self):
        self.assertNotIn('again', self.check()[1])

    def summary(self, plan, runs):
        self.judge_runs(runs, plan=plan)
        return [line.split('\t') for line in self.measures.get('runs.tsv', '').splitlines()]

    def test_summary_of_a_whole_run(self):
        (row,) = self.summary(PLAN, {'amd': RESULT})
        self.assertEqual(row[:7], [report.BASE, 'amd', 'stock+ours', '7.3.4', *map(str, GOOD)])

    def test_no_summary_of_some_tests(self):
        some = PLAN.replace('ours fault 60 1\n', '')
        self.assertEqual(self.summary(some, {'amd': RESULT}), [])
        self.assertEqual(len(self.summary(some, {'amd-stress': RESULT})), 1, 'a run with a plan of its own')

    def test_summary_replaces_the_last_one(self):
        with tempfile.TemporaryDirectory() as tmp, unittest.mock.patch.object(report, 'RESULTS', Path(tmp)):
            row = [report.BASE, 'amd', 'stock+ours', '7.3.3', '0', '9', '0', '1', '2000-01-01']
            other = [report.BASE, 'amd', 'ours', *row[3:]]
            (Path(tmp) / 'runs.tsv').write_text('\t'.join(row) + '\n' + '\t'.join(other) + '\n')
            run = Path(tmp) / 'amd'
            run.mkdir()
            for name, text in (('plan', PLAN), ('result.ktap', RESULT), ('status', 'exit 0')):
                (run / name).write_text(text)
            with contextlib.redirect_stdout(io.StringIO()):
                report.judge_all([run], report.Known(KNOWN), TESTS)
            rows = [line.split('\t') for line in (Path(tmp) / 'runs.tsv').read_text().splitlines()]
        self.assertEqual([cells[2:5] for cells in rows], [['ours', '7.3.3', '0'], ['stock+ours', '7.3.4', str(GOOD[0])]])


class PlanTest(unittest.TestCase):
    def test_both(self):
        self.assertEqual('\n'.join(report.plan('amd', 'both', 'fast', [], TESTS)) + '\n', PLAN)

    def test_tier(self):
        self.assertEqual(report.plan('intel', 'both', 'slow', [], TESTS),
                         ['ours load 60 1', 'ours kunit 60 1', 'ours unload 60 1'])

    def test_one_test(self):
        self.assertEqual(report.plan('amd', 'ours', 'fast', ['fault'], TESTS),
                         ['ours load 60 1', 'ours fault 60 1', 'ours unload 60 1'])

    def test_rounds(self):
        rounds = [TESTS[0][:1], [report.Test('last', 'fast', '-', '60', '1', 'pass')]]
        self.assertEqual(report.plan('amd', 'both', 'fast', [], rounds),
                         [f'{k} {t} 60 1' for last in ('upstream', 'last') for k in ('stock', 'ours')
                          for t in ('load', last, 'unload')])

    def test_slower_kernel(self):
        with unittest.mock.patch.object(report, 'SLOWER', 3):
            self.assertEqual(report.plan('amd', 'ours', 'fast', ['fault'], TESTS),
                             ['ours load 180 1', 'ours fault 180 1', 'ours unload 180 1'])

    def test_left_out_under_a_sanitizer(self):
        rows = [['amd+rt', 'both', 'absent', 'fault', 'hangs']]
        for san, left in ('rt', ''), ('kcsan', 'fault'), ('', 'fault'):
            lines = report.plan('amd', 'ours', 'fast', [], TESTS, report.Known(rows, san))
            self.assertEqual('ours fault 60 1' in lines, bool(left), san)

    def test_unknown_test(self):
        with self.assertRaises(SystemExit):
            report.plan('amd', 'ours', 'fast', ['nonesuch'], TESTS)

    def test_the_lists_are_well_formed(self):
        tests = [t for tests in report.read_tests() for t in tests]
        known = report.read_known()
        self.assertEqual(len(tests), len({t.name for t in tests}))
        self.assertTrue(all(row[2] in ('skip', 'fail', 'absent', 'splat') for row in known.rows))
        for test in tests:
            self.assertIn(test.stock, ('pass', 'fail', '-'))
            for lab, tier in test.tier.items():
                self.assertIn(tier, ('fast', 'slow', 'both', '-'))
                if tier == '-':
                    self.assertTrue(known.reason(lab, 'ours', 'absent', test.name), f'{test.name}: why not on {lab}?')


if __name__ == '__main__':
    unittest.main()
