#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Say what the clocks of QEMU's guests gained, and judge it by the policies of cases.py: a table, steps.tsv.

    vmm/qemu/tests/report.py DIRECTORY CASE...     DIRECTORY is that of vmm/qemu/tests/guests.py

A reading bounds deviation = guest's clock - true time from both sides, [clock - received, clock - sent]. While a guest
runs, it does not change (all hosts and guests were told one frequency), so that what all readings before a step allow
together, and all after it, bound what was gained in between. By how much KVM clock and TSC parted is known much better:
the one was read between two readings of the other. By how much the TSCs of the vCPUs differ, the host's KVM tells exactly.

What Linux computes from a pvclock page is what each other guest must come to with it (FORMULAS), which computes otherwise.

Prints a line a step, and "N passed, N failed, N skipped"; exits with 1 where something failed.
"""

import json
import os
import re
import sys
from dataclasses import dataclass

import cases

MS, US = 1e6, 1e3
EVENT_NS = 60 * MS      # by how much QEMU's STOP and RESUME come late, one more than the other
AGREE_NS = 20 * US      # between KVM clock and TSC, beside the readings' own width
RATE_NS = 500 * US      # what truth and guest may part by within a step
LOST_LEAST_NS = MS      # what a migration by QEMU's old ways loses at least
WROTE_LEAST_NS = 1000 * MS  # by how much what a guest writes to a TSC sets it forward or back
PVCLOCK_TSC_STABLE_BIT = 1
HYPERV_NS = 100         # the unit of Hyper-V's reference time
SPLAT = re.compile(r"WARNING:|BUG:|Oops|Call Trace:|\bRIP:|INFO: (possible|suspicious|task|rcu)|rcu: INFO|UBSAN|KASAN|"
                   r"Kernel panic|general protection|unchecked MSR|soft lockup|test: the clocksource is")


class ReportError(Exception):
    """The run is not one that can be reported on."""


@dataclass(frozen=True)
class Span:
    """A number that is known between two bounds."""
    low: float
    high: float

    @property
    def middle(self):
        return (self.low + self.high) / 2

    @property
    def bound(self):
        return (self.high - self.low) / 2

    def __sub__(self, other):
        return Span(self.low - other.high, self.high - other.low)


def together(spans):
    """What all allow. Where they contradict each other, as on a host whose emulated TSC moved on, what is between."""
    low, high = max(span.low for span in spans), min(span.high for span in spans)
    return Span(min(low, high), max(low, high))


@dataclass(frozen=True)
class Page:
    """A pvclock page, and what guests compute from it with a TSC."""
    timestamp: int
    system_ns: int
    mul: int
    shift: int
    flags: int

    def ns(self, delta):
        scaled = delta >> -self.shift if self.shift < 0 else delta << self.shift
        return self.system_ns + (scaled % 2 ** 64 * self.mul >> 32)

    def linux(self, tsc):
        """FreeBSD's libc, too: a difference modulo 2^64."""
        return self.ns((tsc - self.timestamp) % 2 ** 64)

    def openbsd(self, tsc):
        """NetBSD, too: no time has passed while the TSC is not above that of the page."""
        return self.ns(tsc - self.timestamp if tsc > self.timestamp else 0)

    def old_qemu(self, tsc):
        """As it asserts, for machine types up to 2.8."""
        return self.ns(tsc - self.timestamp) if self.timestamp <= tsc else None


FORMULAS = ("openbsd", "old_qemu")


def hyperv(page, tsc):
    """In ns, by what is in Hyper-V's reference TSC page."""
    _, scale, offset = page
    return ((tsc * scale >> 64) + offset) % 2 ** 64 * HYPERV_NS


@dataclass(frozen=True)
class VcpuReading:
    number: int
    tsc0: int
    clock: int      # read between the TSCs
    tsc1: int
    page: Page

    @classmethod
    def of(cls, fields):
        return cls(*fields[:4], Page(*fields[4:]))


def vcpus(reading):
    return [VcpuReading.of(fields) for fields in reading["vcpus"]]


def pages_for(vcpu, first):
    """Those that guests read on a vCPU: its own, and the first one's where they are told that all TSCs are the same."""
    return [vcpu.page, first.page] if first.page.flags & PVCLOCK_TSC_STABLE_BIT else [vcpu.page]


def disagree(reading):
    """Who computes another clock than Linux."""
    found = vcpus(reading)
    for vcpu in found:
        if not vcpu.page.linux(vcpu.tsc0) <= vcpu.clock <= vcpu.page.linux(vcpu.tsc1):
            yield f"vCPU {vcpu.number} shows {vcpu.clock}, which is not what is in its page"
        for page in pages_for(vcpu, found[0]):
            for formula in FORMULAS:
                if getattr(page, formula)(vcpu.tsc0) != page.linux(vcpu.tsc0):
                    yield f"{formula} on vCPU {vcpu.number}: TSC {vcpu.tsc0:,}, and the page is of TSC {page.timestamp:,}"


