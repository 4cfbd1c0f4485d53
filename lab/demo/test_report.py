#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Canned runs for lab/demo/report.py: it must measure what was put in, and fail what must fail."""

import contextlib
import io
import os
import random
import sys
import tempfile
import unittest
from unittest import mock

import report

S = 10 ** 9
MS = 10 ** 6
LOST = (90 * MS, 130 * MS)          # what the canned guest's clock loses at the two hops
APART = (70 * MS, -20 * MS)         # by how much its KVM clock moves against the TSC there
WALLS = {"A": (-100, 100), "B": (400, 700)}     # bounds of the errors of the hosts' wall clocks, in ns
RATE = 1 + 40e-6
HOPS = ((8 * S, "A", "B"), (16 * S, "B", "A"))
END = 24 * S


class Run:
    """A guest whose clock is known, seen through a slow and uneven port."""

    def __init__(self, seed=1, lost=LOST, apart=APART):
        self.random = random.Random(seed)
        self.apart, parts = 0, list(apart)
        self.samples, self.clock, self.host = [], 5 * S, "A"
        last = now = 100 * S
        lost = list(lost)
        hops = [at for at, _, _ in HOPS]
        while now < 100 * S + END:
            if hops and now >= 100 * S + hops[0]:
                hops.pop(0)
                now += 150 * MS
                self.clock += 150 * MS - lost.pop(0)
                self.apart += parts.pop(0)
                last += 150 * MS
                self.host = "B" if self.host == "A" else "A"
            self.clock += int((now - last) * RATE)
            last = now
            down, up = (int(self.random.expovariate(1 / 3e6)) + 200_000 for _ in range(2))
            # The KVM clock is read between two readings of the TSC, which the hops take away from it.
            kvm_clock = self.clock + 3 * S + self.apart + self.random.randrange(1000)
            self.samples.append([self.host, now - down, now + up, len(self.samples), len(self.samples), self.clock,
                                 self.clock, kvm_clock, self.clock + 2000, 1, 1000, 1000, 0, 0, 0, 0, 0, 0])
            now += 25 * MS
        self.events = [[100 * S, "begin"]]
        for i, (at, source, target) in enumerate(HOPS, 1):
            self.events += [[100 * S + at - 500 * MS, "hop", i, source, target, 30.0 + at / S, 10.0 + at / S],
                            [100 * S + at + 800 * MS, "arrived", i, source, target, 131.5, 110, 1500]]
        self.events += [[100 * S + END, "end", len(self.samples)], [101 * S + END, "off"]]
        self.walls = dict(WALLS)
        self.console = "Linux version 7.3\nkvm: Nested Paging enabled\n"

    def write(self, directory):
        os.makedirs(directory)
        for name, rows in (("samples.tsv", self.samples), ("events.tsv", self.events)):
            with open(os.path.join(directory, name), "w", encoding="ascii") as out:
                for row in rows:
                    print(*row, sep="\t", file=out)
        with open(os.path.join(directory, "walls.tsv"), "w", encoding="ascii") as out:
            for host, bounds in self.walls.items():
                print(host, *bounds, sep="\t", file=out)
        with open(os.path.join(directory, "host-A.log"), "w", encoding="ascii") as out:
            out.write(self.console)


def outcome(module, directory, table, *args):
    """What the module's main() makes of a directory: exit status, what it printed, the table's rows (none if there is
    no such file)."""
    text = io.StringIO()
    with mock.patch.object(sys, "argv", ["report", directory, *args]), \
         contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        status = module.main()
    try:
        with open(os.path.join(directory, table), encoding="ascii") as lines:
            rows = [dict(zip(module.HEADER, line.rstrip("\n").split("\t"))) for line in lines][1:]
    except OSError:
        rows = []
    return status, text.getvalue(), rows


class ReportTest(unittest.TestCase):
    def report(self, run, kvm="ours"):
        """Exit status, what was printed, and the rows of demo.tsv (none if it was not written)."""
        with tempfile.TemporaryDirectory() as directory:
            run.write(os.path.join(directory, kvm))
            return outcome(report, directory, "demo.tsv", kvm)

    def test_measures_what_was_lost(self):
        for seed in range(5):
            status, text, rows = self.report(Run(seed))
            self.assertEqual(status, 0, text)
            for row, lost in zip(rows, LOST):
                error = abs(float(row["gain_ms"]) + lost / MS)
                self.assertLess(error, float(row["bound_ms"]) + 0.02)
                self.assertLess(float(row["bound_ms"]), 1.5)
            for row, apart in zip(rows, APART):
                error = abs(float(row["apart_ms"]) - apart / MS)
                self.assertLess(error, float(row["apart_bound_ms"]) + 0.0001)
                self.assertLess(float(row["apart_bound_ms"]), 0.003)

    def test_patched_must_lose_nothing(self):
        self.assertEqual(self.report(Run(lost=(0, 0), apart=(0, 0)), "patched")[0], 0)
        status, text, _ = self.report(Run(lost=(0, 5 * MS), apart=(0, 0)), "patched")
        self.assertEqual(status, 1)
        self.assertIn("hop 2: the guest's clock gained -", text)
        status, text, _ = self.report(Run(lost=(0, 0), apart=(5000, 0)), "patched")
        self.assertEqual(status, 1)
        self.assertIn("hop 1: KVM clock and TSC parted by", text)

    def test_patched_may_follow_the_wall_clocks(self):
        run = Run(lost=(-40 * MS, 40 * MS), apart=(0, 0))
        self.assertEqual(self.report(run, "patched")[0], 1)
        run.walls["B"] = (39 * MS, 41 * MS)
        self.assertEqual(self.report(run, "patched")[0], 0)
        del run.walls["B"]
        self.assertEqual(self.report(run, "patched")[0], 1)

    def test_step_back_fails_ours_only(self):
        run = Run()
        run.samples[500][14:16] = [3, 777]
        status, text, rows = self.report(run)
        self.assertEqual(status, 1)
        self.assertIn("hop 2: time went back 3 times, by up to 777 ns", text)
        self.assertEqual(rows[1]["mono_count"], "3")
        self.assertEqual(self.report(run, "stock")[0], 0)

    def test_lost_answer_fails(self):
        run = Run()
        del run.samples[300]
        status, text, rows = self.report(run)
        self.assertEqual((status, rows), (1, []))
        self.assertIn("missing", text)

    def test_silence_fails(self):
        run = Run()
        for sample in run.samples[400:]:
            sample[1] += 6 * S
            sample[2] += 6 * S
        self.assertEqual(self.report(run)[0], 1)

    def test_incomplete_run_fails(self):
        run = Run()
        run.events.pop()
        self.assertIn("not complete", self.report(run)[1])

    def test_no_arrival_fails(self):
        run = Run()
        for sample in run.samples:
            sample[0] = "A"
        self.assertEqual(self.report(run)[0], 1)

    def test_splat_fails(self):
        for line in ("WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1", "BUG: unable to handle page fault",
                     "[   12.3] INFO: possible circular locking dependency", "UBSAN: shift-out-of-bounds in x"):
            run = Run()
            run.console += f"[    3.141592] {line}\n"
            status, text, _ = self.report(run, "stock")
            self.assertEqual(status, 1, line)
            self.assertIn("FAILED", text)


if __name__ == "__main__":
    unittest.main()
