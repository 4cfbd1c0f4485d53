#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Canned runs for lab/demo/ways_report.py: it must measure what was put in, and fail what must fail."""

import copy
import json
import os
import tempfile
import unittest

import ways
import ways_report
from test_report import outcome
from ways_report import line_ns, planned

S = 10 ** 9
WALL_NS = 700               # by which B's wall clock is ahead of A's
PAUSE_NS = 3 * S // 2
LINES = {43000: (3121342512, 5), 100000: (2684354560, 4), 150000: (3579139413, 3), 2000000: (1 << 31, 0)}
CONSTANT = {"A": 10 ** 15, "B": 10 ** 15 + 10 ** 10}
SCALED_AWRY_NS = 99_000_000  # what the documented formula does to a scaled TSC


def record(khz, host_khz, time_ns, clock_ns, guest_tsc, host):
    """What the tool says of an instant, on a host whose TSC and wall clock are known."""
    mul, shift = LINES[khz]
    host_tsc = 5 * 10 ** 15 + time_ns * host_khz // 10 ** 6 - CONSTANT[host]
    return {"saved_by": "exact", "flags": ["TSC_STABLE", "REALTIME", "HOST_TSC"], "tsc_khz": khz, "host_khz": host_khz,
            "clock_ns": clock_ns, "realtime_ns": 1800 * 10 ** 15 + time_ns + (WALL_NS if host == "B" else 0),
            "host_tsc": host_tsc, "guest_tsc": guest_tsc, "mul": mul, "shift": shift, "sample_ns": 0}


def page(of):
    return {"tsc_timestamp": of["guest_tsc"], "system_time": of["clock_ns"], "mul": of["mul"], "shift": of["shift"], "flags": 1}


def move(hop, clock_ns=0, cycles=0):
    """Let the clock or the TSC be restored to something else."""
    new, line = hop["restored"]["restored"], hop["restored"]["guest"]["line_after"]
    new["clock_ns"] += clock_ns
    new["guest_tsc"] += cycles
    line["system_time"] += clock_ns
    line["tsc_timestamp"] += cycles


def guest(readings):
    return {"vcpus": 2, "readings": readings, "clock_back": 0, "clock_back_max_ns": 0, "tsc_back": 0, "tsc_back_max_cycles": 0}


