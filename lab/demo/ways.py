#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Carry a small guest from host A to host B and back in several ways, on mainline's KVM and on ours, and note its time.

    lab/demo/ways.py DIRECTORY BZIMAGE KVM...

DIRECTORY holds host.gz (lab/demo/images.sh ways) and gets hops.jsonl, the consoles and the sockets. The guest is the one that
the tool kvmclock has built in: its vCPUs read their clock and TSC without pause. A hop is `kvmclock save` here, a pause,
and `kvmclock restore` there; both say what KVM's clock and TSC were, at one instant, beside the TSC of their host.

Truth is this machine's TSC. That of an emulated host is the physical one minus a constant, and lab/hostclock.c finds
the constant between two bounds, before and after the hops of a way. So what passed between an instant on one host and one on
the other is known, to within those bounds. All hosts are told the same frequency.

The hosts' CLOCK_REALTIME comes from an RTC of one second. It is set by this machine's, to the same precision.
"""

import json
import os
import sys

from hosts import ADDRESS, Lab, TimedHost, both, run_lab

WAYS = {"stock": ("plain", "documented"), "ours": ("plain", "documented", "exact")}
VCPUS = 2
RUN_MS = 700            # the guest, on each host
PAUSE_S = 1             # between save and restore
PORT = 4445             # in the network of the two hosts; the physical machine never sees it


class ToolHost(TimedHost):
    """A host that runs the tool."""

    def tool(self, arguments, limit=60):
        """Run the tool kvmclock; what it has to say."""
        self.run(f"./kvmclock {arguments} --json >said 2>/dev/console", limit)
        return json.loads(self.tell("said"))


class WaysLab(Lab):
    """The two hosts, and what was written down of each hop."""

    HOST = ToolHost

    def __init__(self, nice, name):
        super().__init__(nice, name)
        self.hops = []

    def constants(self):
        return {name: host.constant() for name, host in self.hosts.items()}

    def boot(self, bzimage):
        for name, host in self.hosts.items():
            host.start(bzimage)
            self.progress.say(f"host {name} is up")
        for host in self.hosts.values():
            host.set_wall_clock()
        up_a, up_b = self.uptimes()
        self.progress.say(f"wall clocks are set; monotonic clocks are {up_a:.1f} s and {up_b:.1f} s")

    def add(self, kvm, way, number, source, target, saved, restored):
        self.hops.append({"kvm": kvm, "way": way, "hop": number, "source": source.name, "target": target.name,
                          "saved": saved, "restored": restored})

    def carry(self, way, source, target, save_again=""):
        """Start a restore on the target, let a second pass, and bring it what the source has saved; what it says."""
        target.run(f"rm -f again; ./kvmclock restore --way {way} --run {RUN_MS} {save_again} --json "
                   f"tcp-listen:0.0.0.0:{PORT} >restored 2>/dev/console & restore=$!")
        self.stay(PAUSE_S)
        source.run(f"carry saved {ADDRESS[target.name]} {PORT}")
        target.run("wait $restore", 60)
        return json.loads(target.tell("restored"))

    def there_and_back(self, kvm, way):
        host_a, host_b = self.hosts["A"], self.hosts["B"]
        saved = host_a.tool(f"save --vcpus {VCPUS} --run {RUN_MS} saved")
        there = self.carry(way, host_a, host_b, "--save saved")
        self.add(kvm, way, 1, host_a, host_b, saved, there)
        back = self.carry(way, host_b, host_a)
        self.add(kvm, way, 2, host_b, host_a, there, back)
        self.progress.say(f"{kvm}: {way}, from A to B and back")

    def stay_on_host(self, kvm, way):
        """The VMM is another one, the host is the same."""
        host = self.hosts["A"]
        saved = host.tool(f"save --vcpus {VCPUS} --run {RUN_MS} saved")
        self.stay(PAUSE_S)
        self.add(kvm, way, 1, host, host, saved, host.tool(f"restore --way {way} --run {RUN_MS} saved"))
        self.progress.say(f"{kvm}: {way}, on A")

    def run_kvm(self, kvm):
        for host in self.hosts.values():
            host.run(f"load_kvm {kvm}")
        before = self.constants()
        for way in WAYS[kvm]:
            first = len(self.hops)
            self.there_and_back(kvm, way)
            after = self.constants()
            self.add_constants(first, before, after)
            before = after
        if kvm == "ours":
            first = len(self.hops)
            self.stay_on_host(kvm, "same-host")
            self.add_constants(first, before, self.constants())
        for host in self.hosts.values():
            host.run("unload_kvm")

    def add_constants(self, first, before, after):
        """To the hops from the first on."""
        for hop in self.hops[first:]:
            hop["khz"] = self.khz
            for end in ("source", "target"):
                name = hop[end]
                hop[f"{end}_tsc"] = both(before[name], after[name])

    def run(self, bzimage, *kvms):
        self.boot(bzimage)
        for kvm in kvms:
            self.run_kvm(kvm)
        self.shut_down()
        with open("hops.jsonl", "w", encoding="ascii") as out:
            for hop in self.hops:
                print(json.dumps(hop), file=out)


if __name__ == "__main__":
    sys.exit(run_lab(WaysLab, sys.argv[1], os.path.abspath(sys.argv[2]), *sys.argv[3:]))