def hyperv_disagrees(reading, page):
    """Hyper-V's page is the first vCPU's."""
    first = vcpus(reading)[0]
    if not page[0]:
        yield "Hyper-V's page is not valid"
    elif not hyperv(page, first.tsc0) - HYPERV_NS <= first.clock <= hyperv(page, first.tsc1) + 2 * HYPERV_NS:
        yield f"Hyper-V's page: {(hyperv(page, first.tsc0) - first.clock) / MS:+,.3f} ms from the KVM clock"


@dataclass
class Clocks:
    """What some readings say together: deviations from true time in ns, and how far apart things are."""
    clock: Span
    tsc: Span
    mono: Span
    mono_apart: Span    # CLOCK_MONOTONIC less TSC, on the first vCPU
    apart: list         # KVM clock less TSC, on each vCPU
    unequal_ns: float   # by how much a vCPU's clock or TSC is behind what another one has shown before
    faults: list        # of pages


def tsc_ns(tsc, base, khz):
    return (tsc - base) * MS / khz


def behind(reading, khz, own_tscs):
    """Within one reading, vCPUs are read one after the other: none may show less than the one before.

    Of TSCs, this is so unless the guest has written them to be its own.
    """
    found = vcpus(reading)
    pairs = list(zip(found, found[1:]))
    clock = max(0, *(one.clock - two.clock for one, two in pairs))
    return clock if own_tscs else max(clock, *(tsc_ns(one.tsc1, two.tsc0, khz) for one, two in pairs))


def apart(readings, number, base, khz):
    read_there = [vcpus(reading)[number] for reading in readings]
    return together([Span(vcpu.clock - tsc_ns(vcpu.tsc1, base, khz), vcpu.clock - tsc_ns(vcpu.tsc0, base, khz))
                     for vcpu in read_there])


def mono_apart(readings, base, khz):
    return together([Span(*(reading["mono"] - tsc_ns(tsc, base, khz) for tsc in reversed(reading["mono_tscs"])))
                     for reading in readings])


def deviation(values):
    """Of (earliest, latest reading, sent, received)."""
    return together([Span(low - received, high - sent) for low, high, sent, received in values])


def clocks(readings, base, khz, own_tscs):
    firsts = [(vcpus(reading)[0], reading["sent"], reading["received"]) for reading in readings]
    return Clocks(
        clock=deviation([(vcpu.clock, vcpu.clock, sent, received) for vcpu, sent, received in firsts]),
        tsc=deviation([(tsc_ns(vcpu.tsc0, base, khz), tsc_ns(vcpu.tsc1, base, khz), sent, received)
                       for vcpu, sent, received in firsts]),
        mono=deviation([(r["mono"], r["mono"], r["sent"], r["received"]) for r in readings]),
        mono_apart=mono_apart(readings, base, khz),
        apart=[apart(readings, number, base, khz) for number in range(len(readings[0]["vcpus"]) - 1)],
        unequal_ns=max(behind(reading, khz, own_tscs) for reading in readings),
        faults=[fault for reading in readings for fault in disagree(reading)])


@dataclass
class Row:
    case: cases.Case
    step: cases.Step
    vmm: str            # that the guest has after the step
    stopped: float
    clock: Span         # gained
    tsc: Span
    mono: Span
    mono_apart: Span    # by how much CLOCK_MONOTONIC and the TSC parted, whatever its clocksource is
    aparts: list        # by how much the KVM clock and the TSC parted, on each vCPU
    plugged: int
    unequal_ns: float
    wall: float         # by how much the hosts' wall clocks may disagree
    moved: bool         # whether the TSCs differ by other numbers of cycles than before
    faults: list        # of pages
    restored: str       # what the device says, or None

    @property
    def apart(self):
        """On the vCPU where they have parted most."""
        return max(self.aparts, key=lambda span: abs(span.middle))

    @property
    def name(self):
        return f"{self.case.name} {self.step.what}, {self.vmm}"


def differences(offsets):
    return [offset - offsets[0] for offset in offsets]


def row(case, step, vmm, note, wall, own_tscs=(False, False)):
    """own_tscs: whether the guest has written its TSCs, before the step and after it."""
    base, khz = note["before"][0]["vcpus"][0][1], note["khz"]
    before, after = (clocks(note[when], base, khz, own) for when, own in zip(("before", "after"), own_tscs))
    known, there = map(differences, note["offsets"])
    if note["hyperv"]:
        after.faults += [fault for reading in note["after"] for fault in hyperv_disagrees(reading, note["hyperv"])]
    return Row(case, step, vmm, note["stopped"],
               after.clock - before.clock, after.tsc - before.tsc, after.mono - before.mono,
               after.mono_apart - before.mono_apart, [now - then for now, then in zip(after.apart, before.apart)],
               len(after.apart) - len(before.apart), max(before.unequal_ns, after.unequal_ns), wall,
               there[:len(known)] != known, before.faults + after.faults, note["restored"])