class Run:
    """A run in which everything goes as it should. Tests spoil it."""

    def __init__(self):
        self.hops = {key: self.hop(*key) for key in planned()}
        self.logs = {"host-A.log": "Linux version 7.3\nkvm: Nested Paging enabled\n", "host-B.log": "",
                     "intel-A/console.log": "", "intel-A/result.ktap": "# k WARNING: arch/x86/x.c\n# begin 1 stock/load\nok 1 stock/load\n",
                     "live-update/console.log": "",
                     "intel-B/console.log": "", "intel-B/result.ktap": "# begin 1 stock/load\nok 1 stock/load\n"}

    @staticmethod
    def hop(lab, kvm, khz, way, _number, source, target):
        khz = khz or 2000000
        host_khz = {"AMD": 2000000, "Intel": 100000}[lab]
        old = record(khz, host_khz, 20 * S, 4 * S, 123456789, source)
        new = record(khz, host_khz, 20 * S + PAUSE_NS, 0, 0, target)
        passed = new["realtime_ns"] - old["realtime_ns"]
        cycles = passed * khz // 10 ** 6
        if way == "live-update":
            new["host_khz"] += 200
        if way in ("same-host", "live-update"):
            new["guest_tsc"] = old["guest_tsc"]
            cycles = ways_report.offset(old) - ways_report.offset(new)
        if way == "plain":
            cycles = 1000
        new["guest_tsc"] = old["guest_tsc"] + cycles
        new["clock_ns"] = old["clock_ns"] + line_ns(old, cycles)
        if way == "documented" and khz not in (100000, 2000000):
            new["clock_ns"] += SCALED_AWRY_NS
        return {"saved": {"guest": guest(1000)}, "restored": {
            "way": "same-host" if way == "live-update" else way, "source": old, "restored": new,
            "guest": dict(guest(5000), line_before=page(old), line_after=page(new))}}

    def write(self, directory):
        for name, text in self.logs.items():
            path = os.path.join(directory, "ways", name)
            os.makedirs(os.path.join(os.path.dirname(path), "out"), exist_ok=True)
            with open(path, "w", encoding="ascii") as out:
                out.write(text)
        with open(os.path.join(directory, "ways", "hops.jsonl"), "w", encoding="ascii") as out:
            for key, hop in self.hops.items():
                if key[3] == "live-update":
                    self.write_live_update(directory, hop)
                elif key[0] == "AMD":
                    print(json.dumps(self.note(key, hop)), file=out)
                else:
                    self.write_intel(directory, key, hop)

    @staticmethod
    def note(key, hop):
        _, kvm, _, way, number, source, target = key
        bounds = {f"{end}_tsc": (CONSTANT[host] - 200, CONSTANT[host] + 200)
                  for end, host in (("source", source), ("target", target))}
        return dict(hop, kvm=kvm, way=way, hop=number, source=source, target=target, khz=2000000, **bounds)

    @staticmethod
    def write_live_update(directory, hop):
        """What the tool said, among what else a host reports."""
        path = os.path.join(directory, "ways", "live-update")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "result.ktap"), "w", encoding="ascii") as out:
            for what in (hop["saved"], hop["restored"]):
                print("# begin 1 ours/live-update\n# > " + json.dumps(what), file=out)

    @staticmethod
    def write_intel(directory, key, hop):
        _, kvm, khz, way, _, _, target = key
        for host, name, what in (("A", "save", hop["saved"]), (target, way, hop["restored"])):
            path = os.path.join(directory, "ways", f"intel-{host}", "out", f"{kvm}-{khz}-{name}.json")
            with open(path, "w", encoding="ascii") as out:
                json.dump(what, out)

    def find(self, way, kvm="ours", lab="AMD", target=None, khz=None):
        """What was said of the first restore of that kind."""
        return next(hop for key, hop in self.hops.items()
                    if (key[0], key[1], key[3]) == (lab, kvm, way) and target in (None, key[6]) and khz in (None, key[2]))


