#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Say what each way of carrying a guest did to its time: a table, and ways.tsv.

    lab/demo/ways_report.py DIRECTORY

DIRECTORY/ways holds hops.jsonl (lab/demo/ways.py), intel-A and intel-B (lab/demo/ways-intel.sh).

Method. At the save, and after the restore before any vCPU ran, KVM was asked for the clock, and for the wall time and the
host's TSC of the same instant; the guest's TSC of that instant follows from its offset. What the clock gained in between, less
the time that has truly passed, is the clock's error, and likewise for the TSC. Truth is, between two AMD hosts, the physical
machine's TSC; on one and the same host, that host's TSC, so that there the errors are exact; between the two Intel hosts, of
which the second boots when the first is off, what their wall clocks show. By how much clock and TSC moved against each other
needs no truth: it is the clock, less what the line that the guest had before makes of its TSC. It is taken at the instant of
the restore, where the guest's new line begins: from there on, a TSC that is not scaled runs as fast as this host's.

Exits with 1 where ours misses what the new flags promise, where a row is missing, or where a kernel complained.
"""

import glob
import json
import os
import sys
from dataclasses import dataclass, field

from report import SPLAT, conclude

OLD, NEW = ("plain", "documented"), ("exact", "same-host")
LIVE_UPDATE = "live-update"     # same-host, in another kernel
STAYED = {"stock": OLD, "ours": OLD + NEW}              # on one host
CARRIED = {"stock": OLD, "ours": OLD + ("exact",)}      # to another
SCALED_KHZ = (43000, 150000)
INTEL_KHZ = (43000, 100000, 150000)
RATIO_BITS = 48             # of Intel's scaling ratio
TOLERANCE_PPM = 250         # KVM takes frequencies that are closer for the same
WALL_SLACK_NS = 1000        # by which a way that adds wall time may miss it
LINE_SLACK_NS = 2           # what a line that is drawn anew rounds down
AGREE_NS = 1                # between KVM_GET_CLOCK and the guest
NEEDED_FLAGS = {"TSC_STABLE", "REALTIME", "HOST_TSC"}


class ReportError(Exception):
    """The run is not one that can be reported on."""


@dataclass
class Hop:
    """What lab/demo/ways.py or ways-intel.sh noted of a save and the restore that followed."""
    lab: str
    kvm: str
    khz: int                # of the guest's TSC; 0 stands for the host's own
    way: str
    number: int
    source: str
    target: str
    restored: dict          # what `kvmclock restore` said
    saved: dict = None      # what `kvmclock save` said, for a guest that starts here
    constants: tuple = None     # physical TSC less the host's: bounds for the source, for the target

    @property
    def key(self):
        return self.lab, self.kvm, self.khz, self.way, self.number, self.source, self.target

    @property
    def name(self):
        khz = f", {self.khz} kHz" if self.khz else ""
        return f"{self.kvm}, {self.lab} {self.source}->{self.target}{khz}, {self.way}"


@dataclass
class Row:
    hop: Hop
    clock_ns: float = 0
    tsc_ns: float = 0
    tsc_cycles: float = 0
    bound_ns: float = 0         # by how much these can be off
    wall_ns: float = 0          # by how much the wall clock of the target is ahead of the source's
    relation_ns: int = 0
    line_ns: int = None         # the same, from the guest's old line to its new one, which begin at a whole ns each
    agree_ns: int = None        # what KVM_GET_CLOCK says, less what the guest computes
    back: dict = field(default_factory=dict)
    wrapped: int = 0            # TSCs that have come to 2^64, and begun anew: no steps back
    readings: int = 0

    @property
    def steps(self):
        return self.back["clock"] + self.back["tsc"] - self.wrapped

    @property
    def hosts(self):
        """One name for both directions."""
        source, target = sorted((self.hop.source, self.hop.target))
        return f"{self.hop.lab} {source}<->{target}" if self.hop.lab == "AMD" and source != target else \
            f"{self.hop.lab} {self.hop.source}->{self.hop.target}"

    @property
    def name(self):
        """What stands in the table's first columns: no two rows have the same."""
        return self.hop.kvm, self.hosts, self.hop.khz or self.hop.restored["source"]["tsc_khz"], self.hop.way


def signed(cycles):
    return (cycles + (1 << 63)) % (1 << 64) - (1 << 63)


def line_ns(line, cycles):
    """What guests compute, also for cycles before the line's first."""
    shift = line["shift"]
    return (cycles << shift if shift >= 0 else cycles >> -shift) * line["mul"] >> 32


def clock_at(record, tsc):
    """The clock that a record's line gives for a TSC."""
    return record["clock_ns"] + line_ns(record, signed(tsc - record["guest_tsc"]))


