# SPDX-License-Identifier: GPL-2.0-only
"""Two emulated AMD hosts, A and B, joined by a wire: boot them, run commands in them, wait for what they say.

What both parts of the demo share: lab/demo/migrate.py moves a Linux guest under QEMU between the two, lab/demo/ways.py
moves the time of a small guest in several ways. All paths are relative to the run's directory.

One thread, one loop: Lab.wait() serves all channels until what is waited for is there.
"""

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time

ASK_CYCLES = 1000       # how far apart the bounds of a TSC's constant should be, if this machine is not busy
ENOUGH_CYCLES = 10000   # how far apart they may be without another try
ASK_TRIES = 4
PATIENCE = 5            # how much longer than on an idle machine anything may take
SHARED_BYTES = 1 << 20
EMULATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emulator.sh")
ADDRESS = {"A": "10.0.0.1", "B": "10.0.0.2"}


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

    PORTS = ("control",)        # of the virtio-serial device, from 1 on; see lab/demo/host-init

    def __init__(self, name, lab):
        self.name, self.lab = name, lab
        self.process = None
        self.done, self.uptime, self.clocksource = None, None, None
        self.lines = [Line(f"{name}.{port}", getattr(self, f"on_{port}")) for port in self.PORTS]
        self.control = self.lines[0]

    def devices(self):
        """What this host has beside the channels and the wire, for QEMU's command line."""
        return []

    def settle(self, opposite=False):
        """In the emulator, before it starts: it gets one processor, and the other host's emulator another one.

        QEMU has its emulated TSC never go back. Threads that read it at the same time on different processors find each
        other's readings ahead of theirs by some cycles, and each time QEMU moves the emulated TSC on: by milliseconds per
        second while a guest reads its clock without pause. On one processor, threads take turns.

        Who talks to the emulator without pause needs the opposite processor.
        """
        self.lab.be_nice()
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[0 if (self.name == "A") != opposite else -1]})

    def start(self, bzimage):
        ports = []
        for nr, name in enumerate(self.PORTS, 1):
            ports += ["-chardev", f"socket,id={name},path={self.name}.{name},server=on,wait=off",
                      "-device", f"virtserialport,chardev={name},nr={nr}"]
        server = "on" if self.name == "A" else "off"
        mac = f"52:54:00:00:00:0{ADDRESS[self.name][-1]}"
        emulator = [
            self.lab.emulator, "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max",
            "-smp", "2", "-m", "1G",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", bzimage, "-initrd", "host.gz",
            # The emulated TSC is the physical one, which each host would calibrate differently while the emulators compete,
            # if it had another clock to do so by.
            "-append", "console=ttyS0 panic=-1 tsc=reliable no_timer_check loglevel=6 pci=lastbus=0 pty.legacy_count=0 "
            f"rcupdate.rcu_cpu_stall_timeout=300 mitigations=off nokaslr hpet=disable pmtmr=0 tsc_early_khz={self.lab.khz} "
            f"demo.ip={ADDRESS[self.name]}",
            "-serial", f"file:host-{self.name}.log",
            "-device", "virtio-serial-pci", *ports, *self.devices(),
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            "-netdev", f"stream,id=wire,addr.type=unix,addr.path=wire,server={server}",
            "-device", f"virtio-net-pci,netdev=wire,romfile=,host_mtu=16000,mac={mac}",
        ]
        # No emulator outlives its limit or this program.
        with open(f"emulator-{self.name}.log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", str(self.lab.LIMIT_S)] + emulator,
                preexec_fn=self.settle,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for line in self.lines:
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


def both(one, two):
    """The bounds of a constant that was found twice: what both allow. Should it have moved, what either allows."""
    low, high = max(one[0], two[0]), min(one[1], two[1])
    return (low, high) if low <= high else (min(one[0], two[0]), max(one[1], two[1]))


