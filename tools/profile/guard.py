#!/usr/bin/env python3
"""What `./dev bench guard` runs in the tool box: counts the instructions of each loop's main case, and compares them with those in
bench/instructions.csv. The test guard fails by it if a loop has become dearer.
"""

import argparse
import csv
import os
import pathlib
import sys

import counts

TOTALS = counts.REPO / "bench" / "instructions.csv"
FUNCTIONS = counts.REPO / "bench" / "instructions-by-function.csv"

# The main case of each loop, and the plain enter to which counts from other kernels are compared.
REFERENCE = "liburing-enter:1"
CASES = [
    REFERENCE,
    "nop_chain:1",
    "nop_chain-user:1",
    "chain:1",
    "chain:32",
    "compiled-chain:1",
    "compiled-chain:32",
    "drain:8",
    "link:8",
    "gate:8",
    "pace:1",
    "enter:1",
    "stages:32",
    "copy:8",
]

# How much a case may grow.
MOST_GROWTH = 0.02
# How much it may grow in another kernel than the file's: the instructions outside the kernel, and the ratio to a plain enter.
MOST_GROWTH_ELSEWHERE = 0.04
MOST_RELATIVE_GROWTH_ELSEWHERE = 0.10

WRITE = "./dev bench guard --write"


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./dev bench guard",
        description="Compares the instructions of each loop's main case with bench/instructions.csv, and fails if one has grown by more than 2 %%.",
    )
    parser.add_argument("--write", action="store_true", help="write the file instead")
    parser.add_argument("--kernel", default="newest", help="run in this kernel, named as for ./dev vm (default: newest)")
    parser.add_argument("--time", type=int, default=180, help="stop the virtual machine after this many seconds (default: 180)")
    return parser.parse_args()


# --- The files ---------------------------------------------------------------------------------------------------------------------------


def write_table(path, head, rows):
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
    temporary.replace(path)


def write(result):
    totals, functions = [], []
    for way in result.ways:
        loop = way.name.partition(":")[0].removesuffix("-user")
        totals.append([result.kernel, loop, way.name, f"{way.total():.1f}", f"./dev bench profile {way.name}"])
        table = sorted(way.by_function().items(), key=lambda item: (-round(item[1], 1), item[0]))
        functions += [[way.name, name, f"{count:.1f}"] for name, count in table if count >= 1]
    write_table(TOTALS, ["kernel", "loop", "case", "instructions", "command"], totals)
    write_table(FUNCTIONS, ["case", "function", "instructions"], functions)


class Known:
    """What the files say."""

    def __init__(self):
        try:
            with TOTALS.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.totals = {row["case"]: float(row["instructions"]) for row in rows}
            self.kernels = {row["kernel"] for row in rows}
            self.functions = {case: {} for case in self.totals}
            with FUNCTIONS.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.functions[row["case"]][row["function"]] = float(row["instructions"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise counts.Failed(f"{TOTALS.name} or {FUNCTIONS.name} cannot be read ({error}): {WRITE}") from error
        if len(self.kernels) != 1:
            raise counts.Failed(f"{TOTALS.name} has the figures of {len(self.kernels)} kernels, and not of one: {WRITE}")
        self.kernel = next(iter(self.kernels))
        if set(self.totals) != set(CASES):
            difference = ", ".join(sorted(set(self.totals) ^ set(CASES)))
            raise counts.Failed(f"{TOTALS.name} has other cases than tools/profile/guard.py ({difference}): {WRITE}")

    def ours(self, case):
        """Instructions that are not the kernel's."""
        return sum(count for name, count in self.functions[case].items() if counts.place_of(name) != counts.KERNEL)


# --- Comparing ---------------------------------------------------------------------------------------------------------------------------


def growth(new, old):
    return new / old - 1


def print_changes(way, known):
    """Which functions take more than they did, and which less, those that matter most first."""
    old, new = known.functions[way.name], way.by_function()
    changes = sorted(((new.get(name, 0) - old.get(name, 0), name) for name in old.keys() | new.keys()), key=lambda item: -abs(item[0]))
    for change, name in [item for item in changes if abs(item[0]) >= 1][:10]:
        print(f"    {change:+9.1f}  {name} ({old.get(name, 0):.1f} before, {new.get(name, 0):.1f} now)")
    print(f"    By basic block: ./dev bench profile --blocks {way.name}")


def same_kernel(result, known):
    """Returns the ways that have grown."""
    grown, shrunk = [], []
    print(f"{'before':>10}  {'now':>10}  {'':>8}")
    for way in result.ways:
        old, new = known.totals[way.name], way.total()
        by = growth(new, old)
        print(f"{old:10.1f}  {new:10.1f}  {100 * by:+6.1f} %  {way.name}{'  TOO MUCH' if by > MOST_GROWTH else ''}")
        if by > MOST_GROWTH:
            grown.append(way)
        elif by < -MOST_GROWTH:
            shrunk.append(way)
    if shrunk:
        print(f"\nCheaper than the file says: {', '.join(way.name for way in shrunk)}. To hold them to it: {WRITE}")
    return grown


def other_kernel(result, known):
    print(f"The figures in bench/{TOTALS.name} are of {known.kernel}, so they are compared with a wider margin: what is not the kernel's may be")
    print(f"{100 * MOST_GROWTH_ELSEWHERE:g} % more, and the whole in relation to {REFERENCE} {100 * MOST_RELATIVE_GROWTH_ELSEWHERE:g} %. "
          f"To have the figures of this kernel: {WRITE}\n")
    grown = []
    reference = growth(result.ways[0].total(), known.totals[REFERENCE])
    print(f"{'ours before':>11}  {'now':>8}  {'':>8}  {'all before':>10}  {'now':>8}  {'relative':>8}")
    for way in result.ways:
        old, new = known.ours(way.name), sum(count for place, count in way.by_place().items() if place != counts.KERNEL)
        # Functions that differ by less than one instruction are left out.
        ours = growth(new, old) if new - old >= 1 else 0
        total = (1 + growth(way.total(), known.totals[way.name])) / (1 + reference) - 1
        much = ours > MOST_GROWTH_ELSEWHERE or total > MOST_RELATIVE_GROWTH_ELSEWHERE
        print(f"{old:11.1f}  {new:8.1f}  {100 * ours:+6.1f} %  {known.totals[way.name]:10.1f}  {way.total():8.1f}  {100 * total:+6.1f} %  "
              f"{way.name}{'  TOO MUCH' if much else ''}")
        if much:
            grown.append(way)
    return grown


def main():
    arguments = parse_arguments()
    if not arguments.write:
        known = Known()
    result = counts.run(CASES, arguments.kernel, counts.BUILD / "profile" / "guard", arguments.time, runs=9)
    if arguments.write:
        write(result)
        print(f"Written, with the figures of {result.kernel}: {TOTALS.relative_to(counts.REPO)}, {FUNCTIONS.relative_to(counts.REPO)}")
        return 0
    print(f"Guest instructions for each operation, Linux {result.kernel}, QEMU -icount.\n")
    grown = same_kernel(result, known) if result.kernel == known.kernel else other_kernel(result, known)
    for way in grown:
        print(f"\n{way.name} ({way.title}) takes {way.total():.1f} instructions instead of {known.totals[way.name]:.1f}. By function:")
        print_changes(way, known)
    if grown:
        print(f"\nIf that is what it has to cost: {WRITE}")
    return 1 if grown else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except counts.Failed as error:
        sys.exit(f"guard: {error}")
