#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Say what the guest's clocks did over the hops: the demo's table, demo.tsv, and the curves for the picture.

    lab/demo/report.py DIRECTORY RUN...     DIRECTORY/RUN holds what lab/demo/migrate.py wrote; the runs are those of RUNS

The guest's clock is what its programs have, on the clocksource tsc. Its KVM clock is read beside it.

Method. Each sample bounds deviation = guest clock - true time from both sides: [guest - received, guest - sent]. During a stay
on a host the deviation is a line over true time, and the lines of all stays have one slope, because both hosts were told the
same TSC frequency. What the clock gained at a hop is by how much the next line lies higher. The least and the greatest gain
that any lines through all the intervals allow are the bounds; their middle is the value. No latency is assumed, only the
slope's being the same. By how much the KVM clock moved against the TSC is found in the same way: it was read between two readings
of the TSC.

Exits with 1 where ours let a vCPU see time go back, where the patched QEMU on it lost or gained time beyond what the hosts' wall
clocks disagree about, or parted the two clocks, where a run is incomplete, or where a kernel complained.
"""

import math
import os
import re
import statistics
import sys
from dataclasses import dataclass

MS = 1e6
RATE_STEP = 1e-6        # slopes tried against true time: 1 ppm apart, up to 500 ppm
APART_STEP = 5e-9       # and of one clock against the other, whose frequencies are the same but for rounding
RATE_STEPS = 500
BIN_NS = 0.25e9         # one point of the fit, and of the curve
WIDEST_NS = 1e9         # a request that waited longer, for a guest that was not there, bounds nothing
FEWEST = 16             # points that a stay must have
LONGEST_GAP_NS = 5e9    # without an answer, away from the hops
CLOCKS = ("raw", "mono", "page")
# The KVM's modules, and whether the VMM is Debian's QEMU or the one with our series.
RUNS = {"stock": ("stock", "Debian's"), "ours": ("ours", "Debian's"), "patched": ("ours", "patched")}
PVCLOCK_TSC_STABLE = 1
SPLAT = re.compile(r"WARNING:|BUG:|Oops|Call Trace:|\bRIP:|INFO: (possible|suspicious|task|rcu)|rcu: INFO|UBSAN|KASAN|"
                   r"Kernel panic|general protection|possible (circular|recursive|irq)|unchecked MSR|soft lockup")


class ReportError(Exception):
    """The run is not one that can be reported on."""


@dataclass
class Sample:
    host: str
    sent: int
    received: int
    number: int
    raw: int
    page: int
    raw2: int
    flags: int
    reads: int
    steps: dict         # clock: (count, largest)

    @property
    def time(self):
        """When the clock was read, give or take half of width."""
        return (self.sent + self.received) / 2

    @property
    def low(self):
        return self.raw - self.received

    @property
    def high(self):
        return self.raw - self.sent

    @property
    def middle(self):
        return self.raw - self.time

    @property
    def width(self):
        return self.received - self.sent


@dataclass
class Apart:
    """The KVM clock less the TSC, in a sample: bounds, and when."""
    low: int
    high: int
    time: float

    @property
    def width(self):
        return self.high - self.low


@dataclass
class Hop:
    number: int
    source: str
    target: str
    stopped_ms: float   # from QEMU's STOP on the source to its RESUME on the target, by the physical machine's clock
    downtime_ms: int    # what QEMU on the source calls its downtime: it ends before the target has loaded the guest
    uptimes: tuple
    before: Sample      # the last one from the source, the first one from the target
    after: Sample
    gain_ns: float = 0
    bound_ns: float = 0
    apart_ns: float = 0
    apart_bound_ns: float = 0
    wall_ns: tuple = (0, 0)     # the target's wall clock less the source's: bounds
    steps: dict = None
    reads: int = 0
    stable: bool = False


def parse_sample(line):
    host, sent, received, *rest = line.split("\t")
    _seq, number, raw, _mono, page, raw2, flags, *counts = map(int, rest)
    vcpus = len(counts) - 2 * len(CLOCKS)
    pairs = counts[vcpus:]
    steps = {clock: (pairs[2 * i], pairs[2 * i + 1]) for i, clock in enumerate(CLOCKS)}
    return Sample(host, int(sent), int(received), number, raw, page, raw2, flags, sum(counts[:vcpus]), steps)


def read_samples(path):
    with open(path, encoding="ascii") as lines:
        samples = sorted((parse_sample(line) for line in lines), key=lambda s: s.number)
    if [s.number for s in samples] != list(range(len(samples))):
        raise ReportError(f"{path}: answers of the guest are missing")
    return samples


def read_events(path):
    with open(path, encoding="ascii") as lines:
        events = [line.rstrip("\n").split("\t") for line in lines]
    names = [event[1] for event in events]
    if names != ["begin", "hop", "arrived", "hop", "arrived", "end", "off"]:
        raise ReportError(f"{path}: the run is not complete ({' '.join(names)})")
    return events


def read_walls(path):
    """{host: bounds of its wall clock's error, in ns}"""
    with open(path, encoding="ascii") as lines:
        rows = [line.split() for line in lines]
    walls = {host: (int(low), int(high)) for host, low, high in rows}
    if sorted(walls) != ["A", "B"]:
        raise ReportError(f"{path}: not what both hosts' wall clocks are")
    return walls


def check_gaps(samples, hops, path):
    for one, two in zip(samples, samples[1:]):
        at_hop = any(hop.before is one or hop.after is two for hop in hops)
        if not at_hop and two.received - one.received > LONGEST_GAP_NS:
            raise ReportError(f"{path}: no answer for {(two.received - one.received) / 1e9:.1f} s, away from a hop")


def find_hops(samples, events):
    hops = []
    for start, end in zip(events[1:5:2], events[2:5:2]):
        number, source, target, up_a, up_b = start[2:]
        since = int(start[0])
        first = next((i for i, s in enumerate(samples) if s.received > since and s.host == target), None)
        if not first or samples[first - 1].host != source:
            raise ReportError(f"hop {number} does not show in the samples")
        hops.append(Hop(int(number), source, target, float(end[5]), int(end[6]), (float(up_a), float(up_b)),
                        samples[first - 1], samples[first]))
    return hops


def narrowest(samples):
    """Of each quarter of a second the sample that bounds the clock best."""
    best = {}
    for sample in samples:
        key = int(sample.time // BIN_NS)
        if key not in best or sample.width < best[key].width:
            best[key] = sample
    return [best[key] for key in sorted(best)]


def offsets(slope, parts):
    """Of lines of this slope, one for each stay: how low and how high the intervals let each lie."""
    return [(max(s.low - slope * s.time for s in part), min(s.high - slope * s.time for s in part)) for part in parts]


def possible(parts, rate_step=RATE_STEP):
    """Slope and offsets for each slope that fits all stays; where none does, for the one that misses by least."""
    tries = [(step * rate_step, offsets(step * rate_step, parts)) for step in range(-RATE_STEPS, RATE_STEPS + 1)]
    fitting = [(slope, lines) for slope, lines in tries if all(low <= high for low, high in lines)]
    if fitting:
        return fitting
    slope, best = min(tries, key=lambda one: max(low - high for low, high in one[1]))
    return [(slope, [(min(pair), max(pair)) for pair in best])]


def stays(samples, hops):
    """The samples of each stay on a host: before, between and after the hops."""
    first, second = hops
    good = [s for s in samples if s.width < WIDEST_NS]
    parts = ([s for s in good if s.number <= first.before.number],
             [s for s in good if first.after.number <= s.number <= second.before.number],
             [s for s in good if second.after.number <= s.number])
    for name, part in zip(("before hop 1", "between the hops", "after hop 2"), parts):
        if len(narrowest(part)) < FEWEST:
            raise ReportError(f"too few samples {name}")
    return parts


def step_at(i, fitting):
    """By how much the line after hop i may lie above the one before it: the middle, and how far off it may be."""
    low = min(lines[i + 1][0] - lines[i][1] for _, lines in fitting)
    high = max(lines[i + 1][1] - lines[i][0] for _, lines in fitting)
    return (low + high) / 2, (high - low) / 2


def measure(hops, parts):
    """Fill in what the hops did; return the lines to draw, slope and offsets: the flattest that fit."""
    fitting = possible([narrowest(part) for part in parts])
    apart = possible([narrowest([Apart(s.page - s.raw2, s.page - s.raw, s.time) for s in part]) for part in parts], APART_STEP)
    for i, hop in enumerate(hops):
        hop.gain_ns, hop.bound_ns = step_at(i, fitting)
        hop.apart_ns, hop.apart_bound_ns = step_at(i, apart)
        hop.stable = all(s.flags & PVCLOCK_TSC_STABLE for s in parts[i + 1])
    slope, lines = min(fitting, key=lambda one: abs(one[0]))
    return slope, [(low + high) / 2 for low, high in lines]


def share_out(hops, samples):
    """What the vCPUs counted belongs to the nearer hop: the counts up to the middle between the two, and the rest."""
    middle = (hops[0].after.number + hops[1].before.number) // 2
    for hop, part in ((hops[0], samples[:middle]), (hops[1], samples[middle:])):
        hop.reads = sum(s.reads for s in part)
        hop.steps = {c: (sum(s.steps[c][0] for s in part), max(s.steps[c][1] for s in part)) for c in CLOCKS}


def splats(directory):
    found = []
    for name in sorted(os.listdir(directory)):
        if not name.startswith(("host-", "guest-on-")) or not name.endswith(".log"):
            continue
        with open(os.path.join(directory, name), errors="replace", encoding="utf-8") as lines:
            found += [f"{name}: {line.strip()}" for line in lines if SPLAT.search(line)]
    return found


def write_curve(path, hops, parts, fit):
    """True time since the first sample in s, the deviation that the lines say, and its bounds by the sample (none at the ends
    of a stay); all since the first one, in ms. An empty line at each hop."""
    slope, lines = fit
    start = parts[0][0].time
    base = lines[0] + slope * start
    usual = statistics.median(s.width for part in parts for s in narrowest(part))
    with open(path, "w", encoding="ascii") as out:
        edges = [(parts[0][0], hops[0].before), (hops[0].after, hops[1].before), (hops[1].after, parts[2][-1])]
        for part, line, (first, last) in zip(parts, lines, edges):
            shown = [s for s in narrowest(part) if s.width < 3 * usual]
            for time, low, high in ([(first.received, math.nan, math.nan)] + [(s.time, s.low, s.high) for s in shown]
                                    + [(last.received, math.nan, math.nan)]):
                print(f"{(time - start) / 1e9:.4f}\t{(line + slope * time - base) / MS:.4f}\t"
                      f"{(low - base) / MS:.4f}\t{(high - base) / MS:.4f}", file=out)
            print(file=out)
    return start


def largest(hop):
    return max(hop.steps[c][1] for c in CLOCKS)


def count(hop):
    return sum(hop.steps[c][0] for c in CLOCKS)


HEADER = ("kvm", "hop", "from", "to", "uptime_a_s", "uptime_b_s", "stopped_ms", "qemu_downtime_ms", "gain_ms", "bound_ms",
          "apart_ms", "apart_bound_ms", "wall_low_ms", "wall_high_ms", "back_largest_ns", "back_count", "raw_count", "mono_count", "page_count", "readings", "tsc_stable", "start_s", "end_s")


def row(kvm, hop, origin):
    return (kvm, hop.number, hop.source, hop.target, f"{hop.uptimes[0]:.2f}", f"{hop.uptimes[1]:.2f}", hop.stopped_ms,
            hop.downtime_ms, f"{hop.gain_ns / MS:.3f}", f"{hop.bound_ns / MS:.3f}",
            f"{hop.apart_ns / MS:.4f}", f"{hop.apart_bound_ns / MS:.4f}", *(f"{ns / MS:.4f}" for ns in hop.wall_ns), largest(hop), count(hop),
            *(hop.steps[c][0] for c in CLOCKS), hop.reads * len(CLOCKS), int(hop.stable),
            f"{(hop.before.received - origin) / 1e9:.3f}", f"{(hop.after.received - origin) / 1e9:.3f}")


def table(runs):
    lines = ["KVM    QEMU      hop      stopped   guest's clock      KVM clock against   largest step   steps   readings",
             "                          ms        gained, ms         the TSC, us         back, ns       back    of the clocks"]
    for name, hops in runs:
        kvm, qemu = RUNS[name]
        for hop in hops:
            gain = f"{hop.gain_ns / MS:+8.2f} +- {hop.bound_ns / MS:.2f}"
            apart = f"{hop.apart_ns / 1e3:+11.1f} +- {hop.apart_bound_ns / 1e3:.1f}"
            lines.append(f"{kvm:<6} {qemu:<9} {hop.number} {hop.source}->{hop.target}  {hop.stopped_ms:<8.0f}  {gain:<17}  "
                         f"{apart:<18}  {largest(hop):<13}  {count(hop):<6}  {hop.reads * len(CLOCKS)}")
    lines += ["stopped: from QEMU's STOP on the source to its RESUME on the target.",
              "gained: against the physical machine's clock; the clock is what programs have, on the clocksource tsc.",
              "KVM clock against the TSC: by how much the guest's two clocks have parted in the hop.",
              "steps back: seen by any vCPU, against all that any vCPU has read before."]
    return "\n".join(lines)


def report(directory, kvm):
    here = os.path.join(directory, kvm)
    samples = read_samples(os.path.join(here, "samples.tsv"))
    hops = find_hops(samples, read_events(os.path.join(here, "events.tsv")))
    check_gaps(samples, hops, here)
    parts = stays(samples, hops)
    fit = measure(hops, parts)
    walls = read_walls(os.path.join(here, "walls.tsv"))
    for hop in hops:
        hop.wall_ns = (walls[hop.target][0] - walls[hop.source][1], walls[hop.target][1] - walls[hop.source][0])
    share_out(hops, samples)
    origin = write_curve(os.path.join(here, "curve.tsv"), hops, parts, fit)
    return hops, [row(kvm, hop, origin) for hop in hops]


def verdict(directory, runs):
    """What makes the demo fail, in words."""
    faults = []
    for name, hops in runs:
        kvm, qemu = RUNS[name]
        faults += [f"{name}: {line}" for line in splats(os.path.join(directory, name))]
        for hop in hops:
            if kvm == "ours" and count(hop):
                faults.append(f"{name}, hop {hop.number}: time went back {count(hop)} times, by up to {largest(hop)} ns")
            if qemu == "patched":
                faults += [f"{name}, hop {hop.number}: {text}" for text in lost(hop)]
    return faults


def lost(hop):
    """What a hop may not do where clock and TSC are carried together: gain anything but what the wall clocks disagree about."""
    if not hop.wall_ns[0] - hop.bound_ns <= hop.gain_ns <= hop.wall_ns[1] + hop.bound_ns:
        yield (f"the guest's clock gained {hop.gain_ns / MS:+.3f} +- {hop.bound_ns / MS:.3f} ms, the wall clocks differ by "
               f"{hop.wall_ns[0] / MS:.3f} to {hop.wall_ns[1] / MS:.3f}")
    if abs(hop.apart_ns) > hop.apart_bound_ns:
        yield f"KVM clock and TSC parted by {hop.apart_ns:+.0f} +- {hop.apart_bound_ns:.0f} ns"


def conclude(path, lines, text, faults):
    """Write the lines to a file and the text beside it, print that and what makes the demo fail; returns the exit status."""
    with open(path, "w", encoding="ascii") as out:
        for line in lines:
            print(*line, sep="\t", file=out)
    with open(os.path.splitext(path)[0] + ".txt", "w", encoding="ascii") as out:
        print(text, file=out)
    print(text)
    for fault in faults:
        print(f"demo: FAILED: {fault}", file=sys.stderr)
    return 1 if faults else 0


def main():
    directory, kvms = sys.argv[1], sys.argv[2:]
    runs, rows = [], []
    try:
        for kvm in kvms:
            hops, its_rows = report(directory, kvm)
            runs.append((kvm, hops))
            rows += its_rows
    except (OSError, ValueError, ReportError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return conclude(os.path.join(directory, "demo.tsv"), [HEADER] + rows, table(runs), verdict(directory, runs))


if __name__ == "__main__":
    sys.exit(main())
