"""Runs in a virtual machine that is kept up: takes commands from the host over a virtio port and runs each as a job of its own.

Usage: agent.py PORT

A job is a shell script. It gets a session, a mount namespace with an empty /tmp, and a supervisor: a process that all its descendants
fall to, so that none of them escapes. When the script has ended, or its time is up, the supervisor ends what still runs and reports it, together
with mounts and files that the job has left. What belongs to the whole machine (loaded BPF programs, loop devices, settings of the kernel)
is compared by the agent itself.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import struct
import sys
import termios
import time
import traceback

import frames

# How long processes and attached loops may take to go away after the script has ended.
GRACE = 1.5
# How long a process may take to die of SIGKILL before it counts as stuck.
DEATH = 10
# Leftovers of one kind that are named.
MOST_NAMED = 10

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_BPF = 321
BLKZEROOUT, BLKFLSBUF = 0x127F, 0x1261

# Folders that each job has for itself, and their modes.
PRIVATE = {"/tmp": "mode=1777", "/var/tmp": "mode=1777", "/dev/shm": "mode=1777"}
DISK = "/dev/nvme0n1"
# Folders that jobs share, in which nothing may be left.
WATCHED = ("/run",)
# What mount and blkid remember there.
NOBODYS = {"/run/mount", "/run/blkid"}
# Settings of the kernel that change by themselves.
VOLATILE = {
    "kernel/ns_last_pid", "kernel/random", "kernel/pty", "kernel/keys", "kernel/perf_event_max_sample_rate", "kernel/tainted",
    "kernel/max_lock_depth", "kernel/bootloader_version", "kernel/perf_cpu_time_max_percent", "vm/stat_refresh", "vm/drop_caches",
    "vm/compact_memory", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/dentry-state", "fs/aio-nr", "fs/negative-dentry-limit",
}


def named(items):
    items = sorted(items)
    more = len(items) - MOST_NAMED
    return items[:MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])


def read_file(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return None


# --- What belongs to the whole machine ---


def bpf(command, attributes):
    return libc.syscall(SYS_BPF, command, attributes, len(attributes))


# Kind: how to ask for the next number, how to open one by its number, and where in its description the name is.
BPF_KINDS = {"BPF program": (11, 13, 64), "BPF map": (12, 14, 24), "BPF link": (31, 30, None)}


def bpf_objects():
    """All programs, maps and links, as pairs of kind and number."""
    found = set()
    for kind, (next_id, _, _) in BPF_KINDS.items():
        number = 0
        while True:
            attributes = ctypes.create_string_buffer(struct.pack("III", number, 0, 0), 128)
            if bpf(next_id, attributes) != 0:
                break
            number = struct.unpack_from("I", attributes, 4)[0]
            found.add((kind, number))
    return found


def describe_bpf(kind, number):
    """For example "BPF program 17 (step)"."""
    _, by_id, name_at = BPF_KINDS[kind]
    name = ""
    if name_at is not None:
        fd = bpf(by_id, ctypes.create_string_buffer(struct.pack("III", number, 0, 0), 128))
        if fd >= 0:
            info = ctypes.create_string_buffer(256)
            if bpf(15, ctypes.create_string_buffer(struct.pack("IIQ", fd, 256, ctypes.addressof(info)), 128)) == 0:
                name = info.raw[name_at : name_at + 16].split(b"\0")[0].decode(errors="replace")
            os.close(fd)
    return f"{kind} {number} ({name})" if name else f"{kind} {number}"


def loop_devices():
    found = {}
    for name in os.listdir("/sys/block"):
        if name.startswith("loop"):
            backing = read_file(f"/sys/block/{name}/loop/backing_file")
            if backing:
                found[name] = f"loop device /dev/{name} ({backing.strip()})"
    return found


def settings():
    """What the settings of the kernel are now: those that can be changed, and do not change by themselves."""
    if not settings.paths:
        for folder in ("kernel", "vm", "fs", "user"):
            for entry in os.scandir(f"/proc/sys/{folder}"):
                if f"{folder}/{entry.name}" not in VOLATILE and entry.is_file() and entry.stat().st_mode & 0o222:
                    settings.paths.append(entry.path)
    return {path: read_file(path) for path in settings.paths}


settings.paths = []


def listing(folder):
    """The files in a folder and below, as paths."""
    found = set()
    for path, folders, files in os.walk(folder):
        found.update(os.path.join(path, name) for name in files)
        folders[:] = [name for name in folders if os.path.join(path, name) not in NOBODYS]
        found.update(os.path.join(path, name) for name in folders)
        # The host's files are not the machine's.
        folders[:] = [name for name in folders if not os.path.ismount(os.path.join(path, name))]
    return found


def disk_writes():
    """How often the disk was written to since the machine booted, or None if there is none."""
    counts = (read_file(f"/sys/class/block/{os.path.basename(DISK)}/stat") or "").split()
    return int(counts[4]) if counts else None


def empty_disk():
    """Makes the disk, if there is one, as empty as it was. That takes a fifth of a second, so it is left out if nobody has written to the disk."""
    if disk_writes() == empty_disk.writes:
        return
    try:
        disk = os.open(DISK, os.O_RDWR)
    except OSError:
        return
    try:
        size = os.lseek(disk, 0, os.SEEK_END)
        fcntl.ioctl(disk, BLKZEROOUT, struct.pack("QQ", 0, size))
        fcntl.ioctl(disk, BLKFLSBUF, 0)
    finally:
        os.close(disk)
    empty_disk.writes = disk_writes()


empty_disk.writes = None


def has_seen(program):
    """Whether a program of the host is the same file for this machine. A script may start what was built meanwhile, so it is never that."""
    if not program:
        return False
    try:
        found = os.stat(program["path"])
    except OSError:
        return False
    return [found.st_size, found.st_mtime_ns] == [program["size"], program["changed"]]


class Shared:
    """What jobs could leave in the machine, at one moment."""

    def __init__(self):
        self.bpf = bpf_objects()
        self.loops = loop_devices()
        self.settings = settings()
        self.files = set().union(*(listing(folder) for folder in WATCHED))

    def left_since(self):
        """What is there now and was not then, and what there is now. Waits a little for attached loops: rings are torn down after their
        processes."""
        deadline = time.monotonic() + GRACE
        while True:
            bpf, loops = bpf_objects() - self.bpf, loop_devices()
            if not (bpf or loops.keys() - self.loops.keys()) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        now = Shared()
        more = {describe_bpf(*key) for key in bpf}
        more |= {loops[key] for key in loops.keys() - self.loops.keys()}
        more |= {f"file {name}" for name in now.files - self.files}
        for path, value in self.settings.items():
            if now.settings[path] != value:
                more.add(f"setting {path}: {value!r} became {now.settings[path]!r}")
        return named(more), now


# --- A job's supervisor ---


def mount(source, target, kind, flags=0, options=None):
    encode = lambda text: None if text is None else text.encode()
    if libc.mount(encode(source), encode(target), encode(kind), flags, encode(options)) != 0:
        raise OSError(ctypes.get_errno(), f"mounting {target}: {os.strerror(ctypes.get_errno())}")


def mount_table():
    table = {}
    for line in (read_file("/proc/self/mountinfo") or "").splitlines():
        number, rest = line.split(" ", 1)
        point = rest.split(" ")[3]
        table[number] = f"mount {point} ({line.split(' - ')[-1].split(' ')[0]})"
    return table


def make_private(folder, options):
    """An empty file system in place of the folder. Folders of the host that are mounted below it stay."""
    below = []
    for line in read_file("/proc/self/mountinfo").splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if point.startswith(folder + "/"):
            below.append((point, os.open(point, os.O_PATH)))
    mount("job", folder, "tmpfs", 0, options)
    for point, fd in below:
        os.makedirs(point, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", point, None, MS_BIND)
        os.close(fd)


def descendants():
    """All processes below this one, but zombies: {pid: description}."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read_file(f"/proc/{entry}/stat")
            if stat:
                state, parent = stat.rsplit(") ", 1)[1].split(" ")[:2]
                parents[int(entry)] = (int(parent), state, stat.split("(", 1)[1].rsplit(")", 1)[0])
    found = {}
    for pid, (_, state, name) in parents.items():
        ancestor = pid
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor][0]
        if ancestor == os.getpid() and pid != os.getpid() and state not in "ZX":
            command = (read_file(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip()
            found[pid] = f"process {pid} ({command[:200] or name})"
    return found


def where_it_is(processes):
    """For each thread of the processes, where it is in the kernel."""
    lines = []
    for pid, description in processes.items():
        lines.append(description)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads[:16]:
            folder = f"/proc/{pid}/task/{thread}"
            state = [line for line in (read_file(f"{folder}/status") or "").splitlines() if line.startswith("State")]
            lines.append(f"  thread {thread}, {' '.join(state)}")
            lines += [f"    {line}" for line in (read_file(f"{folder}/stack") or "").splitlines()[:12]]
    return lines


class Supervisor:
    def __init__(self, job, out, err, terminal):
        self.job = job
        self.out, self.err, self.terminal = out, err, terminal

    def start(self):
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "a mount namespace")
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        for folder, options in PRIVATE.items():
            make_private(folder, options)
        try:
            mount("bpf", "/sys/fs/bpf", "bpf")
        except OSError:
            pass  # a small kernel may have none
        self.mounts = mount_table()
        self.files = self.list_files()
        self.child = os.fork()
        if self.child == 0:
            self.become_job()
        for fd in {self.out, self.err}:
            os.close(fd)

    def list_files(self):
        return set().union(*(listing(folder) for folder in [*PRIVATE, "/sys/fs/bpf"]))

    def become_job(self):
        try:
            os.setsid()
            if self.terminal:
                fcntl.ioctl(self.out, termios.TIOCSCTTY, 0)
                os.dup2(self.out, 0)
            else:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(self.out, 1)
            os.dup2(self.err, 2)
            os.closerange(3, 1024)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM})
            for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.execv("/bin/sh", ["sh", "-c", self.job["script"]])
        finally:
            os._exit(125)

    def wait(self, deadline, until):
        """Reaps processes until `until` returns true or it is too late. Returns whether `until` did. SIGTERM is the agent's wish to end: then
        nobody waits any longer, but for processes that were killed."""
        while True:
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == 0:
                    break
                if pid == self.child:
                    self.status = os.waitstatus_to_exitcode(status)
            if until():
                return True
            left = 3600 if deadline is None else deadline - time.monotonic()
            if left <= 0 or (self.ended and not self.killing):
                return False
            got = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, min(left, self.step))
            if got and got.si_signo == signal.SIGTERM:
                self.ended = True

    def run(self):
        """Runs the job and returns what there is to say about it."""
        self.status, self.ended, self.killing, self.step = None, False, False, 3600
        report = {"left": [], "where": [], "stuck": [], "timeout": False}
        self.start()
        limit = self.job.get("limit") or None
        deadline = None if limit is None else time.monotonic() + limit
        if not self.wait(deadline, lambda: self.status is not None):
            running = descendants()
            report["timeout"] = not self.ended
            report["where"] = where_it_is(running)
        else:
            self.step = 0.05
            running = {}
            if not self.wait(time.monotonic() + GRACE, lambda: not descendants()):
                # Whoever does not want the script any longer has not waited for them: they are no finding, but they end as well.
                running = descendants()
                if not self.ended:
                    report["left"] += named(running.values())
        self.killing, self.step = True, 0.05
        if running:
            deadline = time.monotonic() + DEATH

            def all_dead():
                running = descendants()
                for pid in running:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                return not running

            if not self.wait(deadline, all_dead):
                report["stuck"] = where_it_is(descendants())
        now = mount_table()
        report["left"] += named(now[key] for key in now.keys() - self.mounts.keys())
        report["left"] += named(f"file {name}" for name in self.list_files() - self.files)
        if report["timeout"]:
            report["status"] = 124
        elif self.status is None:
            report["status"] = 143
        else:
            report["status"] = self.status if self.status >= 0 else 128 - self.status
        return report