def page_at(page, tsc):
    return page["system_time"] + line_ns(page, signed(tsc - page["tsc_timestamp"]))


def offset(record):
    """The TSC's offset: what is left of it without the host's, which may be scaled."""
    guest, host = record["tsc_khz"], record["host_khz"]
    ratio = 1 << RATIO_BITS
    if abs(guest - host) * 1_000_000 > host * TOLERANCE_PPM:
        ratio = (guest << RATIO_BITS) // host
    return record["guest_tsc"] - (record["host_tsc"] * ratio >> RATIO_BITS)


def measure_same_host(row, source, target):
    row.tsc_cycles = signed(offset(target) - offset(source))
    row.tsc_ns = row.tsc_cycles * 1e6 / source["tsc_khz"]
    row.clock_ns = target["clock_ns"] - clock_at(source, target["guest_tsc"] - row.tsc_cycles)


def measure_other_host(row, source, target, true_ns):
    row.clock_ns = target["clock_ns"] - source["clock_ns"] - true_ns
    row.tsc_cycles = signed(target["guest_tsc"] - source["guest_tsc"]) - true_ns * source["tsc_khz"] / 1e6
    row.tsc_ns = row.tsc_cycles * 1e6 / source["tsc_khz"]
    row.wall_ns = target["realtime_ns"] - source["realtime_ns"] - true_ns


def true_cycles(hop, source, target):
    """What the physical TSC gained, and by how much that can be off."""
    (low_s, high_s), (low_t, high_t) = hop.constants
    low, high = low_t - high_s, high_t - low_s
    return target["host_tsc"] - source["host_tsc"] + (low + high) / 2, (high - low) / 2


def check_record(hop, record):
    if not NEEDED_FLAGS <= set(record["flags"]):
        raise ReportError(f"{hop.name}: KVM_GET_CLOCK says only {', '.join(record['flags']) or 'nothing'}")
    if record["sample_ns"]:
        raise ReportError(f"{hop.name}: the tool had to sample the TSC")


def measure_relation(row, source, target, guest):
    """Where there is no new line that begins after the save, at the TSC at which KVM was asked."""
    tsc, clock = target["guest_tsc"], target["clock_ns"]
    if "line_after" in guest:
        old, new = guest["line_before"], guest["line_after"]
        row.agree_ns = clock - page_at(new, tsc)
        if signed(new["tsc_timestamp"] - source["guest_tsc"]) >= 0:
            tsc, clock = new["tsc_timestamp"], new["system_time"]
        row.line_ns = page_at(new, tsc) - page_at(old, tsc)
    row.relation_ns = clock - clock_at(source, tsc)


def count_back(row):
    guests = [row.hop.restored["guest"]] + ([row.hop.saved["guest"]] if row.hop.saved else [])
    row.back = {"clock": sum(g["clock_back"] for g in guests), "clock_ns": max(g["clock_back_max_ns"] for g in guests),
                "tsc": sum(g["tsc_back"] for g in guests), "tsc_cycles": max(g["tsc_back_max_cycles"] for g in guests)}
    # Each vCPU's TSC can do that once in what the tool watches.
    row.wrapped = sum(min(g["tsc_back"], g["vcpus"]) for g in guests if g["tsc_back_max_cycles"] > 1 << 63)
    row.readings = sum(g["readings"] for g in guests)


def measure(hop):
    row = Row(hop)
    source, target, guest = hop.restored["source"], hop.restored["restored"], hop.restored["guest"]
    for record in (source, target):
        check_record(hop, record)
    measure_relation(row, source, target, guest)
    if hop.source == hop.target:
        measure_same_host(row, source, target)
    elif hop.constants:
        cycles, bound = true_cycles(hop, source, target)
        row.bound_ns = bound * 1e6 / source["host_khz"]
        measure_other_host(row, source, target, cycles * 1e6 / source["host_khz"])
    else:
        measure_other_host(row, source, target, target["realtime_ns"] - source["realtime_ns"])
    count_back(row)
    return row


def planned():
    """The keys of all rows that there have to be, in the table's order."""
    keys = []
    for kvm, ways in CARRIED.items():
        for way in ways:
            keys += [("AMD", kvm, 0, way, 1, "A", "B"), ("AMD", kvm, 0, way, 2, "B", "A")]
        if kvm == "ours":
            keys.append(("AMD", kvm, 0, "same-host", 1, "A", "A"))
            keys.append(("AMD", kvm, 0, "live-update", 1, "A", "A"))
    for khz in SCALED_KHZ:
        keys += [("Intel", kvm, khz, way, 1, "A", "A") for kvm, ways in STAYED.items() for way in ways]
    for khz in INTEL_KHZ:
        keys += [("Intel", kvm, khz, way, 1, "A", "B") for kvm, ways in CARRIED.items() for way in ways]
    return keys