def near(span, expected, slack):
    return span.low - slack <= expected <= span.high + slack


def gains(what, span, expected, slack):
    if not near(span, expected, slack):
        yield f"{what} gained {span.middle / MS:+.1f} +- {span.bound / MS:.1f} ms, not {expected / MS:+.1f}"


def in_a_stop(what, span, stopped, most):
    """Loses no more than it was stopped for, and no less than that."""
    if span.low > most or span.high < -stopped - EVENT_NS:
        yield f"{what} gained {span.middle / MS:+.1f} ms, stopped for {stopped / MS:.1f}"


def agree(row_):
    for number, span in enumerate(row_.aparts):
        if not near(span, 0, AGREE_NS):
            yield f"KVM clock and TSC of vCPU {number} parted by {span.middle / US:+.1f} us"
    if not near(row_.mono_apart, 0, AGREE_NS):
        yield f"CLOCK_MONOTONIC and the TSC parted by {row_.mono_apart.middle / US:+.1f} us"
    if row_.moved:
        yield "the TSCs of the vCPUs do not differ by what they did"


def all_gain(row_, clock, tsc, slack):
    """KVM clock and TSC; and what programs of the guest see is its clocksource."""
    yield from gains("the KVM clock", row_.clock, clock, slack)
    yield from gains("the TSC", row_.tsc, tsc, slack)
    yield from gains("CLOCK_MONOTONIC", row_.mono, tsc if row_.case.clocksource == "tsc" else clock, slack)


def missed_counted(row_):
    yield from all_gain(row_, 0, 0, RATE_NS + row_.wall)
    yield from agree(row_)


def missed_frozen(row_):
    yield from all_gain(row_, -row_.stopped, -row_.stopped, EVENT_NS)
    yield from agree(row_)
    if row_.clock.high > -LOST_LEAST_NS:
        yield "the KVM clock may have gone on"


def missed_saved(row_):
    yield from in_a_stop("the KVM clock", row_.clock, row_.stopped, -LOST_LEAST_NS)
    yield from agree(row_)


def missed_pause(row_):
    yield from gains("the KVM clock", row_.clock, -row_.stopped, EVENT_NS)
    yield from gains("the TSC", row_.tsc, 0, RATE_NS)


def missed_lost(row_):
    """Nobody promises how much; but this is what the tests of the other policies must tell apart."""
    yield from in_a_stop("the KVM clock", row_.clock, row_.stopped, -LOST_LEAST_NS)
    yield from in_a_stop("the TSC", row_.tsc, row_.stopped, RATE_NS)
    if near(row_.apart, 0, AGREE_NS):
        yield "KVM clock and TSC have not parted: somebody has moved them together"


def missed_running(row_):
    yield from all_gain(row_, 0, 0, RATE_NS)
    yield from agree(row_)


def missed_reboot(row_):
    yield from gains("the KVM clock", row_.clock, 0, RATE_NS)


def missed_wrote(row_):
    yield from gains("the KVM clock", row_.clock, 0, RATE_NS)
    yield from gains("CLOCK_MONOTONIC", row_.mono, 0, RATE_NS)
    _, _, written = cases.WRITES[row_.step.what]
    for number, span in enumerate(row_.aparts):
        if number not in written and not near(span, 0, AGREE_NS):
            yield f"the TSC of vCPU {number}, which was not written, gained {-span.middle / MS:+.1f} ms"
        if number in written and near(span, 0, WROTE_LEAST_NS):
            yield f"the TSC of vCPU {number} was not written"


MISSED = {cases.COUNTED: missed_counted, cases.FROZEN: missed_frozen, cases.SAVED: missed_saved,
          cases.PAUSE: missed_pause, cases.LOST: missed_lost, cases.RUNNING: missed_running, cases.REBOOT: missed_reboot,
          cases.WROTE: missed_wrote}


def missed(row_):
    yield from MISSED[row_.step.policy](row_)
    if row_.unequal_ns > 0:
        yield f"a vCPU is {row_.unequal_ns:.0f} ns behind another"
    if row_.plugged != (row_.step.what == "plug"):
        yield f"{row_.plugged} vCPUs more"
    if row_.restored and (row_.restored == "with-tsc") != (row_.step.policy in cases.TOGETHER):
        yield f"the device says {row_.restored}"
    yield from sorted(set(row_.faults))[:1]


