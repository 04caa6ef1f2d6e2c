"""Keeps one virtual machine up, and lets clients run commands in it. Starts it anew after whatever may have damaged it.

Usage: keeper.py FOLDER --kernel VERSION [options]

FOLDER is where everything of this machine lies. `dev` writes into it before:
  virtiofsd   its command, as strings that end with NUL
  qemu        its command, also as strings that end with NUL
  settings    what init and the agent read in the machine
and these come into being here:
  control     the socket that clients connect to
  lock        held as long as this process lives
  pid         its number
  console     what the kernel has said since the last boot
  up          made by init: the kernel has booted
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import select
import selectors
import signal
import socket
import subprocess
import sys
import time

import frames

# What a kernel says that something is wrong with it. kernel/selftests/liburing_tests.sh and `dev` look for the same.
COMPLAINT = re.compile(r"(WARNING|BUG|KASAN|UBSAN|INFO): |Oops: |general protection fault|Kernel panic")
# What kernels of the archive complain of through no fault of a test: a worker thread that is made inside of a loop starts unable to move to
# another CPU, and the scheduler notices when it tries. Ours have a patch ("fork: don't pass migrate_disable on to the child").
KNOWN = re.compile(r"WARNING: .*\bset_task_cpu\b")
# What init and the agent write among the kernel's messages.
MARK = re.compile(r"ringstep: (the kernel is up|(begin|end) [0-9]+)")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r")
PR_SET_PDEATHSIG = 1


def say(*words):
    print(*words, flush=True)


class Failed(Exception):
    """The machine cannot be started, or is gone."""


def readable(console):
    """Without the marks that the agent makes between jobs."""
    text = ESCAPES.sub("", console.decode(errors="replace"))
    return "\n".join(line for line in text.splitlines() if not MARK.search(line))


def whole_lines(console):
    """Without the last line if that has not ended."""
    return console[: console.rfind(b"\n") + 1]


def complains(text, known=None):
    """Whether one of the lines is a complaint, and not a known one."""
    return any(COMPLAINT.search(line) and not (known and known.search(line)) for line in text.splitlines())


def last_lines(text, count):
    return "\n".join(text.splitlines()[-count:])


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def read_command(name):
    with open(name, "rb") as file:
        return [word.decode() for word in file.read().split(b"\0")[:-1]]


class Machine:
    def __init__(self, options):
        self.options = options
        self.processes = []
        self.agent = None
        self.boots = 0

    def processor_time(self):
        """The seconds of processor time that QEMU and virtiofsd have taken. What has ended counts as none."""
        ticks = 0
        for process in self.processes:
            try:
                with open(f"/proc/{process.pid}/stat") as file:
                    fields = file.read().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def is_up(self):
        return self.agent is not None

    def console(self, start=0):
        try:
            with open("console", "rb") as file:
                file.seek(start)
                return file.read()
        except FileNotFoundError:
            return b""

    def console_size(self):
        try:
            return os.stat("console").st_size
        except FileNotFoundError:
            return 0

    def spawn(self, name):
        log = open(f"{name}.log", "ab")
        process = subprocess.Popen(read_command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        log.close()
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
        if self.agent is not None:
            self.agent.close()
            self.agent = None

    def wait_for(self, process, what, condition, deadline):
        while not condition():
            if process.poll() is not None:
                raise Failed(f"{what}: it ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {self.options.boot_seconds} s")
            time.sleep(0.02)

    def boot_once(self):
        for name in ("fs", "agent", "up", "console", "virtiofsd.log", "qemu.log"):
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass
        if os.path.exists("disk"):
            size = os.stat("disk").st_size
            os.truncate("disk", 0)
            os.truncate("disk", size)
        deadline = time.monotonic() + self.options.boot_seconds
        files = self.spawn("virtiofsd")
        self.wait_for(files, "starting virtiofsd", lambda: os.path.exists("fs"), deadline)
        self.qemu = self.spawn("qemu")
        self.wait_for(self.qemu, "starting QEMU", lambda: os.path.exists("agent"), deadline)
        agent = socket.socket(socket.AF_UNIX)
        agent.connect("agent")
        self.wait_for(self.qemu, "booting", lambda: os.path.exists("up"), deadline)
        self.reader = frames.Reader()
        # The kernel is up: what is left takes long only on a machine that is very busy.
        deadline = time.monotonic() + self.options.boot_seconds
        hello = False
        while not hello:
            if not select.select([agent], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failed("the agent in the machine does not answer")
            data = agent.recv(65536)
            if not data:
                raise Failed("the machine ended while it started")
            hello = any(kind == frames.HELLO for kind, _, _ in self.reader.feed(data))
        self.agent = agent

    def boot(self):
        """Emulated machines now and then hang or trip while they boot, when this one is busy: so there are some tries."""
        for _ in range(self.options.boot_tries):
            start = time.monotonic()
            try:
                self.boot_once()
                self.boots += 1
                say(f"up after {time.monotonic() - start:.1f} s")
                return
            except (Failed, OSError) as error:
                reason = str(error)
                said = [last_lines(readable(self.console()), 40)]
                for name in ("virtiofsd.log", "qemu.log"):
                    try:
                        with open(name, errors="replace") as file:
                            said.append(last_lines(file.read(), 10))
                    except FileNotFoundError:
                        pass
                self.end()
                say(f"no machine: {reason}")
        raise Failed(f"the machine did not start ({reason}). It said last:\n" + "\n".join(filter(None, said)))


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.reader = frames.Reader()
        self.job = None

    def send(self, kind, data=b""):
        try:
            self.connection.sendall(frames.pack(kind, 0, data))
        except OSError:
            pass  # it is gone, which shows when it is read from


class Job:
    def __init__(self, client, request):
        self.client = client
        self.request = request
        self.deadline = None
        self.number = None


class Keeper:
    def __init__(self, options):
        self.options = options
        self.machine = Machine(options)
        self.selector = selectors.DefaultSelector()
        self.waiting = []
        self.running = {}
        self.numbers = 0
        self.last_name = "the start"
        self.late = []  # complaints and crashes that came when nothing ran
        self.looked_at = 0  # how much of the console is accounted for. A line that has not ended is not
        self.last_used = time.monotonic()
        self.stopper = None
        self.known = None if options.patched else KNOWN

    # --- The machine ---

    def ensure_machine(self):
        if not self.machine.is_up():
            self.machine.boot()
            self.selector.register(self.machine.agent, selectors.EVENT_READ, "agent")
            self.looked_at = self.machine.console_size()

    def throw_away(self, why):
        """Ends the machine. The next job gets a new one."""
        if not self.machine.is_up():
            return
        say(f"throwing the machine away: {why}")
        self.selector.unregister(self.machine.agent)
        self.machine.end()
        for number in list(self.running):
            self.finish(number, {"status": 125, "gone": why, "left": []})

    def look_for_late_complaints(self, at_the_end=False):
        """Looks for what the kernel has complained of when nothing ran. At the end, a line counts that has not ended, too."""
        if self.running or not self.machine.is_up() or self.machine.console_size() <= self.looked_at:
            return
        said = self.machine.console(self.looked_at)
        if not at_the_end:
            said = whole_lines(said)
        if complains(readable(said), self.known):
            time.sleep(0.5)  # for the rest of it
            said = readable(self.machine.console(self.looked_at))
            self.late.append({"after": self.last_name, "what": "the kernel complained", "console": said})
            self.throw_away(f"the kernel complained after {self.last_name}")
        self.looked_at += len(said)

    def lose(self, why):
        """The machine has ended by itself. If nothing ran, that is nobody's failure yet: who ends this keeper hears of it."""
        if not self.machine.is_up():
            return
        if not self.running:
            said = readable(self.machine.console(self.looked_at))
            self.late.append({"after": self.last_name, "what": f"the machine was lost: {why}", "console": said})
        self.throw_away(why)

    # --- Jobs ---

    def dispatch(self):
        while self.waiting and not (self.options.one_at_a_time and self.running):
            self.look_for_late_complaints()
            job = self.waiting.pop(0)
            try:
                self.ensure_machine()
            except Failed as error:
                job.client.send(frames.DONE, {"status": 125, "gone": str(error), "unbooted": True})
                job.client.job = None
                continue
            self.numbers += 1
            job.number = self.numbers
            job.console_start = self.looked_at
            if self.running:
                job.console_start += len(whole_lines(self.machine.console(self.looked_at)))
            if job.request.get("limit"):
                job.deadline = time.monotonic() + job.request["limit"] + self.options.hung_after
            self.running[job.number] = job
            job.processor_time = self.machine.processor_time()
            self.to_agent(frames.RUN, job.number, job.request)

    def to_agent(self, kind, number, data=b""):
        try:
            self.machine.agent.sendall(frames.pack(kind, number, data))
        except OSError as error:
            self.lose(f"it does not take commands: {error}")

    def finish(self, number, report):
        job = self.running.pop(number, None)
        if job is None:
            return
        mark = f"ringstep: end {number}\r\n".encode()
        deadline = time.monotonic() + 2
        said = self.machine.console(job.console_start)
        while self.machine.is_up() and mark not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said = self.machine.console(job.console_start)
        if mark in said:
            said = said[: said.index(mark) + len(mark)]
        self.looked_at = max(self.looked_at, job.console_start + len(whole_lines(said)))
        report["console"] = readable(said)
        report["complained"] = complains(report["console"], self.known)
        report["kernel"] = self.options.kernel
        self.last_name = job.request.get("name") or "a command"
        if costs := os.environ.get("RINGSTEP_VM_COSTS"):
            try:
                with open(costs, "a") as file:
                    file.write(f"{self.machine.processor_time() - job.processor_time:.2f} {self.last_name}\n")
            except OSError as error:
                say(f"RINGSTEP_VM_COSTS: {error}")  # the job's result does not depend on it
        self.last_used = time.monotonic()
        if job.client is not None:
            job.client.send(frames.DONE, report)
            job.client.job = None
        for key, why in (("complained", "the kernel complained"), ("timeout", "a command took too long"), ("stuck", "processes do not end"),
                         ("error", "a command's supervisor has failed"),
                         ("left" if self.options.strict else "", "a command left something behind")):
            if report.get(key):
                self.throw_away(f"{why} ({self.last_name})")

    def check_deadlines(self):
        for number, job in list(self.running.items()):
            if job.deadline is not None and time.monotonic() > job.deadline:
                self.finish(number, {"status": 124, "timeout": True, "hung": True, "left": [], "where": ["The machine does not answer any more."]})
                self.throw_away("it does not answer any more")

    def from_agent(self):
        try:
            data = self.machine.agent.recv(65536)
        except OSError:
            data = b""
        if not data:
            # What a kernel says while it goes down.
            try:
                self.machine.qemu.wait(10)
            except subprocess.TimeoutExpired:
                pass  # and is ended
            self.lose("it went down")
            return
        for kind, number, payload in self.machine.reader.feed(data):
            job = self.running.get(number)
            if kind == frames.DONE:
                self.finish(number, json.loads(payload))
                if not self.machine.is_up():
                    return
            elif job is not None and job.client is not None:
                job.client.send(kind, payload)

    # --- Clients ---

    def from_client(self, client):
        try:
            data = client.connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(client.connection)
            client.connection.close()
            if client.job is not None:
                client.job.client = None
                if client.job.number is None:
                    self.waiting.remove(client.job)
                elif self.machine.is_up():
                    self.to_agent(frames.KILL, client.job.number)
            return
        for kind, _, payload in client.reader.feed(data):
            if kind == frames.RUN:
                client.job = Job(client, json.loads(payload))
                self.waiting.append(client.job)
            elif kind == frames.PING:
                try:
                    self.ensure_machine()
                    client.send(frames.DONE, {"status": 0, "boots": self.machine.boots})
                except Failed as error:
                    client.send(frames.DONE, {"status": 125, "gone": str(error)})
            elif kind == frames.STOP:
                self.stopper = client
            elif client.job is not None and client.job.number in self.running and self.machine.is_up():
                self.to_agent(kind, client.job.number, payload)

    def serve(self):
        listener = socket.socket(socket.AF_UNIX)
        try:
            os.unlink("control")
        except FileNotFoundError:
            pass
        listener.bind("control")
        listener.listen(64)
        identity = os.stat("control").st_ino
        self.selector.register(listener, selectors.EVENT_READ, "listener")
        try:
            self.ensure_machine()
        except Failed as error:
            say(error)  # clients hear of it when they come
        while True:
            for key, _ in self.selector.select(0.2):
                if key.data == "listener":
                    client = Client(listener.accept()[0])
                    self.selector.register(client.connection, selectors.EVENT_READ, client)
                elif key.data == "agent":
                    if self.machine.is_up():
                        self.from_agent()
                else:
                    self.from_client(key.data)
            self.check_deadlines()
            self.look_for_late_complaints()
            self.dispatch()
            if self.stopper is not None and not self.running:
                self.look_for_late_complaints(at_the_end=True)
                self.stopper.send(frames.DONE, {"status": 0, "late": self.late, "boots": self.machine.boots, "jobs": self.numbers})
                break
            if self.options.idle and not self.running and time.monotonic() > self.last_used + self.options.idle:
                say(f"nobody has used it for {self.options.idle} s")
                break
            try:
                if os.stat("control").st_ino != identity:
                    break
            except FileNotFoundError:
                break  # somebody has removed the folder
        self.machine.end()
        try:
            os.unlink("control")
        except FileNotFoundError:
            pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--boot-seconds", type=int, default=60)
    parser.add_argument("--boot-tries", type=int, default=3)
    parser.add_argument("--idle", type=int, default=0)
    # The agent ends a command at its limit.
    parser.add_argument("--hung-after", type=int, default=12, help="how much longer than its limit a command may take before the machine hangs")
    parser.add_argument("--one-at-a-time", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--patched", action="store_true", help="the kernel is one of ours: no complaint is a known one")
    options = parser.parse_args()
    # Names of sockets may have 107 characters: none of them is said in full.
    os.chdir(options.folder)
    lock = open("lock", "w")
    # Whoever waits for this keeper tries the lock, too, and holds it for a moment.
    for tries in range(100):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if tries == 99:
                raise
            time.sleep(0.05)
    with open("pid", "w") as file:
        file.write(f"{os.getpid()}\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keeper = Keeper(options)
    try:
        keeper.serve()
    finally:
        keeper.machine.end()


if __name__ == "__main__":
    main()
