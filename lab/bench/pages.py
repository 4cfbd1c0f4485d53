#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Count how often the pages of a guest's clock are written while it boots and while it migrates.

    lab/bench/pages.py DIRECTORY BZIMAGE

The hosts, the guest and the hop are the demo's (lab/demo/migrate.py), with 4 vCPUs; DIRECTORY holds host.gz, as there.
The tracepoint kvm_pvclock_update, which mainline's KVM and ours have, tells of each page that is written. Writes
DIRECTORY/pages.json.
"""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo"))
from hosts import run_lab  # noqa: E402
from migrate import GuestHost, MigrationLab  # noqa: E402

VCPUS = 4
SETTLE_S = 3
TRACING = "/sys/kernel/tracing"
START = f"mount -t tracefs tracing {TRACING} && echo 1 >{TRACING}/events/kvm/kvm_pvclock_update/enable"
COUNT = f"awk '/^(entries|overrun): / {{ n += $2 }} END {{ print n + 0 }}' {TRACING}/per_cpu/cpu*/stats >count && tell count"


class CountingHost(GuestHost):
    said = None

    def on_control(self, text, when):
        word, _, rest = text.partition(" ")
        if word == "said":
            self.said = rest
        super().on_control(text, when)

    def start(self, bzimage):
        super().start(bzimage)
        self.run(START)

    def start_vmm(self, *arguments):
        super().start_vmm(f"-smp {VCPUS}", *arguments)

    def count(self):
        self.run(COUNT)
        return int(self.said)


class PagesLab(MigrationLab):
    HOST = CountingHost

    def __init__(self, nice, name):
        super().__init__(nice, name)
        self.counts = {}

    def lab_hello(self):
        super().lab_hello()
        self.counts["pages_boot"] = self.hosts["A"].count()

    def both(self):
        return sum(host.count() for host in self.hosts.values())

    def run(self, bzimage):
        host_a, host_b = self.hosts["A"], self.hosts["B"]
        self.boot(bzimage)
        self.stay(SETTLE_S)
        before = self.both()
        self.hop(1, host_a, host_b)
        self.stay(SETTLE_S)
        self.counts["pages_migration"] = self.both() - before
        self.sampling = []
        self.ending = True
        host_b.end_vmm()
        self.shut_down()
        with open("pages.json", "w", encoding="ascii") as out:
            json.dump({"vcpus": VCPUS, "written": self.counts}, out)


if __name__ == "__main__":
    sys.exit(run_lab(PagesLab, sys.argv[1], os.path.abspath(sys.argv[2])))
