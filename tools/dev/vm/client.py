"""Runs a command in a machine that keeper.py keeps up, or asks for something else of it.

Usage: client.py FOLDER run [--time S] [--name NAME] [--program FILE] [--strict | --patched] [--terminal] [--verbose] <script
       client.py FOLDER ping | stop

The shell script comes from file descriptor 3. The exit status is the script's; 124: it took too long; 125: the machine is gone or did not start;
126: the script succeeded and the kernel complained, or, with --strict, something was left behind.

With --strict, the names of scripts that met such a fault, however they ended, are appended to the file $RINGSTEP_VM_FAULTS if that is set.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import termios
import tty

import frames


def say(text):
    print(f"dev: vm: {text}", file=sys.stderr, flush=True)


def show(text, lines=60):
    rows = text.splitlines()
    for row in rows[-lines:]:
        print(f"     {row}", file=sys.stderr)


def window():
    size = os.get_terminal_size(0)
    return {"rows": size.lines or 24, "columns": size.columns or 80}


def is_fault(report):
    """Whether more has happened than that the script has failed or was too slow. One that was ended cannot remove its files."""
    faults = ["complained", "stuck", "error", "gone", "hung"]
    if not report.get("timeout"):
        faults.append("left")
    return not report.get("unbooted") and any(report.get(fault) for fault in faults)


def note_fault(name):
    """Writes down for ./dev test that the script must not be tried again."""
    file = os.environ.get("RINGSTEP_VM_FAULTS")
    if file:
        with open(file, "a") as faults:
            faults.write(f"{name}\n")


def judge(report, options):
    """Says what there is to say about a job that is over, and returns the exit status."""
    kernel = report.get("kernel", "")
    status = report["status"]
    if report.get("timeout"):
        say(f"the command was ended after {options.time} s, as --time says. This is where it was:")
        show("\n".join(report.get("where", [])), 100)
    if report.get("gone"):
        say(f"the machine is gone: {report['gone']}")
    if report.get("error"):
        say("the command could not be started:")
        show(report["error"])
    if report.get("stuck"):
        say("processes that even SIGKILL does not end:")
        show("\n".join(report["stuck"]))
    if report.get("left"):
        say(f"the command left behind{'' if options.strict else ' (and it was removed, or ends with the machine)'}:")
        show("\n".join(report["left"]))
    console = report.get("console", "")
    if report.get("complained"):
        say(f"the kernel ({kernel}) complained:")
    elif options.verbose:
        say(f"messages of the kernel ({kernel}):")
    elif console and (report.get("timeout") or report.get("gone")):
        say(f"the kernel ({kernel}) said last:")
    if report.get("complained") or report.get("gone") or report.get("timeout") or options.verbose:
        show(console, 1000 if options.verbose else 100)
    if options.strict and is_fault(report):
        note_fault(options.name)
    if status == 0 and report.get("complained") and (options.strict or options.patched):
        status = 126
    if status == 0 and options.strict and (report.get("left") or report.get("stuck")):
        status = 126
    return status


def judge_stop(report):
    for late in report.get("late", []):
        say(f"after {late['after']}, when nothing ran, {late['what']}:")
        show(late["console"] or "(the kernel said nothing)", 100)
    say(f"{report['jobs']} commands ran, in {report['boots']} machine{'s' if report['boots'] != 1 else ''}")
    return 126 if report.get("late") else 0


def request(options):
    with open(3) as script:
        job = {"script": script.read(), "limit": options.time, "name": options.name, "strict": options.strict}
    if options.program:
        job["program"] = describe_program(options.program)
    if options.terminal:
        job["terminal"] = window()
    return job


def describe_program(path):
    """What tells a program from another one that was built in its place, or None if it is a script, or not there."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return {"path": os.path.abspath(path), "size": found.st_size, "changed": found.st_mtime_ns}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("what", choices=["run", "ping", "stop"])
    parser.add_argument("--time", type=int, default=0)
    parser.add_argument("--name", default="")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--program", help="the script runs this, and nothing else that may have been built since the last one")
    parser.add_argument("--patched", action="store_true")
    parser.add_argument("--terminal", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and scripts want it
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    connection = socket.socket(socket.AF_UNIX)
    home = os.open(".", os.O_PATH)
    os.chdir(options.folder)
    try:
        connection.connect("control")
    except OSError as error:
        say(f"no machine answers in {options.folder}: {error}")
        return 125
    os.fchdir(home)

    if options.what == "run":
        connection.sendall(frames.pack(frames.RUN, 0, request(options)))
    else:
        connection.sendall(frames.pack(frames.PING if options.what == "ping" else frames.STOP))

    saved = None
    watched = [connection]
    if options.terminal:
        saved = termios.tcgetattr(0)
        tty.setraw(0)
        watched.append(0)
        signal.signal(signal.SIGWINCH, lambda *_: connection.sendall(frames.pack(frames.SIZE, 0, window())))
    reader = frames.Reader()
    try:
        while True:
            for ready in select.select(watched, [], [])[0]:
                if ready == 0:
                    data = os.read(0, frames.MOST)
                    if data:
                        connection.sendall(frames.pack(frames.INPUT, 0, data))
                    else:
                        watched.remove(0)
                    continue
                try:
                    data = connection.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    if saved:
                        termios.tcsetattr(0, termios.TCSADRAIN, saved)
                        saved = None
                    say("the machine's keeper has ended")
                    if options.strict:
                        note_fault(options.name)
                    return 125
                for kind, _, payload in reader.feed(data):
                    if kind == frames.OUT:
                        frames.write_all(1, payload)
                    elif kind == frames.ERR:
                        frames.write_all(2, payload)
                    elif kind == frames.DONE:
                        if saved:
                            termios.tcsetattr(0, termios.TCSADRAIN, saved)
                            saved = None
                        report = json.loads(payload)
                        return judge_stop(report) if options.what == "stop" else judge(report, options)
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


if __name__ == "__main__":
    sys.exit(main())
