# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of QEMU do: guests, what happens to each of them in turn, and what its clocks are to show for it."""

from dataclasses import dataclass

# QEMU's arguments, behind the program: Debian's, or the one with our series.
VMMS = {
    "debian": ("debian",),
    "disabled": ("patched",),           # our series with its property off, as it is by default
    "patched": ("patched", "-global", "kvmclock.x-guest-tsc=auto"),     # off on mainline's KVM
    "count": ("patched", "-global", "kvmclock.x-guest-tsc=on", "-global", "kvmclock.count-pauses=on"),
    "freeze": ("patched", "-global", "kvmclock.x-guest-tsc=on", "-global", "kvmclock.count-pauses=off"),
    # A machine type up to 2.8, as far as the clock goes: on the destination, QEMU itself computes it from the page, whose
    # tsc_timestamp it compares with the TSC.
    "old": ("debian", "-global", "kvmclock.x-mach-use-reliable-get-clock=off"),
    # Guests that write their TSCs, and have armed deadlines of them meanwhile.
    "deadline": ("patched", "-global", "kvmclock.x-guest-tsc=on", "-cpu", "qemu64,+tsc-adjust,+tsc-deadline"),
    "hyperv": ("debian", "-cpu", "qemu64,hv-time"),
}

# What the guest writes to which of its vCPUs: register, value.
IA32_TSC, TSC_ADJUST, REFERENCE_TSC = 0x10, 0x3b, 0x40000021
HYPERV_PAGE = 0x6000000     # that the guest's kernel leaves alone
WRITES = {
    "write": (IA32_TSC, 1 << 44, (1,)),
    "adjust": (TSC_ADJUST, 1 << 36, (0, 1)),
    "set_back": (IA32_TSC, 1, (0, 1)),
    "hyperv": (REFERENCE_TSC, HYPERV_PAGE | 1, (0,)),
}

LOADS = ("precopy", "postcopy", "snapshot", "restart")     # after which the device tells how the guest was restored

# Policies: what the clocks gain against true time while QEMU has the guest stopped.
COUNTED = "counted"     # nothing: the time passes for both
FROZEN = "frozen"       # minus the time it was stopped, both
SAVED = "frozen later"  # a QEMU that counts has saved it, one that freezes goes on: not the time in between
PAUSE = "as a pause"    # what QEMU has always done: the KVM clock stands still, the TSC goes on
LOST = "as today"       # a migration, or a snapshot: both lose time, and part
RUNNING = "runs on"     # it was not stopped at all
REBOOT = "reboot"       # the guest starts anew: its vCPUs agree, its KVM clock and TSC have not parted
WROTE = "wrote"         # the guest has written its TSCs: the KVM clock goes on, and the TSCs are others
TOGETHER = (COUNTED, FROZEN, SAVED)     # where clock and TSC are restored together


@dataclass(frozen=True)
class Step:
    what: str           # pause, precopy, postcopy, refused, snapshot (in place), restart (from a snapshot), plug, reset; WRITES
    policy: str
    vmm: str = None     # on the destination of a migration; else the same again


@dataclass(frozen=True)
class Case:
    name: str
    kvm: str
    clocksource: str
    vcpus: int
    vmm: str
    steps: tuple
    arguments: str = ""     # of the guest's kernel, beside those of all
    watchdog: bool = False  # whether Linux compares the TSC with what it has beside it, rather than trust it


def hops(policy, *vmms):
    return tuple(Step("precopy", policy, vmm) for vmm in vmms)


PAUSE_FROZEN = Step("pause", FROZEN)
# A guest on its way through a QEMU that counts and one that freezes, whatever it is that stops it.
POLICIES = (
    Step("precopy", COUNTED, "count"), Step("pause", COUNTED), Step("snapshot", COUNTED),
    Step("precopy", SAVED, "freeze"), Step("precopy", FROZEN), Step("pause", FROZEN), Step("restart", FROZEN))
DEFAULTS = (
    PAUSE_FROZEN, Step("precopy", COUNTED), Step("postcopy", COUNTED), Step("snapshot", FROZEN),
    Step("restart", FROZEN))
TODAY = (Step("pause", PAUSE), Step("precopy", LOST), Step("postcopy", LOST), Step("snapshot", LOST))
PLUG, RESET = Step("plug", RUNNING), Step("reset", REBOOT)
WRITE, ADJUST, SET_BACK = (Step(what, WROTE) for what in ("write", "adjust", "set_back"))
HYPERV = Step("hyperv", RUNNING)
HOP = Step("precopy", COUNTED)

CASES = (
    Case("ours-tsc-1", "ours", "tsc", 1, "debian",
         (*hops(LOST, "patched"), *hops(COUNTED, "patched"), Step("refused", COUNTED, "debian"),
          *hops(LOST, "disabled", "debian"), PLUG)),
    Case("ours-kvm-clock-1", "ours", "kvm-clock", 1, "patched", (*DEFAULTS, *POLICIES, RESET, PLUG)),
    Case("stock-debian", "stock", "tsc", 1, "debian", (*TODAY, PLUG)),
    Case("stock-kvm-clock-1", "stock", "kvm-clock", 1, "patched", (*TODAY, RESET)),
    Case("ours-tsc-4", "ours", "tsc", 4, "patched", (*DEFAULTS, PLUG)),
    Case("stock-tsc-4", "stock", "tsc", 4, "patched", (*TODAY, PLUG)),
    Case("ours-kvm-clock-4", "ours", "kvm-clock", 4, "debian",
         (*TODAY, *hops(LOST, "patched"), *hops(COUNTED, "patched"), PLUG)),
    # What a guest wrote to its TSCs stays: to one of them, to all, and below what the clock's line is drawn from.
    Case("ours-written", "ours", "kvm-clock", 2, "deadline",
         (WRITE, HOP, Step("snapshot", FROZEN), Step("restart", FROZEN), ADJUST, HOP, SET_BACK, HOP, RESET, HOP, PLUG),
         # It is not to undo it, nor to sleep until a deadline that it has put off so.
         "clearcpuid=tsc_adjust nohz=off"),
    # Linux' watchdog compares the TSC with the KVM clock; others have nothing but devices, which PM timer stands for.
    Case("ours-watchdog", "ours", "tsc", 1, "patched", (PAUSE_FROZEN, HOP) * 4, watchdog=True),
    Case("ours-acpi_pm", "ours", "acpi_pm", 1, "patched",
         (PAUSE_FROZEN, HOP, Step("precopy", COUNTED, "count"), Step("pause", COUNTED),
          Step("precopy", SAVED, "freeze"), PAUSE_FROZEN)),
    # TSCs that QEMU sets back in a reset, as those who compute with unsigned numbers see it. Where the page is left of a TSC
    # that is ahead, the second QEMU aborts.
    Case("ours-old", "ours", "kvm-clock", 2, "old", (RESET, *hops(LOST, "old"))),
    Case("ours-hyperv", "ours", "kvm-clock", 1, "hyperv", (HYPERV, RESET, HYPERV, SET_BACK, *hops(LOST, "hyperv")),
         f"memmap=4K${HYPERV_PAGE:#x}"),
)
SHORT = ("ours-tsc-1", "ours-old")  # for .ci/run


def chosen(names):
    """The cases of these names, or all, in their order."""
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        raise ValueError(f"no such case: {', '.join(sorted(unknown))}; known: {', '.join(case.name for case in CASES)}")
    return [case for case in CASES if not names or case.name in names]
