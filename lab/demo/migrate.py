#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot two emulated AMD hosts, run a guest in A, migrate it to B and back, and note what its clock says all the time.

    lab/demo/migrate.py DIRECTORY BZIMAGE QEMU [ARGUMENT...]

DIRECTORY holds host.gz (lab/demo/images.sh) and gets samples.tsv, events.tsv, walls.tsv, the consoles and the sockets. QEMU is
the VMM in the hosts, with these arguments beside what it needs.

The hosts' wall clocks are set to this machine's, which is what a migration goes by; walls.tsv says how well, at the end.

Truth is this machine's CLOCK_MONOTONIC_RAW, which no NTP slews. A sample is a request that goes down to the program in the
guest and an answer that comes back with the guest's clock: the reading was taken between the two times noted here, so
guest minus truth lies in [guest - received, guest - sent] without any assumption on the latency, which nested emulation
makes long and uneven. Half of the round trip is the error bound of one sample; lab/demo/report.py takes the best of many.

Whatever this program waits for, it goes on sampling.
"""

import json
import os
import sys
import time

from hosts import ADDRESS, DemoError, Lab, TimedHost, now_ns, run_lab

PERIOD_NS = 20_000_000      # between two requests
RETRY_NS = 400_000_000      # when a request went to a guest that has left
STAY_S = 8                  # on each host, before, between and after the hops
HOP_LIMIT_S = 300
MIGRATION_PORT = 4444       # in the network of the two hosts; the physical machine never sees it


class GuestHost(TimedHost):
    """A host with a QEMU in it, and the channels to that one and to its guest."""

    PORTS = ("control", "qmp", "clock")

    def __init__(self, name, lab):
        super().__init__(name, lab)
        self.replies, self.ids, self.greeted = {}, 0, False
        self.asked_ns, self.waiting = 0, False
        self.sampled = False
        self.qmp, self.clock = self.lines[1:]

    def devices(self):
        return [*super().devices(), "-chardev", f"file,id=console,path=guest-on-{self.name}.log,append=on",
                "-device", "virtserialport,chardev=console,nr=4"]

    def on_qmp(self, text, when):
        message = json.loads(text)
        if "QMP" in message:
            self.greeted = True
        elif message.get("event") in ("STOP", "RESUME"):
            self.lab.on_run_state(self.name, message["event"], when)
        elif "id" in message:
            self.replies[message["id"]] = message

    def ask(self, command, limit=20, **arguments):
        """A command to the guest's VMM on this host, in QMP."""
        self.ids += 1
        number = self.ids
        self.qmp.send(json.dumps({"execute": command, "arguments": arguments, "id": number}))
        self.lab.wait(lambda: number in self.replies, limit, f"QMP {command} on host {self.name}")
        reply = self.replies.pop(number)
        if "return" not in reply:
            raise DemoError(f"QMP {command} on host {self.name}: {reply.get('error')}")
        return reply["return"]

    def start_vmm(self, *arguments):
        self.greeted = False
        self.run(" ".join(("vmm", *self.lab.vmm, *arguments)))
        self.lab.wait(lambda: self.greeted, 60, f"QEMU in host {self.name}")
        self.ask("qmp_capabilities")
        # The reading vCPUs take all they get: what moves the guest and what answers must come before them.
        threads = [str(cpu["thread-id"]) for cpu in self.ask("query-cpus-fast")]
        self.run("renice -n 10 -p " + " ".join(threads) + " >/dev/null")

    def await_guest(self):
        self.start_vmm("-incoming", f"tcp:0:{MIGRATION_PORT}")

    def end_vmm(self):
        self.ask("quit")
        self.run("vmm_ended")

    def on_clock(self, text, when):
        if text.startswith("R "):
            self.waiting = False
            self.sampled = True
            self.lab.on_answer(self.name, text.split()[1:], when)
        elif text.startswith("H "):
            self.lab.hello = text

    def request_sample(self):
        now = now_ns()
        if now - self.asked_ns < (RETRY_NS if self.waiting else PERIOD_NS):
            return
        self.asked_ns, self.waiting = now, True
        self.clock.send(str(self.lab.next_request()))


