#!/usr/bin/env python3
"""Compares what the inspection of loops says with what the source of each loop announces, and sees what its command makes of it.

Usage: inspect.py INSPECT FOLDER SOURCE LOOPS
FOLDER has case-<number>.bpf.o for each case of SOURCE. LOOPS has a line NAME=OBJECT for each loop that must pass.
"""

import pathlib
import re
import subprocess
import sys

inspect, folder, source, loops = sys.argv[1:]
failed = 0


def fail(text):
    global failed
    failed += 1
    print(f"FAILED: {text}")


def run(*arguments):
    done = subprocess.run([sys.executable, "-B", inspect, *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


cases = re.findall(r"//! (\d+): (.*)", pathlib.Path(source).read_text())
for case, expected in cases:
    status, said = run(f"{folder}/case-{case}.bpf.o")
    kind, _, text = expected.partition(": ")
    if expected == "OK":
        if status != 0:
            fail(f"case {case} is refused:\n{said}")
    elif status != 1:
        fail(f"case {case} ends with status {status}:\n{said}")
    elif not any(f": {kind}: " in line and line.endswith(text) for line in said.splitlines()):
        fail(f"case {case} is refused, but not with \"{expected}\":\n{said}")
    elif not re.search(r"forbidden\.bpf\.c:\d+: in \w+\(\)", said):
        fail(f"case {case} does not say where:\n{said}")
if len(cases) < 30:
    fail(f"only {len(cases)} cases")

# Exceptions are by name.
for case, call in (("21", "bpf_get_prandom_u32"), ("23", "forbidden_numbers"), ("25", "bpf_trace_printk")):
    allowed = ["--call", call] + (["--call", "bpf_map_lookup_elem"] if case == "23" else [])
    status, said = run(*allowed, f"{folder}/case-{case}.bpf.o")
    if status != 0:
        fail(f"case {case} is refused with {allowed}:\n{said}")

# The loops that are shipped, and those of the examples.
objects = [line.partition("=")[2] for line in pathlib.Path(loops).read_text().splitlines() if line]
status, said = run("--quiet", *objects)
if status != 0 or said:
    fail(f"loops are refused:\n{said}")
if len(objects) < 9:
    fail(f"only {len(objects)} loops")

# The size of the control block stands in the inspection, too, for loops whose type information leaves it out.
sys.path.insert(0, str(pathlib.Path(inspect).parent))
sys.dont_write_bytecode = True
import ringstep_inspect  # noqa: E402

sizes = {ringstep_inspect.Object(path).structs.get("ringstep_control", (None,))[0] for path in objects} - {None}
if sizes != {ringstep_inspect.CONTROL_SIZE}:
    fail(f"struct ringstep_control has {sizes} bytes, and the inspection takes it for {ringstep_inspect.CONTROL_SIZE}")

# What is no loop is an error, and no traceback.
for wrong, expected in ((source, "no 64-bit ELF file"), ("/nowhere/x.bpf.o", "cannot read it"), ("/proc/self/exe", "not compiled for BPF")):
    status, said = run(wrong)
    if status != 1 or expected not in said or "Traceback" in said:
        fail(f"{wrong} gives status {status}:\n{said}")
whole = pathlib.Path(objects[0]).read_bytes()
short = pathlib.Path(folder) / "cut-off.bpf.o"
for length in (0, 70, len(whole) // 2, len(whole) - 100):
    short.write_bytes(whole[:length])
    status, said = run(str(short))
    if status != 1 or "Traceback" in said:
        fail(f"an object cut off after {length} bytes gives status {status}:\n{said}")
status, said = run("--list")
if status != 0 or "bpf_io_uring_submit_sqes" not in said:
    fail(f"--list gives status {status}:\n{said}")

print(f"{len(cases)} cases and {len(objects)} loops, {failed} failures")
sys.exit(1 if failed else 0)
