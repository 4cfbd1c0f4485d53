#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Canned steps for vmm/qemu/tests/report.py: each policy passes what keeps it, and fails what does not."""

import contextlib
import io
import json
import os
import random
import tempfile
import unittest

import cases
import report

MS = 10 ** 6
KHZ = 2_500_000
STOPPED = 300 * MS


class Guest:
    """A guest whose clock and TSC are known, asked through a slow and uneven port."""

    MUL, SHIFT = round(0.8 * 2 ** 32), -1      # of KHZ

    def __init__(self, vcpus=2):
        self.random = random.Random(1)
        self.now = 10 ** 12
        self.clock, self.tsc, self.mono = 5 * 10 ** 9, 7 * 10 ** 9, 3 * 10 ** 9    # in ns, less true time
        self.vcpus, self.lag = vcpus, {}
        self.offsets = [-10 ** 12] * vcpus
        self.stamp, self.hyperv = MS, None      # how old the line is, and what Hyper-V's page says
        self.restored = None

    def vcpu(self, number, at):
        tsc = (at + self.tsc - self.lag.get(number, 0)) * KHZ // MS
        age = self.stamp * KHZ // MS
        page = [(tsc - age) % 2 ** 64, at + 50 + self.clock - ((age >> 1) * self.MUL >> 32), self.MUL, self.SHIFT, 0]
        return [number, tsc, at + 100 + self.clock, tsc + 200 * KHZ // MS, *page]

    def reading(self):
        self.now += 5 * MS
        sent = self.now
        at = sent + int(self.random.expovariate(1 / 1e6)) + 100_000
        order = [*range(self.vcpus), 0]
        vcpus = [self.vcpu(number, at + 50_000 * i) for i, number in enumerate(order)]
        self.now = at + 400_000 + int(self.random.expovariate(1 / 1e6))
        tsc = vcpus[0][1]
        return {"sent": sent, "received": self.now, "mono": at + self.mono,
                "mono_tscs": [tsc - 200 * KHZ // MS, tsc + 300 * KHZ // MS], "vcpus": vcpus}

    def readings(self):
        return [self.reading() for _ in range(12)]


def note(guest, before, offsets, stopped=STOPPED):
    return {"before": before, "after": guest.readings(), "khz": KHZ, "stopped": stopped,
            "offsets": [offsets, guest.offsets], "hyperv": guest.hyperv, "restored": guest.restored}


def judge(policy, clock, tsc, mono=None, clocksource="tsc", what="precopy", change=None, stopped=STOPPED, own=False):
    """What is wrong with a step in which these are gained."""
    guest = Guest()
    before, offsets = guest.readings(), list(guest.offsets)
    guest.now += 10 ** 9
    guest.clock += clock
    guest.tsc += tsc
    guest.mono += (tsc if clocksource == "tsc" else clock) if mono is None else mono
    if change:
        change(guest)
    case = cases.Case("canned", "ours", clocksource, 2, "patched", ())
    found = note(guest, before, offsets, stopped)
    return list(report.missed(report.row(case, cases.Step(what, policy), "patched", found, 20_000, (False, own))))


class Policies(unittest.TestCase):
    def test_restored(self):
        for policy, clock, tsc in (cases.COUNTED, 0, 0), (cases.LOST, -5 * MS, -9 * MS):
            for restored in "with-tsc", "without-tsc":
                faults = judge(policy, clock, tsc, change=lambda guest, restored=restored: setattr(guest, "restored", restored))
                self.assertEqual(bool(faults), (policy == cases.COUNTED) != (restored == "with-tsc"))

    def test_counted(self):
        self.assertEqual(judge(cases.COUNTED, 0, 0), [])
        self.assertTrue(judge(cases.COUNTED, -5 * MS, -5 * MS))
        self.assertTrue(judge(cases.COUNTED, 5 * MS, 5 * MS))
        self.assertIn("parted", judge(cases.COUNTED, 0, 60_000)[0])
        self.assertIn("CLOCK_MONOTONIC", judge(cases.COUNTED, 0, 0, mono=-9 * MS)[0])
        self.assertIn("CLOCK_MONOTONIC and the TSC parted by -60.0 us", judge(cases.COUNTED, 0, 0, mono=-60_000)[0])

    def test_frozen(self):
        self.assertEqual(judge(cases.FROZEN, -STOPPED, -STOPPED), [])
        self.assertTrue(judge(cases.FROZEN, 0, 0))
        self.assertTrue(judge(cases.FROZEN, -STOPPED, 0))
        self.assertTrue(judge(cases.FROZEN, -2 * STOPPED, -2 * STOPPED))
        self.assertTrue(judge(cases.FROZEN, 0, 0, stopped=10 * MS))
        self.assertIn("parted", judge(cases.FROZEN, -STOPPED, -STOPPED + 60_000)[0])

    def test_frozen_later(self):
        self.assertEqual(judge(cases.SAVED, -100 * MS, -100 * MS), [])
        self.assertTrue(judge(cases.SAVED, 0, 0))
        self.assertTrue(judge(cases.SAVED, -400 * MS, -400 * MS))
        self.assertIn("parted", judge(cases.SAVED, -100 * MS, -100 * MS + 60_000)[0])

    def test_pause(self):
        self.assertEqual(judge(cases.PAUSE, -STOPPED, 0, what="pause"), [])
        self.assertTrue(judge(cases.PAUSE, 0, 0))
        self.assertTrue(judge(cases.PAUSE, -STOPPED, -STOPPED))

    def test_lost(self):
        self.assertEqual(judge(cases.LOST, -200 * MS, -150 * MS), [])
        self.assertTrue(judge(cases.LOST, 0, 0))
        self.assertIn("moved them together", judge(cases.LOST, -200 * MS, -200 * MS)[0])
        self.assertTrue(judge(cases.LOST, -500 * MS, -150 * MS))
        self.assertTrue(judge(cases.LOST, -200 * MS, -500 * MS))

    def test_running(self):
        def plug(guest):
            guest.vcpus += 1
        self.assertEqual(judge(cases.RUNNING, 0, 0, what="plug", change=plug), [])
        self.assertIn("0 vCPUs more", judge(cases.RUNNING, 0, 0, what="plug")[0])
        self.assertIn("1 vCPUs more", judge(cases.RUNNING, 0, 0, change=plug)[0])

    def test_vcpu_that_lags(self):
        def lag(guest):
            guest.lag = {1: MS}
        self.assertIn("vCPU 1 parted", judge(cases.COUNTED, 0, 0, change=lag)[0])
        self.assertIn("behind another", judge(cases.COUNTED, 0, 0, change=lag)[1])
        self.assertNotIn("behind another", "".join(judge(cases.COUNTED, 0, 0, change=lag, own=True)))

    def test_tscs_that_differ_by_another_number(self):
        def move(guest):
            guest.offsets[1] += 1
        self.assertIn("differ", judge(cases.COUNTED, 0, 0, change=move)[0])

    def test_wrote(self):
        def write_one(guest):
            guest.lag = {1: -9000 * MS}
        for clock, change, what, fault in ((0, write_one, "write", None),
                                           (-9000 * MS, write_one, "write", "the KVM clock gained"),
                                           (0, None, "write", "vCPU 1 was not written"),
                                           (0, write_one, "adjust", "vCPU 0 was not written")):
            found = judge(cases.WROTE, clock, 0, mono=clock, what=what, change=change, own=True)
            self.assertEqual(found[:1], [f for f in found if fault and fault in f][:1], found)
            self.assertEqual(bool(found), bool(fault), found)

    def test_page_that_is_ahead_of_the_tsc(self):
        def set_back(guest):
            guest.stamp, guest.tsc = 2 * 10 ** 12, -10 ** 12
        found = judge(cases.REBOOT, 0, 0, change=set_back, what="reset")
        self.assertEqual(len(found), 1)
        self.assertRegex(found[0], "(old_qemu|openbsd) on vCPU")

    def test_hyperv(self):
        def page(sequence, ahead):
            def change(guest):
                guest.hyperv = [sequence, round(2 ** 64 * MS / KHZ / 100), (guest.clock - guest.tsc + ahead) // 100]
            return change
        self.assertEqual(judge(cases.RUNNING, 0, 0, change=page(1, 0)), [])
        self.assertIn("not valid", judge(cases.RUNNING, 0, 0, change=page(0, 0))[0])
        self.assertIn("from the KVM clock", judge(cases.RUNNING, 0, 0, change=page(1, -8800 * 10 ** 9))[0])

    def test_reboot(self):
        self.assertEqual(judge(cases.REBOOT, 0, -9 * MS, mono=-1000 * MS, what="reset"), [])
        self.assertTrue(judge(cases.REBOOT, -50 * MS, 0, what="reset"))


class Directories(unittest.TestCase):
    NAME = "stock-debian"

    def run_report(self, change=lambda notes: None, walls=2, console=""):
        case = cases.chosen([self.NAME])[0]
        notes = []
        for number, step in enumerate(case.steps):
            guest = Guest(case.vcpus)
            before, offsets = guest.readings(), list(guest.offsets)
            clock, tsc = {cases.RUNNING: (0, 0), cases.PAUSE: (-STOPPED, 0),
                          cases.LOST: (-STOPPED, -STOPPED + 50 * MS)}[step.policy]
            guest.clock, guest.tsc, guest.mono = guest.clock + clock, guest.tsc + tsc, guest.mono + tsc
            guest.vcpus += step.what == "plug"
            notes.append({"case": case.name, "step": number, **note(guest, before, offsets)})
        change(notes)
        with tempfile.TemporaryDirectory() as directory:
            for name, lines in (("steps.jsonl", notes), ("walls.jsonl", [{"A": [-9, 9], "B": [-5, 20]}] * walls)):
                with open(os.path.join(directory, name), "w", encoding="ascii") as out:
                    out.writelines(json.dumps(line) + "\n" for line in lines)
            with open(os.path.join(directory, "host-A.log"), "w", encoding="ascii") as out:
                out.write(console)
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                try:
                    status = report.report(directory, [self.NAME])
                except report.ReportError as error:
                    status = str(error)
        return status, text.getvalue()

    def test_passes(self):
        status, text = self.run_report()
        self.assertEqual(status, 0, text)
        self.assertIn(f"{len(cases.chosen([self.NAME])[0].steps)} passed, 0 failed, 0 skipped", text)

    def test_missing_step(self):
        self.assertIn("is missing", self.run_report(lambda notes: notes.pop())[0])

    def test_incomplete_run(self):
        self.assertIn("not complete", self.run_report(walls=1)[0])

    def test_splat(self):
        self.assertEqual(self.run_report(console="WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1\n")[0], 1)

    def test_unknown_case(self):
        with self.assertRaises(ValueError):
            cases.chosen(["nobody"])


if __name__ == "__main__":
    unittest.main()