def read_amd(directory):
    with open(os.path.join(directory, "hops.jsonl"), encoding="ascii") as lines:
        for note in map(json.loads, lines):
            saved = note["saved"] if note["hop"] == 1 else None
            yield Hop("AMD", note["kvm"], 0, note["way"], note["hop"], note["source"], note["target"], note["restored"], saved,
                      (note["source_tsc"], note["target_tsc"]))


def load(path):
    with open(path, encoding="ascii") as file:
        return json.load(file)


def read_intel(directory):
    for target in "AB":
        for path in glob.glob(os.path.join(directory, f"intel-{target}", "out", "*.json")):
            kvm, khz, way = os.path.basename(path)[:-len(".json")].split("-", 2)
            if way != "save":
                saved = load(os.path.join(directory, "intel-A", "out", f"{kvm}-{khz}-save.json"))
                yield Hop("Intel", kvm, int(khz), way, 1, "A", target, load(path), saved)


def read_live_update(directory):
    """What the tool said in the kernel before the kexec and in the one behind it."""
    with open(os.path.join(directory, "live-update", "result.ktap"), encoding="utf-8", errors="replace") as lines:
        said = [json.loads(line[4:]) for line in lines if line.startswith("# > {")]
    if len(said) == 2:
        yield Hop("AMD", "ours", 0, LIVE_UPDATE, 1, "A", "A", said[1], said[0])


def read(directory):
    hops = {hop.key: hop for hop in [*read_amd(directory), *read_live_update(directory), *read_intel(directory)]}
    missing = [key for key in planned() if key not in hops]
    if missing or len(hops) != len(planned()):
        raise ReportError(f"not the rows that were planned: {len(missing)} are missing, the first is {missing[:1]}")
    return [measure(hops[key]) for key in planned()]


def splats(directory):
    """What kernels complained about; of the Intel host's log only what came after it had booted, with a model of a CPU that
    the kernel finds fault with."""
    found = []
    for pattern in ("host-*.log", "intel-*/console.log", "intel-*/result.ktap", "live-update/console.log"):
        for path in sorted(glob.glob(os.path.join(directory, pattern))):
            with open(path, errors="replace", encoding="utf-8") as file:
                lines = file.read().split("\n# begin ", 1)[-1].split("\n")
            found += [f"{os.path.relpath(path, directory)}: {line.strip()}" for line in lines if SPLAT.search(line)]
    return found


def missed_update(source, target):
    """What a live update is to show: another calibration, and the very rate that the guest had."""
    if source["host_khz"] == target["host_khz"]:
        yield "the other kernel has found the same frequency"
    if (source["mul"], source["shift"]) != (target["mul"], target["shift"]):
        yield f"the line's rate was {source['mul']}, {source['shift']}, and is {target['mul']}, {target['shift']}"


def missed(row):
    """What the new flags promise, and this row does not keep."""
    hop, same = row.hop, row.hop.way in ("same-host", LIVE_UPDATE)
    source, target = hop.restored["source"], hop.restored["restored"]
    if hop.restored["way"] != ("same-host" if same else hop.way):
        yield f"went the way '{hop.restored['way']}'"
    if hop.way == LIVE_UPDATE:
        yield from missed_update(source, target)
    if (source["saved_by"], target["saved_by"]) != ("exact", "exact"):
        yield "KVM_GET_CLOCK has no line"
    if same and (row.clock_ns or row.tsc_cycles or row.relation_ns):
        yield f"off by {row.clock_ns} ns and {row.tsc_cycles} cycles, {row.relation_ns} ns against each other"
    if abs(row.relation_ns) > 1:
        yield f"clock and TSC moved by {row.relation_ns} ns against each other"
    if abs(row.clock_ns - row.wall_ns) > WALL_SLACK_NS:
        yield f"the clock missed the wall clock by {row.clock_ns - row.wall_ns:.0f} ns"
    if row.line_ns is None:
        yield "the guest's lines are not known"
    elif abs(row.line_ns) > LINE_SLACK_NS:
        yield f"the guest's line moved by {row.line_ns} ns"
    elif abs(row.agree_ns) > AGREE_NS:
        yield f"KVM_GET_CLOCK says {row.agree_ns} ns more than the guest"
    if row.back["clock"]:
        yield f"the clock went back {row.back['clock']} times, by up to {row.back['clock_ns']} ns"
    if row.back["tsc"]:
        yield f"a TSC went back {row.back['tsc']} times, by up to {row.back['tsc_cycles']} cycles"