class TimedHost(Host):
    """A host whose clocks are known: it has a piece of memory that this machine shares with it (lab/hostclock.c)."""

    def __init__(self, name, lab):
        super().__init__(name, lab)
        self.said = None
        self.shared = f"{name}.shared"
        with open(self.shared, "wb") as file:
            file.truncate(SHARED_BYTES)

    def devices(self):
        return ["-object", f"memory-backend-file,id=shared,mem-path={self.shared},size={SHARED_BYTES},share=on",
                "-device", "ivshmem-plain,memdev=shared"]

    def on_control(self, text, when):
        word, _, rest = text.partition(" ")
        if word == "said":
            self.said = rest
        else:
            super().on_control(text, when)

    def tell(self, file):
        self.said = None
        self.run(f"tell {file}")
        return self.said

    def output(self, command, limit=20):
        self.run(f"{command} >said", limit)
        return self.tell("said")

    def constant(self):
        """Physical TSC minus this host's: between which bounds. On a busy machine, what several tries allow."""
        bounds = self.ask_once()
        for _ in range(ASK_TRIES - 1):
            if bounds[1] - bounds[0] <= ENOUGH_CYCLES:
                break
            bounds = both(bounds, self.ask_once())
        return bounds

    def ask_once(self):
        with open(self.shared, "r+b") as file:
            file.write(bytes(4096))
        self.run('./hostclock answer "$(shared_memory)" & answer=$!')
        # With no more right to a processor than the host that is to answer.
        asked = subprocess.run(["./hostclock", "ask", self.shared, str(ASK_CYCLES)], capture_output=True, text=True, timeout=60,
                               check=False, preexec_fn=lambda: self.settle(opposite=True))
        if asked.returncode:
            raise DemoError(f"host {self.name} does not answer for its TSC: {asked.stderr.strip()}")
        self.run("wait $answer")
        low, high, _ = map(int, asked.stdout.split())
        return low, high

    def wall_clock_error(self):
        """By how much this host's CLOCK_REALTIME is ahead of this machine's: between which bounds, in ns."""
        low, high = self.constant()
        tsc, realtime = map(int, self.output("./hostclock now").split())
        true_tsc, true_realtime = self.lab.wall_clock
        return tuple(realtime - true_realtime - self.lab.cycles_to_ns(tsc + bound - true_tsc) for bound in (high, low))

    def set_wall_clock(self):
        """To what this machine's shows."""
        self.run(f"./hostclock shift {-sum(self.wall_clock_error()) // 2}")


class Lab:
    """The two hosts, and the loop that serves them."""

    HOST = Host
    LIMIT_S = 900       # no emulator lives longer

    def __init__(self, nice, name):
        self.nice, self.progress = nice, Progress(name)     # the emulators' niceness
        self.selector = selectors.DefaultSelector()
        self.emulator = self.output(EMULATOR, seconds=60).decode().strip()
        self.hosts = {name: self.HOST(name, self) for name in "AB"}
        self.khz = int(self.output("./hostclock", "khz"))
        # This machine's TSC and wall clock, of one instant.
        self.wall_clock = tuple(map(int, self.output("./hostclock", "now").split()))
        self.ending = False

    @staticmethod
    def output(*command, seconds=10):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds).stdout

    def cycles_to_ns(self, cycles):
        return cycles * 1_000_000 // self.khz

    def be_nice(self):
        os.setpriority(os.PRIO_PROCESS, 0, self.nice)

    def wait(self, condition, limit, what):
        """Serve the hosts until the condition holds; a DemoError after `limit` seconds, by far more on a machine that is busy."""
        end = time.monotonic() + limit * PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise DemoError(f"waited {limit * PATIENCE} s for {what}")
            for host in self.hosts.values():
                if not self.ending and host.process and host.process.poll() is not None:
                    raise DemoError(f"the emulator of host {host.name} died: emulator-{host.name}.log, waiting for {what}")
            self.serve()

    def idle(self):
        """What there is to do while waiting."""

    def serve(self):
        self.idle()
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

    def shut_down(self):
        self.ending = True
        for host in self.hosts.values():
            host.power_off()
        self.progress.say("both hosts are off")

    def close(self):
        for host in self.hosts.values():
            host.kill()


def stopped(_number, _frame):
    raise DemoError("stopped by a signal")


def run_lab(lab_class, directory, *arguments):
    """Run a lab in its directory; the exit status."""
    # Names of sockets are short because they are relative, wherever the checkout is.
    os.chdir(directory)
    for tool in ("setpriv", "timeout"):
        if not shutil.which(tool):
            sys.exit(f"{os.path.basename(sys.argv[0])}: {tool} is missing")
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, stopped)
    # Who measures should not wait for who emulates; without the right to ask for that, the error bounds grow a bit.
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice - 10)
    lab = lab_class(nice, f"demo {os.path.basename(os.path.abspath('.'))}")
    try:
        lab.run(*arguments)
    except DemoError as error:
        lab.progress.say(f"error: {error}")
        return 1
    finally:
        lab.close()
    return 0
