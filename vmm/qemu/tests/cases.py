# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of QEMU do: guests, what happens to each of them in turn, and what its clocks are to show for it."""

from dataclasses import dataclass

# QEMU's arguments, behind the program: Debian's, or the one with our series.
VMMS = {
    "debian": ("debian",),
    "disabled": ("patched",),           # our series with its property off, as it is by default
    "patched": ("patched", "-global", "kvmclock.guest-tsc=on"),
    "count": ("patched", "-global", "kvmclock.guest-tsc=on", "-global", "kvmclock.count-pauses=on"),
    "freeze": ("patched", "-global", "kvmclock.guest-tsc=on", "-global", "kvmclock.count-pauses=off"),
}

# Policies: what the clocks gain against true time while QEMU has the guest stopped.
COUNTED = "counted"     # nothing: the time passes for both
FROZEN = "frozen"       # minus the time it was stopped, both
SAVED = "frozen later"  # a QEMU that counts has saved it, one that freezes goes on: not the time in between
PAUSE = "as a pause"    # what QEMU has always done: the KVM clock stands still, the TSC goes on
LOST = "as today"       # a migration, or a snapshot: both lose time, and part
RUNNING = "runs on"     # it was not stopped at all
REBOOT = "reboot"       # the guest starts anew: its vCPUs agree, its KVM clock and TSC have not parted


@dataclass(frozen=True)
class Step:
    what: str           # pause, precopy, postcopy, refused, snapshot (in place), restart (from a snapshot), plug, reset
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


def hops(policy, *vmms):
    return tuple(Step("precopy", policy, vmm) for vmm in vmms)


# A guest on its way through a QEMU that counts and one that freezes, whatever it is that stops it.
POLICIES = (
    Step("precopy", COUNTED, "count"), Step("pause", COUNTED), Step("snapshot", COUNTED),
    Step("precopy", SAVED, "freeze"), Step("precopy", FROZEN), Step("pause", FROZEN), Step("restart", FROZEN))
DEFAULTS = (
    Step("pause", PAUSE), Step("precopy", COUNTED), Step("postcopy", COUNTED), Step("snapshot", FROZEN),
    Step("restart", FROZEN))
TODAY = (Step("pause", PAUSE), Step("precopy", LOST), Step("postcopy", LOST), Step("snapshot", LOST))
PLUG, RESET = Step("plug", RUNNING), Step("reset", REBOOT)

CASES = (
    Case("ours-tsc-1", "ours", "tsc", 1, "debian",
         (*hops(LOST, "patched"), *hops(COUNTED, "patched"), Step("refused", LOST, "debian"),
          *hops(LOST, "disabled", "debian"), PLUG)),
    Case("ours-kvm-clock-1", "ours", "kvm-clock", 1, "patched", (*DEFAULTS, *POLICIES, RESET, PLUG)),
    Case("stock-debian", "stock", "tsc", 1, "debian", (*TODAY, PLUG)),
    Case("stock-kvm-clock-1", "stock", "kvm-clock", 1, "patched", (*TODAY, RESET)),
    Case("ours-tsc-4", "ours", "tsc", 4, "patched", (*DEFAULTS, PLUG)),
    Case("stock-tsc-4", "stock", "tsc", 4, "patched", (*TODAY, PLUG)),
    Case("ours-kvm-clock-4", "ours", "kvm-clock", 4, "debian",
         (*TODAY, *hops(LOST, "patched"), *hops(COUNTED, "patched"), PLUG)),
)
SHORT = ("ours-tsc-1",)     # for .ci/run


def chosen(names):
    """The cases of these names, or all, in their order."""
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        raise ValueError(f"no such case: {', '.join(sorted(unknown))}; known: {', '.join(case.name for case in CASES)}")
    return [case for case in CASES if not names or case.name in names]
