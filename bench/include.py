#!/usr/bin/env python3
"""What including ringstep.hpp costs a translation unit, beside <fmt/format.h> and <liburing.h> together. Processor time, least of several runs."""

import argparse
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parent.parent
SETS = {
    "fmt/format.h and liburing.h": ["fmt/format.h", "liburing.h"],
    "ringstep/ringstep.hpp": ["ringstep/ringstep.hpp"],
}


def cost(compiler, headers, runs, folder):
    """Milliseconds of processor time that compiling a file takes that includes these headers and nothing else."""
    source = folder / "include.cpp"
    source.write_text("".join(f"#include <{header}>\n" for header in headers))
    command = [compiler, "-std=c++20", "-O2", f"-I{REPO / 'include'}", "-c", str(source), "-o", str(folder / "include.o")]
    times = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return 1000 * min(times)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench include", description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--most", type=float, help="fail where the ratio is more than that")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for compiler in ("g++", "clang++-19"):
            if not shutil.which(compiler):
                continue
            base, own = (cost(compiler, headers, arguments.runs, pathlib.Path(folder)) for headers in SETS.values())
            print(f"{compiler} -O2 -c: {' and '.join(SETS['fmt/format.h and liburing.h'])} {base:.0f} ms, ringstep/ringstep.hpp {own:.0f} ms, ratio {own / base:.2f} (least of {arguments.runs})")
            good = good and (arguments.most is None or own / base <= arguments.most)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