class WaysTest(unittest.TestCase):
    def report(self, run):
        """Exit status, what was printed, and the rows of ways.tsv (none if it was not written)."""
        with tempfile.TemporaryDirectory() as directory:
            run.write(directory)
            return outcome(ways_report, directory, "ways.tsv")

    def assert_fails(self, run, words):
        status, text, _ = self.report(run)
        self.assertEqual(status, 1, text)
        self.assertIn(words, text)

    def assert_passes(self, run):
        status, text, rows = self.report(run)
        self.assertEqual(status, 0, text)
        return rows

    def test_measures_what_was_put_in(self):
        rows = self.assert_passes(Run())
        self.assertEqual(len(rows), len(planned()))
        for row in rows:
            same, across = row["from"] == row["to"], row["lab"] == "AMD" and row["from"] != row["to"]
            wall = {"A": -WALL_NS, "B": WALL_NS}[row["to"]] if across else 0
            passed = PAUSE_NS + (WALL_NS if row["to"] == "B" and not across else 0)
            clock = -passed if row["way"] == "plain" else wall
            awry = row["way"] == "documented" and row["guest_khz"] in ("43000", "150000")
            with self.subTest(row=row):
                self.assertEqual(int(row["wall_error_ns"]), wall)
                self.assertEqual(int(row["bound_ns"]), 200 if across else 0)
                # The plain way's TSC has gone on by 1000 cycles; a scaled cycle is up to 24 ns.
                slack = 24_000 if row["way"] == "plain" else 24
                self.assertAlmostEqual(int(row["clock_error_ns"]), clock + awry * SCALED_AWRY_NS, delta=slack)
                self.assertAlmostEqual(int(row["tsc_error_ns"]), clock, delta=slack)
                self.assertEqual(int(row["relation_ns"]), awry * SCALED_AWRY_NS)
                self.assertEqual(int(row["readings"]), 6000 if row["hop"] == "1" else 5000)
                if row["way"] == "same-host":
                    self.assertTrue(same)
                    self.assertEqual((row["clock_error_ns"], row["tsc_error_cycles"]), ("0", "0"))

    def test_relation_beyond_one_ns_fails_ours_only(self):
        for lab, khz in (("AMD", 0), ("Intel", 43000), ("Intel", 100000)):
            for change, status in ((1, 0), (-1, 0), (2, 1), (-2, 1)):
                run = Run()
                move(run.find("exact", lab=lab, target="B", khz=khz), change)
                self.assertEqual(self.report(run)[0], status, (lab, khz, change))
        run = Run()
        move(run.find("documented", "stock"), 2)
        move(run.find("documented", "ours"), 2)
        self.assert_passes(run)

    def test_same_host_has_to_be_exact(self):
        for lab, khz in (("AMD", 0), ("Intel", 43000), ("Intel", 150000)):
            for change in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                run = Run()
                move(run.find("same-host", lab=lab, khz=khz), *change)
                self.assert_fails(run, "same-host: off by")

    def test_live_update_has_to_be_exact(self):
        for change in ((1, 0), (0, -1)):
            run = Run()
            move(run.find("live-update"), *change)
            self.assert_fails(run, "live-update: off by")

    def test_live_update_needs_another_calibration(self):
        run = Run()
        run.find("live-update")["restored"]["restored"]["host_khz"] = 2000000
        self.assert_fails(run, "the other kernel has found the same frequency")

    def test_live_update_keeps_the_rate(self):
        run = Run()
        run.find("live-update")["restored"]["restored"]["mul"] -= 1
        self.assert_fails(run, "live-update: the line's rate was")

    def test_same_host_moved_together_fails(self):
        run = Run()
        move(run.find("same-host"), 1000, 2000)
        self.assert_fails(run, "off by 1000 ns and 2000 cycles, 0 ns against each other")

    def test_guest_line_fails(self):
        for way in ("exact", "same-host"):
            run = Run()
            run.find(way)["restored"]["guest"]["line_before"]["system_time"] += 3
            self.assert_fails(run, "the guest's line moved by -3 ns")
            run = Run()
            for name in ("line_before", "line_after"):
                del run.find(way)["restored"]["guest"][name]
            self.assert_fails(run, "the guest's lines are not known")

    def test_get_clock_and_guest_differ_fails(self):
        for change in (2, -2):
            run = Run()
            run.find("exact")["restored"]["restored"]["clock_ns"] += change
            self.assert_fails(run, f"KVM_GET_CLOCK says {change} ns more")

    def test_frequency_of_the_target_is_no_step(self):
        """KVM is asked a millisecond after the restore, and the TSC has run 100 ppm fast since."""
        run = Run()
        hop = run.find("exact", lab="Intel", target="B", khz=100000)["restored"]
        hop["guest"]["line_after"]["mul"] = 2684085952      # of 100010 kHz
        hop["restored"]["guest_tsc"] += 10 ** 5
        hop["restored"]["clock_ns"] += line_ns(hop["guest"]["line_after"], 10 ** 5)
        hop["restored"]["realtime_ns"] += 10 ** 6
        rows = self.assert_passes(run)
        row = [row for row in rows if (row["lab"], row["kvm"], row["way"], row["guest_khz"])
               == ("Intel", "ours", "exact", "100000")][0]
        self.assertEqual(row["relation_ns"], "0")

    def test_step_back_fails_new_ways_only(self):
        for end, name, words in (("restored", "clock_back", "the clock went back 3 times"),
                                 ("restored", "tsc_back", "a TSC went back 3 times"),
                                 ("saved", "clock_back", "the clock went back 3 times")):
            for lab, way in (("AMD", "exact"), ("AMD", "same-host"), ("Intel", "exact")):
                if (lab, end) == ("Intel", "saved"):
                    continue    # one for all ways
                run = Run()
                run.find(way, lab=lab)[end]["guest"][name] = 3
                self.assert_fails(run, words)
            for kvm, way in (("stock", "plain"), ("stock", "documented"), ("ours", "plain")):
                run = Run()
                run.find(way, kvm)[end]["guest"][name] = 3
                self.assert_passes(run)

    def shown(self, run):
        """The rows of the table that is printed: hosts, kHz, way, steps back."""
        _, text, _ = self.report(run)
        rows = [line.split() for line in text.splitlines() if line.startswith(("stock ", "ours "))]
        return {(r[0], " ".join(r[1:3]), r[3], r[4]): int(r[-2]) for r in rows}, len(rows)

    def test_a_tsc_that_wraps_is_no_step_back(self):
        key = ("stock", "Intel A->B", "43000", "documented")
        run = Run()
        run.find("documented", "stock", "Intel", "B", 43000)["restored"]["guest"].update(
            tsc_back=2, tsc_back_max_cycles=(1 << 64) - 32)
        self.assertEqual(self.shown(run)[0][key], 0)
        run.find("documented", "stock", "Intel", "B", 43000)["restored"]["guest"]["tsc_back"] = 3
        self.assertEqual(self.shown(run)[0][key], 1)
        run.find("documented", "stock", "Intel", "B", 43000)["restored"]["guest"]["tsc_back_max_cycles"] = 32
        self.assertEqual(self.shown(run)[0][key], 3)

    def test_a_row_for_each_pair_of_hosts_of_its_own_name(self):
        rows, lines = self.shown(Run())
        self.assertEqual(len(rows), lines)
        self.assertEqual(lines, sum(key[4] == 1 for key in planned()))
        self.assertIn(("ours", "AMD A<->B", "2000000", "exact"), rows)

    def test_the_worse_of_two_hops_is_shown(self):
        run = Run()
        run.hops["AMD", "stock", 0, "documented", 2, "B", "A"]["restored"]["guest"]["clock_back"] = 7
        move(run.hops["AMD", "stock", 0, "documented", 2, "B", "A"], 5000)
        self.assertEqual(self.shown(run)[0]["stock", "AMD A<->B", "2000000", "documented"], 7)

    def test_other_way_than_asked_for_fails(self):
        run = Run()
        run.find("exact")["restored"]["way"] = "offset"
        self.assert_fails(run, "went the way 'offset'")
        for end in ("source", "restored"):
            run = Run()
            run.find("exact")["restored"][end]["saved_by"] = "offset"
            self.assert_fails(run, "has no line")

    def test_missed_wall_clock_fails(self):
        run = Run()
        move(run.find("exact"), 1500, 3000)
        self.assert_fails(run, "missed the wall clock by 1500 ns")

    def test_missing_row_fails(self):
        for key in planned()[::4]:
            run = Run()
            del run.hops[key]
            self.assert_fails(run, "not the rows that were planned")

    def test_row_that_nobody_planned_fails(self):
        run = Run()
        run.hops["Intel", "ours", 43000, "offset", 1, "A", "A"] = copy.deepcopy(run.find("exact", lab="Intel"))
        self.assert_fails(run, "not the rows that were planned")

    def test_no_reading_fails(self):
        for kvm, way in (("stock", "plain"), ("ours", "exact")):
            run = Run()
            run.find(way, kvm)["restored"]["guest"]["readings"] = 0
            self.assert_fails(run, "the guest read nothing")

    def test_inexact_record_fails(self):
        for end in ("source", "restored"):
            run = Run()
            run.find("plain", "stock")["restored"][end]["flags"].remove("HOST_TSC")
            self.assert_fails(run, "KVM_GET_CLOCK says only")
            run = Run()
            run.find("documented", "stock", "Intel")["restored"][end]["sample_ns"] = 1
            self.assert_fails(run, "sample")

    def test_lacking_field_fails(self):
        run = Run()
        del run.find("plain", "stock")["restored"]["source"]["clock_ns"]
        self.assert_fails(run, "KeyError")

    def test_splat_fails(self):
        for name in Run().logs:
            run = Run()
            run.logs[name] += "# k [    3.141592] WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1\n"
            self.assert_fails(run, f"FAILED: {name}")

    def test_constants(self):
        self.assertEqual(ways.both((0, 10), (5, 20)), (5, 10))
        self.assertEqual(ways.both((5, 6), (0, 20)), (5, 6))
        self.assertEqual(ways.both((0, 10), (11, 20)), (0, 20))

    def test_lines(self):
        line = {"mul": 1 << 31, "shift": -1}
        self.assertEqual([line_ns(line, cycles) for cycles in (0, 3, 4, 8, -4)], [0, 0, 1, 2, -1])
        self.assertEqual(ways_report.signed((1 << 64) - 5), -5)


if __name__ == "__main__":
    unittest.main()