class MigrationLab(Lab):
    """The two hosts with their guest, and what was written down about it."""

    HOST = GuestHost

    def __init__(self, nice, name):
        super().__init__(nice, name)
        self.sampling = []          # hosts on which the guest may be
        self.sent = []              # when each request went out
        self.hello = None
        self.vmm = ()               # QEMU and its arguments
        self.run_state = {}         # when QEMU on a host said STOP or RESUME
        self.samples = open("samples.tsv", "w", encoding="ascii")
        self.events = open("events.tsv", "w", encoding="ascii")

    def idle(self):
        for host in self.sampling:
            host.request_sample()

    def next_request(self):
        self.sent.append(now_ns())
        return len(self.sent) - 1

    def on_answer(self, name, fields, when):
        sent = self.sent[int(fields[0])]
        print(name, sent, when, *fields, sep="\t", file=self.samples)

    def on_run_state(self, name, state, when):
        self.run_state[name, state] = when

    def event(self, name, *values):
        print(now_ns(), name, *values, sep="\t", file=self.events)

    def boot(self, bzimage):
        host_a, host_b = self.hosts["A"], self.hosts["B"]
        host_a.start(bzimage)
        self.progress.say("host A is up")
        host_a.start_vmm()
        self.lab_hello()
        self.progress.say(f"guest is up in A: {self.hello[2:]}")
        host_b.start(bzimage)
        self.progress.say("host B is up; its monotonic clock is younger than A's")
        host_b.await_guest()
        for host in self.hosts.values():
            host.set_wall_clock()
        self.sampling = [host_a]
        self.wait(lambda: host_a.sampled, 20, "the guest's first answer")

    def lab_hello(self):
        self.wait(lambda: self.hello, 120, "the guest to boot")

    def hop(self, number, source, target):
        """One live migration, by the commands a user of QEMU gives."""
        up_a, up_b = self.uptimes()
        target.sampled = False
        self.run_state.clear()
        self.event("hop", number, source.name, target.name, up_a, up_b)
        source.ask("migrate", uri=f"tcp:{ADDRESS[target.name]}:{MIGRATION_PORT}")
        self.sampling = [source, target]
        info = self.migrated(source)
        self.wait(lambda: target.sampled, 30, f"the guest's first answer from host {target.name}")
        self.sampling = [target]
        self.wait(lambda: self.stopped_ms(source, target) is not None, 10, "QEMU to say when it stopped and resumed")
        down = self.stopped_ms(source, target)
        self.event("arrived", number, source.name, target.name, down, info["downtime"], info["total-time"])
        source.end_vmm()
        self.progress.say(f"hop {number}, {source.name} to {target.name} (monotonic clocks {up_a:.1f} s and {up_b:.1f} s): "
                          f"took {info['total-time'] / 1000:.1f} s, guest stopped for {down:.0f} ms")

    def stopped_ms(self, source, target):
        """From the source's STOP to the target's RESUME, as they arrived here."""
        stop, resume = self.run_state.get((source.name, "STOP")), self.run_state.get((target.name, "RESUME"))
        return round((resume - stop) / 1e6, 1) if stop and resume else None

    def migrated(self, source):
        end = time.monotonic() + HOP_LIMIT_S
        while time.monotonic() < end:
            info = source.ask("query-migrate")
            if info.get("status") == "completed":
                # QEMU fills in the times just after the status.
                self.stay(0.5)
                info = source.ask("query-migrate")
                with open("migrations.json", "a", encoding="ascii") as log:
                    print(json.dumps(info), file=log)
                return info
            if info.get("status") in ("failed", "cancelled"):
                raise DemoError(f"migration {info['status']}: {info.get('error-desc')}")
            self.stay(0.2)
        raise DemoError(f"the migration did not end in {HOP_LIMIT_S} s")

    def note_wall_clocks(self):
        with open("walls.tsv", "w", encoding="ascii") as out:
            for name, host in self.hosts.items():
                print(name, *host.wall_clock_error(), sep="\t", file=out)

    def run(self, bzimage, *vmm):
        self.vmm = vmm
        host_a, host_b = self.hosts["A"], self.hosts["B"]
        self.boot(bzimage)
        self.event("begin")
        self.stay(STAY_S)
        self.hop(1, host_a, host_b)
        host_a.await_guest()
        self.stay(STAY_S)
        self.hop(2, host_b, host_a)
        self.stay(STAY_S)
        self.event("end", len(self.sent))
        self.sampling = []
        self.ending = True
        host_a.end_vmm()
        self.ending = False
        self.note_wall_clocks()
        self.shut_down()
        self.event("off")

    def close(self):
        super().close()
        self.samples.close()
        self.events.close()


if __name__ == "__main__":
    sys.exit(run_lab(MigrationLab, sys.argv[1], os.path.abspath(sys.argv[2]), *sys.argv[3:]))
