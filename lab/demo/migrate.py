#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot two emulated AMD hosts, run a guest in A, migrate it to B and back, and note what its clock says all the time.

    lab/demo/migrate.py DIRECTORY BZIMAGE

DIRECTORY holds host.gz (lab/demo/images.sh) and gets samples.tsv, events.tsv, the consoles and the sockets.

Truth is this machine's CLOCK_MONOTONIC_RAW, which no NTP slews. A sample is a request that goes down to the program in the
guest and an answer that comes back with the guest's clock: the reading was taken between the two times noted here, so
guest minus truth lies in [guest - received, guest - sent] without any assumption on the latency, which nested emulation
makes long and uneven. Half of the round trip is the error bound of one sample; lab/demo/report.py takes the best of many.

One thread, one loop: whatever this program waits for, it goes on sampling.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time

PERIOD_NS = 20_000_000      # between two requests
RETRY_NS = 400_000_000      # when a request went to a guest that has left
STAY_S = 8                  # on each host, before, between and after the hops
HOP_LIMIT_S = 120
EMULATOR_LIMIT_S = 400
ADDRESS = {"A": "10.0.0.1", "B": "10.0.0.2"}
MIGRATION_PORT = 4444       # in the network of the two hosts; the physical machine never sees it


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Progress:
    def __init__(self, name):
        self.name, self.start = name, time.monotonic()

    def say(self, text):
        print(f"[{self.name}] {time.monotonic() - self.start:5.1f} s  {text}", flush=True)


class Line:
    """A line-wise channel: one virtio-serial port of an emulated host."""

    def __init__(self, path, handler):
        self.path, self.handler, self.sock, self.rest = path, handler, None, b""

    def connect(self, selector):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            return False
        self.sock = sock
        selector.register(sock, selectors.EVENT_READ, self)
        return True

    def receive(self, when):
        data = self.sock.recv(65536)
        if not data:
            raise DemoError(f"the emulator closed {self.path}")
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.handler(line.decode(errors="replace").strip(), when)

    def send(self, text):
        self.sock.sendall(text.encode() + b"\n")


class Host:
    """An emulated AMD host: the outer QEMU, and the channels into it."""

    def __init__(self, name, lab):
        self.name, self.lab = name, lab
        self.process = None
        self.done, self.uptime, self.clocksource = None, None, None
        self.replies, self.ids, self.greeted = {}, 0, False
        self.asked_ns, self.waiting = 0, False
        self.sampled = False
        self.control = Line(f"{name}.control", self.on_control)
        self.qmp = Line(f"{name}.qmp", self.on_qmp)
        self.clock = Line(f"{name}.clock", self.on_clock)

    def start(self, bzimage):
        ports = []
        for nr, name in enumerate(("control", "qmp", "clock"), 1):
            ports += ["-chardev", f"socket,id={name},path={self.name}.{name},server=on,wait=off",
                      "-device", f"virtserialport,chardev={name},nr={nr}"]
        server = "on" if self.name == "A" else "off"
        mac = f"52:54:00:00:00:0{ADDRESS[self.name][-1]}"
        emulator = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max",
            "-smp", "2", "-m", "1G",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", bzimage, "-initrd", "host.gz",
            # The emulated TSC is the physical one, which each host would calibrate differently while the emulators compete.
            "-append", "console=ttyS0 panic=-1 tsc=reliable loglevel=6 pci=lastbus=0 pty.legacy_count=0 "
            f"rcupdate.rcu_cpu_stall_timeout=60 setcpuid=tsc_known_freq tsc_early_khz={self.lab.khz} "
            f"demo.ip={ADDRESS[self.name]}",
            "-serial", f"file:host-{self.name}.log",
            "-device", "virtio-serial-pci", *ports,
            "-chardev", f"file,id=console,path=guest-on-{self.name}.log,append=on",
            "-device", "virtserialport,chardev=console,nr=4",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            "-netdev", f"stream,id=wire,addr.type=unix,addr.path=wire,server={server}",
            "-device", f"virtio-net-pci,netdev=wire,romfile=,host_mtu=16000,mac={mac}",
        ]
        # No emulator outlives its limit or this program.
        with open(f"emulator-{self.name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", str(EMULATOR_LIMIT_S)] + emulator,
                preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, self.lab.nice),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for line in (self.control, self.qmp, self.clock):
            self.lab.wait(lambda line=line: line.connect(self.lab.selector), 10, f"{self.name}'s port {line.path}")
        self.lab.wait(lambda: self.clocksource, 90, f"host {self.name} to boot")
        if self.clocksource != "tsc":
            raise DemoError(f"the clocksource of host {self.name} is {self.clocksource}, not tsc")

    def on_control(self, text, _when):
        word, _, rest = text.partition(" ")
        if word == "ready":
            self.clocksource = rest
        elif word == "uptime":
            self.uptime = float(rest)
        elif word == "done":
            self.done = int(rest)

    def run(self, command, limit=20):
        """Run a line of shell in the host; its status must be 0."""
        self.done = None
        self.control.send(command)
        self.lab.wait(lambda: self.done is not None, limit, f"'{command}' on host {self.name}")
        if self.done:
            raise DemoError(f"'{command}' on host {self.name} ended with status {self.done}")

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
        self.run(" ".join(("vmm",) + arguments))
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

    def power_off(self):
        self.control.send("/bin/busybox poweroff -f")
        self.lab.wait(lambda: self.process.poll() is not None, 30, f"host {self.name} to power off")
        if self.process.returncode:
            raise DemoError(f"the emulator of host {self.name} ended with status {self.process.returncode}")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