# --- The agent ---


class Job:
    def __init__(self, number, request, before):
        self.number = number
        self.terminal = None
        self.alone = True
        self.over_since = None
        self.report = b""
        self.streams = {}  # file descriptor: kind of frame
        if request.get("terminal"):
            self.terminal, slave = os.openpty()
            set_size(slave, request["terminal"])
            out = err = slave
            self.streams[self.terminal] = frames.OUT
        else:
            read_out, out = os.pipe()
            read_err, err = os.pipe()
            self.streams = {read_out: frames.OUT, read_err: frames.ERR}
        self.result, result = os.pipe()
        # Programs that were built since the last job are other files now, and this machine would go on seeing the old ones.
        if not has_seen(request.get("program")):
            try:
                with open("/proc/sys/vm/drop_caches", "w") as file:
                    file.write("3")
            except OSError:
                pass
        if request.get("strict"):
            empty_disk()
        self.before = before or Shared()
        # It may be told to end before it is ready for that.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
        self.pid = os.fork()
        if self.pid == 0:
            status = 125
            try:
                report = Supervisor(request, out, err, self.terminal is not None).run()
                frames.write_all(result, json.dumps(report).encode())
                status = 0
            except BaseException:
                frames.write_all(result, json.dumps({"status": 125, "error": traceback.format_exc()}).encode())
            finally:
                os._exit(status)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM})
        for fd in {out, err, result}:
            os.close(fd)