def read_lines(path):
    with open(path, encoding="ascii") as lines:
        return [json.loads(line) for line in lines]


def wall_ns(directory):
    """The most by which the hosts' wall clocks may have disagreed, by what was found before and after."""
    found = read_lines(os.path.join(directory, "walls.jsonl"))
    if len(found) != 2:
        raise ReportError("the hosts' wall clocks are not known: the run is not complete")
    return max(max(abs(a - b) for a in walls["A"] for b in walls["B"]) for walls in found)


def read(directory, names):
    """The rows, which must be all that were planned."""
    wall = wall_ns(directory)
    notes = {(note["case"], note["step"]): note for note in read_lines(os.path.join(directory, "steps.jsonl"))}
    rows = []
    for case in cases.chosen(names):
        vmm, own_tscs = case.vmm, False
        for number, step in enumerate(case.steps):
            if (case.name, number) not in notes:
                raise ReportError(f"{case.name}, step {number} ({step.what}) is missing")
            if step.what in ("precopy", "postcopy"):
                vmm = step.vmm or vmm
            before, own_tscs = own_tscs, step.policy == cases.WROTE or own_tscs and step.what != "reset"
            rows.append(row(case, step, vmm, notes.pop((case.name, number)), wall, (before, own_tscs)))
    if notes:
        raise ReportError(f"steps that nobody planned: {sorted(notes)}")
    return rows


def splats(directory):
    for name in sorted(os.listdir(directory)):
        if name.startswith(("host-", "guest-on-")) and name.endswith(".log"):
            with open(os.path.join(directory, name), errors="replace", encoding="utf-8") as lines:
                yield from (f"{name}: {line.strip()}" for line in lines if SPLAT.search(line))


TABLE = "{:<8} {:<18} {:<6} {:<10} {:<9} {:<11} {:>8} {:>10} {:>10} {:>6} {:>13}"
CAPTIONS = (("", "case", "", "step", "QEMU", "policy", "stopped", "KVM clock", "TSC", "+-", "parted by"),
            ("", "", "vCPUs", "", "", "", "ms", "gained, ms", "gained, ms", "ms", "us"))
HEADER = ("case", "kvm", "clocksource", "vcpus", "step", "qemu", "policy", "stopped_ms", "clock_gain_ms", "tsc_gain_ms",
          "mono_gain_ms", "bound_ms", "parted_us", "parted_bound_us", "mono_parted_us", "mono_parted_bound_us",
          "vcpu_behind_ns", "verdict")


def bound(row_):
    return max(row_.clock.bound, row_.tsc.bound)


def cells(row_, verdict):
    return (row_.case.name, row_.case.kvm, row_.case.clocksource, row_.case.vcpus, row_.step.what, row_.vmm,
            row_.step.policy, f"{row_.stopped / MS:.1f}",
            *(f"{span.middle / MS:.3f}" for span in (row_.clock, row_.tsc, row_.mono)), f"{bound(row_) / MS:.3f}",
            *(f"{number / US:.2f}" for span in (row_.apart, row_.mono_apart) for number in (span.middle, span.bound)),
            f"{row_.unequal_ns:.0f}", verdict)


def line(row_, failed):
    return TABLE.format("NOT OK" if failed else "ok", row_.case.name, row_.case.vcpus, row_.step.what, row_.vmm,
                        row_.step.policy, f"{row_.stopped / MS:.0f}", f"{row_.clock.middle / MS:+.1f}",
                        f"{row_.tsc.middle / MS:+.1f}", f"{bound(row_) / MS:.1f}",
                        f"{row_.apart.middle / US:+.1f}").rstrip()


def report(directory, names):
    rows, failed, table = read(directory, names), 0, []
    for caption in CAPTIONS:
        print(TABLE.format(*caption).rstrip())
    for row_ in rows:
        faults = list(missed(row_))
        failed += bool(faults)
        table.append(cells(row_, "failed" if faults else "ok"))
        print(line(row_, faults))
        for fault in faults:
            print(f"         {fault}")
    complaints = list(splats(directory))
    for complaint in complaints:
        print(f"NOT OK   {complaint}")
    with open(os.path.join(directory, "steps.tsv"), "w", encoding="ascii") as out:
        for values in [HEADER, *table]:
            print(*values, sep="\t", file=out)
    print(f"{len(rows) - failed} passed, {failed + len(complaints)} failed, 0 skipped")
    return 1 if failed or complaints or not rows else 0


def main():
    try:
        return report(sys.argv[1], sys.argv[2:])
    except (OSError, ValueError, KeyError, IndexError, ReportError) as error:
        print(f"NOT OK   {type(error).__name__}: {error}\n0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