def verdict(directory, rows):
    """What makes the demo fail, in words."""
    faults = splats(directory)
    for row in rows:
        if not row.hop.restored["guest"]["readings"]:
            faults.append(f"{row.hop.name}: the guest read nothing")
        if row.hop.kvm == "ours" and row.hop.way in (*NEW, LIVE_UPDATE):
            faults += [f"{row.hop.name}: {what}" for what in missed(row)]
    return faults


HEADER = ("lab", "kvm", "guest_khz", "way", "hop", "from", "to", "pause_ms", "clock_error_ns", "tsc_error_ns",
          "tsc_error_cycles", "bound_ns", "wall_error_ns", "relation_ns", "relation_by_lines_ns", "get_minus_guest_ns",
          "clock_back", "clock_back_largest_ns", "tsc_back", "tsc_back_largest_cycles", "readings")


def cells(row):
    back = row.back
    source, target = row.hop.restored["source"], row.hop.restored["restored"]
    return (row.hop.lab, row.hop.kvm, source["tsc_khz"], row.hop.way, row.hop.number, row.hop.source, row.hop.target,
            f"{(target['realtime_ns'] - source['realtime_ns']) / 1e6:.1f}", f"{row.clock_ns:.0f}", f"{row.tsc_ns:.0f}",
            f"{row.tsc_cycles:.0f}", f"{row.bound_ns:.0f}", f"{row.wall_ns:.0f}", row.relation_ns,
            *("" if value is None else value for value in (row.line_ns, row.agree_ns)), back["clock"], back["clock_ns"], back["tsc"], back["tsc_cycles"],
            row.readings)


def number(value):
    return f"{value:+,.0f}" if round(value) else "0"


TABLE = "{:<6} {:<12} {:>11}  {:<11} {:>16} {:>16} {:>9} {:>16} {:>7} {:>10}"
CAPTIONS = (("KVM", "hosts", "guest's TSC", "way", "clock's error", "TSC's error", "+-", "against each", "steps", "readings"),
            ("", "", "kHz", "", "ns", "ns", "ns", "other, ns", "back", ""))


def pairs(rows):
    """Of the hops between two hosts, there and back, the one whose clock is further off."""
    worst = {}
    for row in rows:
        if row.name not in worst or abs(row.clock_ns) > abs(worst[row.name].clock_ns):
            worst[row.name] = row
    return list(worst.values())


def table(rows):
    lines, group = [TABLE.format(*caption) for caption in CAPTIONS], None
    for row in pairs(rows):
        hop = row.hop
        same = (hop.lab, hop.khz, hop.kvm, hop.lab == "Intel" and hop.target)
        if group not in (None, same):
            lines.append("")
        group = same
        bound = f"{row.bound_ns:,.0f}" if row.bound_ns else "0"
        lines.append(TABLE.format(*row.name,
                                  number(row.clock_ns), number(row.tsc_ns), bound, number(row.relation_ns),
                                  row.steps, row.readings))
    return "\n".join(line.rstrip() for line in lines + footer(rows))


def footer(rows):
    worst = max((row for row in rows if row.bound_ns), key=lambda row: abs(row.wall_ns))
    return ["plain: KVM_SET_CLOCK without flags, and the TSC as it was saved: the pause is lost. documented: KVM_CLOCK_REALTIME and",
            "the formula of vcpu.rst, which does not know of scaling. exact: KVM_CLOCK_GUEST_TSC and REALTIME. same-host: GUEST_TSC and",
            "HOST_TSC. live-update: the same, in another kernel of that host, by kexec, which takes its TSC for 100 ppm faster.",
            "Errors are against the time that truly passed; all but plain and the last two take it from the hosts' wall clocks,",
            f"and AMD A's and B's disagree by up to {abs(worst.wall_ns):,.0f} +- {worst.bound_ns:,.0f} ns here. Between Intel A and B, "
            "the wall clocks are the truth.",
            "Against each other: the clock, less what the line that the guest had makes of its TSC, at the instant of the restore.",
            "From there on, a TSC that is not scaled runs as fast as the host's: on Intel B, 100 ppm faster than on A."]


def main():
    directory = sys.argv[1]
    runs = os.path.join(directory, "ways")
    try:
        rows = read(runs)
    except (OSError, ValueError, KeyError, ReportError) as error:
        print(f"demo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return conclude(os.path.join(directory, "ways.tsv"), [HEADER] + [cells(row) for row in rows], table(rows),
                    verdict(runs, rows))


if __name__ == "__main__":
    sys.exit(main())
