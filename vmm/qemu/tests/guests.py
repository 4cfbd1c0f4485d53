#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot two emulated AMD hosts, put guests under QEMU through what vmm/qemu/tests/cases.py says, and note their clocks.

    vmm/qemu/tests/guests.py DIRECTORY BZIMAGE DEBIANS PATCHED QTEST CASE...

DIRECTORY holds host.gz (lab/demo/images.sh qemu) and gets steps.jsonl, walls.jsonl, the consoles and the sockets.
DEBIANS is Debian's QEMU, PATCHED the one with our series, QTEST the test that the series has. Before and after each step, the guest is asked for
its clocks a number of times. The readings lie between the two times that are noted here, by CLOCK_MONOTONIC_RAW, which
is the truth.
"""

import json
import os
import shlex
import sys
import time

import cases

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../lab/demo"))
# pylint: disable=wrong-import-position
from hosts import ADDRESS, DemoError, now_ns, run_lab       # noqa: E402
from migrate import MIGRATION_PORT, GuestHost, MigrationLab     # noqa: E402

READINGS = 12           # at least, of which the report takes what they allow together; more until one is as narrow as
NARROW_NS = 3_000_000   # this, or on a busy machine, for
ASKING_S = 6
PATIENCE_S = 60         # for that many at all
RETRY_S = 3             # when a request went to a guest that was not there
PAUSE_S = 1.5           # that a guest is stopped, where it is for a time of our choice
SLOW_BYTES = 8 << 20    # bandwidth until a migration is switched to postcopy
HOP_LIMIT_S = 120
CAPABILITIES = ("postcopy-ram", "return-path")
QTEST_S = 180
SPARE = 1               # vCPUs to be plugged in
FIELDS = 9              # of a vCPU in a reading, see lab/demo/clockwatch.c


class TestHost(GuestHost):
    """A host whose guest is asked for its clocks when somebody wants to know."""

    def on_clock(self, text, when):
        if text.startswith("T "):
            self.lab.on_reading([int(field) for field in text.split()[1:]], when)
        else:
            super().on_clock(text, when)

    def hmp(self, line, limit=120):
        said = self.ask("human-monitor-command", limit, **{"command-line": line}).strip()
        if said:
            raise DemoError(f"'{line}' on host {self.name}: {said}")


class TestLab(MigrationLab):
    """The hosts, one guest at a time, and what was noted of each step."""

    HOST = TestHost
    LIMIT_S = 1800

    def __init__(self, nice, name):
        super().__init__(nice, name)
        self.programs, self.case, self.at = {}, None, None
        self.program = None         # which of them the next host starts
        self.has_hyperv_page = False
        self.readings, self.states = [], []
        self.steps = open("steps.jsonl", "w", encoding="ascii")

    def on_run_state(self, name, state, when):
        self.states.append((when, state))

    def stopped(self):
        """From the first STOP to the last RESUME, as they arrived here, in ns."""
        stops = [when for when, state in self.states if state == "STOP"]
        resumes = [when for when, state in self.states if state == "RESUME"]
        return max(resumes) - min(stops) if stops and resumes else 0

    def resumed(self):
        return any(state == "RESUME" for _, state in self.states)

    def on_reading(self, fields, when):
        number, before, mono, after, *rest = fields
        self.readings.append({"number": number, "sent": self.sent[number], "received": when, "mono": mono,
                              "mono_tscs": [before, after], "vcpus": [rest[i:i + FIELDS] for i in range(0, len(rest), FIELDS)]})

    def read_clocks(self, vcpus):
        """From the guest where it is, until they bound the clocks well.

        An answer to what was asked before may be of before the step: it was on its way, or in the snapshot. All have that
        many vCPUs: those with fewer are of before a hot plug.
        """
        first = len(self.sent)
        self.readings = []
        asked, have, start = 0, -1, time.monotonic()

        def good():
            return [reading for reading in self.readings
                    if reading["number"] >= first and len(reading["vcpus"]) == vcpus + 1]

        def enough():
            nonlocal asked, have
            if len(self.readings) != have or now_ns() > asked + RETRY_S * 1_000_000_000:
                have, asked = len(self.readings), now_ns()
                self.at.clock.send(f"T {self.next_request()}")
            widths = [reading["received"] - reading["sent"] for reading in good()]
            return len(widths) >= READINGS and (min(widths) < NARROW_NS or time.monotonic() > start + ASKING_S)
        self.wait(enough, PATIENCE_S, f"{vcpus} vCPUs of the guest on host {self.at.name} to tell their clocks")
        return good()

    def use(self, vmm):
        """The VMM that the next host starts."""
        self.program, *options = cases.VMMS[vmm]
        vcpus = self.case.vcpus
        arguments = "${arguments%tsc=reliable*}${arguments#*tsc=reliable}" if self.case.watchdog else "$arguments"
        self.vmm = (shlex.quote(self.programs[self.program]), *options, f"-smp {vcpus},maxcpus={vcpus + SPARE}",
                    f'-append "{arguments} test.clocksource={self.case.clocksource} "{shlex.quote(self.case.arguments)}',
                    "-machine hpet=off,vmport=off",     # our build has neither, and Debian's would send both
                    "-drive if=none,id=disk,format=qcow2,file=disk.qcow2")

    def begin(self, case):
        self.case, self.at, self.hello, self.has_hyperv_page = case, self.hosts["A"], None, False
        for host in self.hosts.values():
            host.run(f"load_kvm {case.kvm}")
        self.use(case.vmm)
        self.at.start_vmm()
        self.lab_hello()

    def end(self):
        self.at.end_vmm()
        for host in self.hosts.values():
            host.run("unload_kvm")

    def other(self):
        return self.hosts["B" if self.at.name == "A" else "A"]

    @staticmethod
    def use_capabilities(host, names):
        """These and no others: a guest that came by a postcopy is not to leave by one."""
        host.ask("migrate-set-capabilities",
                 capabilities=[{"capability": name, "state": name in names} for name in CAPABILITIES])

    def start_hop(self, vmm, *capabilities):
        """Have the other host wait for the guest; returns it."""
        target = self.other()
        self.use(vmm)
        target.start_vmm("-incoming defer")
        for host in (self.at, target):
            self.use_capabilities(host, capabilities)
        target.ask("migrate-incoming", uri=f"tcp:0:{MIGRATION_PORT}")
        self.states.clear()
        return target

    def migrate_to(self, target):
        self.at.ask("migrate", uri=f"tcp:{ADDRESS[target.name]}:{MIGRATION_PORT}")

    def arrive(self, target):
        self.migrated(self.at)
        self.wait(self.resumed, 30, f"the guest to go on on host {target.name}")
        self.at.end_vmm()
        self.at = target

    def precopy(self, vmm):
        target = self.start_hop(vmm)
        self.migrate_to(target)
        self.arrive(target)

    def status(self):
        return self.at.ask("query-migrate").get("status")

    def until(self, *statuses):
        end = time.monotonic() + HOP_LIMIT_S
        while self.status() not in statuses:
            if time.monotonic() > end:
                raise DemoError(f"waited {HOP_LIMIT_S} s for the migration to be {' or '.join(statuses)}")
            self.stay(0.02)

    def postcopy(self, vmm):
        """The guest goes on on the other host before its memory is there."""
        target = self.start_hop(vmm, "postcopy-ram")
        self.at.ask("migrate-set-parameters", **{"max-bandwidth": SLOW_BYTES})
        self.migrate_to(target)
        self.until("active")
        self.at.ask("migrate-start-postcopy")
        self.arrive(target)
        with open("migrations.json", encoding="ascii") as log:
            info = json.loads(log.readlines()[-1])
        if not info["ram"].get("postcopy-bytes"):
            raise DemoError("the migration ended before it was switched to postcopy")

    def refused(self, vmm):
        """The other host's QEMU does not know what is sent, and ends; the guest goes on where it was."""
        target = self.start_hop(vmm, "return-path")
        self.migrate_to(target)
        self.until("failed")
        target.run("vmm_ended || true")
        self.wait(self.resumed, 30, "the guest to go on where it was")

    def pause(self, _vmm):
        self.at.ask("stop")
        self.stay(PAUSE_S)
        self.at.ask("cont")

    def snapshot(self, _vmm):
        """Saved, gone on, and taken back to where it was."""
        self.at.hmp("savevm one")
        self.stay(PAUSE_S)
        self.at.hmp("loadvm one")
        self.at.hmp("delvm one")

    def restart(self, vmm):
        """Paused, saved, and loaded by another process."""
        self.at.ask("stop")
        self.stay(PAUSE_S)
        self.at.hmp("savevm one")
        self.at.end_vmm()
        self.use(vmm)
        self.at.start_vmm("-S -loadvm one")
        self.at.ask("cont")
        self.at.hmp("delvm one")

    def plug(self, _vmm):
        free = [cpu for cpu in self.at.ask("query-hotpluggable-cpus") if "qom-path" not in cpu]
        self.at.ask("device_add", driver=free[0]["type"], id="plugged", **free[0]["props"])

    def reset(self, _vmm):
        self.hello, self.has_hyperv_page = None, False
        self.at.ask("system_reset")
        self.lab_hello()

    def write(self, what):
        """Have the guest write; what it is asked after that, it answers after that."""
        register, value, vcpus = cases.WRITES[what]
        for vcpu in vcpus[:self.case.vcpus]:
            self.at.clock.send(f"W {register} {value} {vcpu}")
        self.has_hyperv_page |= register == cases.REFERENCE_TSC

    def tsc_offsets(self):
        return [int(offset) for offset in self.at.output("tsc_offsets").split()]

    def restored(self, what):
        """What the device of our series says of the guest's last restore."""
        if what not in cases.LOADS or self.program != "patched":
            return None
        return self.at.ask("qom-get", path="/machine/kvmclock", property="restored")

    def hyperv_page(self):
        """Sequence, scale, offset."""
        if not self.has_hyperv_page:
            return None
        said = self.at.ask("human-monitor-command", **{"command-line": f"xp /3gx {cases.HYPERV_PAGE:#x}"})
        return [int(word, 16) for word in said.split() if word.startswith("0x")]

    def step(self, number, step, vmm, before):
        """What is read after it is what is before the next."""
        vcpus = self.case.vcpus
        self.states.clear()
        offsets = [self.tsc_offsets()]
        if step.what in cases.WRITES:
            self.write(step.what)
        else:
            getattr(self, step.what)(vmm)
        self.stay(0.2)
        after = self.read_clocks(vcpus + SPARE if step.what == "plug" else vcpus)
        offsets.append(self.tsc_offsets())
        print(json.dumps({"case": self.case.name, "step": number, "stopped": self.stopped(), "khz": self.khz,
                          "before": before, "after": after, "offsets": offsets, "hyperv": self.hyperv_page(),
                          "restored": self.restored(step.what)}),
              file=self.steps, flush=True)
        return after

    def run_case(self, case):
        self.begin(case)
        self.progress.say(f"{case.name}: the guest is up, {self.hello[2:]}")
        vmm, clocks = case.vmm, self.read_clocks(case.vcpus)
        for number, step in enumerate(case.steps):
            if step.what in ("precopy", "postcopy"):
                vmm = step.vmm or vmm
            clocks = self.step(number, step, step.vmm or vmm, clocks)
            self.progress.say(f"{case.name}: {step.what}, {vmm}")
        self.end()

    def refuses_to_start(self, kvm, arguments, why):
        """The QEMU with our series, with properties that do not go together, or not with this KVM."""
        host = self.hosts["A"]
        host.run(f"load_kvm {kvm}")
        host.run(f"! timeout 20 {self.programs['patched']} -accel kvm -cpu qemu64 -nodefaults -display none {arguments} 2>said "
                 f"&& grep -qF {shlex.quote(why)} said", 30)
        host.run("unload_kvm")

    def qtest(self, kvm):
        """The series' own test."""
        host = self.hosts["A"]
        host.run(f"load_kvm {kvm}")
        host.run(f"QTEST_QEMU_BINARY={shlex.quote(self.programs['patched'])} timeout {QTEST_S} "
                 f"{shlex.quote(self.programs['qtest'])} -k >said 2>&1 || {{ cat said; false; }}", QTEST_S + 10)
        host.run("unload_kvm")
        self.progress.say(f"kvmclock-test passed on {kvm}")

    def note_walls(self):
        with open("walls.jsonl", "a", encoding="ascii") as out:
            print(json.dumps({name: host.wall_clock_error() for name, host in self.hosts.items()}), file=out)

    def run(self, bzimage, debians, patched, qtest, *names):
        self.programs = {"debian": debians, "patched": patched, "qtest": qtest}
        for name, host in self.hosts.items():
            host.start(bzimage)
            host.run("mount -t debugfs debugfs /sys/kernel/debug")
            self.progress.say(f"host {name} is up")
        for host in self.hosts.values():
            host.set_wall_clock()
        self.note_walls()
        self.refuses_to_start("ours", "-global kvmclock.count-pauses=on", "count-pauses needs kvmclock.x-guest-tsc=on")
        self.refuses_to_start("stock", "-global kvmclock.x-guest-tsc=on", "KVM cannot save the guest's TSC with its clock")
        for kvm in ("stock", "ours"):
            self.qtest(kvm)
        for case in cases.chosen(names):
            self.run_case(case)
        self.note_walls()
        self.shut_down()

    def close(self):
        super().close()
        self.steps.close()


if __name__ == "__main__":
    sys.exit(run_lab(TestLab, sys.argv[1], *map(os.path.abspath, sys.argv[2:6]), *sys.argv[6:]))