def set_size(fd, size):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["columns"], 0, 0))


class Agent:
    def __init__(self, port):
        self.port = os.open(port, os.O_RDWR)
        self.reader = frames.Reader()
        self.jobs = {}
        self.shared = None

    def send(self, kind, job=0, data=b""):
        frames.write_all(self.port, frames.pack(kind, job, data))

    def mark(self, text):
        # A warning, so that it gets to the console.
        with open("/dev/kmsg", "w") as file:
            file.write(f"<4>ringstep: {text}\n")

    def start(self, number, request):
        self.mark(f"begin {number} {request.get('name', '')}")
        # What was there when the last job had ended is there now.
        job = Job(number, request, None if self.jobs else self.shared)
        self.shared = None
        if self.jobs:
            for other in [job, *self.jobs.values()]:
                other.alone = False
        self.jobs[number] = job

    def take(self, kind, number, data):
        job = self.jobs.get(number)
        if kind == frames.RUN:
            self.start(number, json.loads(data))
        elif job is None:
            pass  # it has just ended
        elif kind == frames.KILL:
            os.kill(job.pid, signal.SIGTERM)
        elif kind == frames.INPUT and job.terminal is not None:
            frames.write_all(job.terminal, data)
        elif kind == frames.SIZE and job.terminal is not None:
            set_size(job.terminal, json.loads(data))

    def read_stream(self, job, fd):
        try:
            data = os.read(fd, frames.MOST)
        except OSError:
            data = b""  # a terminal that nobody has open any more
        if data:
            self.send(job.streams[fd], job.number, data)
        else:
            del job.streams[fd]
            if fd == job.terminal:
                job.terminal = None
            os.close(fd)

    def read_result(self, job):
        data = os.read(job.result, 65536)
        job.report += data
        if not data:
            os.close(job.result)
            os.waitpid(job.pid, 0)
            job.over_since = time.monotonic()

    def finish(self, job):
        for fd in job.streams:
            os.close(fd)
        del self.jobs[job.number]
        report = json.loads(job.report) if job.report else {"status": 125, "error": "the job's supervisor was killed"}
        if job.alone and not self.jobs:
            left, self.shared = job.before.left_since()
            report["left"] = report.get("left", []) + left
        self.mark(f"end {job.number}")
        self.send(frames.DONE, job.number, report)

    def serve(self):
        self.send(frames.HELLO, 0, {"release": os.uname().release})
        while True:
            poll = select.poll()
            poll.register(self.port, select.POLLIN)
            owners = {}
            for job in self.jobs.values():
                for fd in job.streams:
                    owners[fd] = job
                if job.over_since is None:
                    owners[job.result] = job
            for fd in owners:
                poll.register(fd, select.POLLIN)
            for fd, event in poll.poll(200 if self.jobs else None):
                if fd == self.port:
                    if event & select.POLLIN:
                        for frame in self.reader.feed(os.read(self.port, 65536)):
                            self.take(*frame)
                    else:
                        time.sleep(0.05)  # the host has the other end closed
                    continue
                job = owners[fd]
                if fd == job.result:
                    self.read_result(job)
                elif fd in job.streams:
                    self.read_stream(job, fd)
            for job in list(self.jobs.values()):
                # Whatever cannot be killed may hold the streams open.
                if job.over_since is not None and (not job.streams or time.monotonic() > job.over_since + 2):
                    self.finish(job)


if __name__ == "__main__":
    Agent(sys.argv[1]).serve()