class Lab:
    """The two hosts, the loop that serves them, and what it wrote down."""

    def __init__(self, nice, name):
        self.nice, self.progress = nice, Progress(name)     # the emulators' niceness
        self.selector = selectors.DefaultSelector()
        self.hosts = {name: Host(name, self) for name in "AB"}
        self.sampling = []          # hosts on which the guest may be
        self.sent = []              # when each request went out
        self.khz = int(subprocess.run(["./clockwatch", "khz"], check=True, capture_output=True, timeout=10).stdout)
        self.hello = None
        self.run_state = {}         # when QEMU on a host said STOP or RESUME
        self.ending = False
        self.samples = open("samples.tsv", "w", encoding="ascii")
        self.events = open("events.tsv", "w", encoding="ascii")

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

    def wait(self, condition, limit, what):
        """Serve the hosts until the condition holds; a DemoError after `limit` seconds."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise DemoError(f"waited {limit} s for {what}")
            for host in self.hosts.values():
                if not self.ending and host.process and host.process.poll() is not None:
                    raise DemoError(f"the emulator of host {host.name} died: emulator-{host.name}.log, waiting for {what}")
            self.serve()

    def serve(self):
        for host in self.sampling:
            host.request_sample()
        for key, _ in self.selector.select(0.005):
            when = now_ns()
            try:
                key.data.receive(when)
            except (OSError, DemoError):
                if not self.ending:
                    raise
                self.selector.unregister(key.fileobj)

    def stay(self, seconds):
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, seconds + 1, "time to pass")

    def uptimes(self):
        for host in self.hosts.values():
            host.run("uptime")
        return self.hosts["A"].uptime, self.hosts["B"].uptime

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

    def run(self, bzimage):
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
        self.shut_down()

    def shut_down(self):
        self.sampling, self.ending = [], True
        self.hosts["A"].end_vmm()
        for host in self.hosts.values():
            host.power_off()
        self.event("off")
        self.progress.say("both hosts are off")

    def close(self):
        for host in self.hosts.values():
            host.kill()
        self.samples.close()
        self.events.close()


def stopped(_number, _frame):
    raise DemoError("stopped by a signal")


def main():
    directory, bzimage = sys.argv[1], os.path.abspath(sys.argv[2])
    # Names of sockets are short because they are relative, wherever the checkout is.
    os.chdir(directory)
    for tool in ("qemu-system-x86_64", "setpriv", "timeout"):
        if not shutil.which(tool):
            sys.exit(f"migrate.py: {tool} is missing")
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, stopped)
    # Who samples should not wait for who emulates; without the right to ask for that, the error bounds grow a bit.
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice - 10)
    lab = Lab(nice, f"demo {os.path.basename(os.path.abspath('.'))}")
    try:
        lab.run(bzimage)
    except DemoError as error:
        lab.progress.say(f"error: {error}")
        return 1
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
