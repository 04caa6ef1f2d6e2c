#!/usr/bin/env python3
"""What `./dev bench profile` runs in the tool box: where the instructions of a loop go, or of one of its baselines."""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import counts


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./dev bench profile",
        description="Prints how many instructions each function takes for one operation, in a virtual machine (QEMU -icount). "
        "A WAY is NAME or NAME:NUMBER, where the number is a depth, a length or a batch.",
    )
    parser.add_argument("ways", nargs="*", metavar="WAY", help="profile these loops or baselines (--list has them all)")
    parser.add_argument("--list", action="store_true", help="list all ways, with the range of their number and its usual value")
    parser.add_argument("--kernel", default="newest", help="run in this kernel, named as for ./dev vm (default: newest)")
    parser.add_argument("--blocks", action="store_true", help="show the BPF programs by basic block, disassembled, with their source lines")
    parser.add_argument("--operations", type=int, help="operations in each run (default: what suits the way)")
    parser.add_argument("--runs", type=int, help="runs of each way, of which the median counts (default: 3)")
    parser.add_argument("--least", type=float, default=1, help="leave functions out that take fewer instructions (default: 1)")
    parser.add_argument("--time", type=int, default=300, help="stop the virtual machine after this many seconds (default: 300)")
    parser.add_argument("--json", metavar="FILE", help="write the profile to this file, too")
    arguments = parser.parse_args()
    if not arguments.ways and not arguments.list:
        parser.error("name one or more ways: --list has them all")
    return arguments


def print_table(ways, least):
    tables = [way.by_function() for way in ways]
    names = {name for table in tables for name in table if table[name] >= least}
    order = sorted(names, key=lambda name: -sum(table.get(name, 0) for table in tables))
    widths = [max(len(way.name), 9) for way in ways]

    def row(values, title):
        cells = [f"{value:{width}.1f}" if abs(value) >= 0.05 else " " * width for value, width in zip(values, widths)]
        print("  ".join(cells) + f"  {title}".rstrip())

    print("  ".join(f"{way.name:>{width}}" for way, width in zip(ways, widths)))
    row([way.total() for way in ways], "instructions for each operation")
    for place in counts.PLACES:
        row([way.by_place()[place] for way in ways], f"  of these: {place}")
    print("  ".join(f"{way.system_calls():{width}.3f}" for way, width in zip(ways, widths)) + "  system calls")
    print()
    for name in order:
        row([table.get(name, 0) for table in tables], name)
    rest = [sum(count for name, count in table.items() if name not in names) for table in tables]
    row(rest, f"functions with fewer than {least:g}")


# --- Blocks ------------------------------------------------------------------------------------------------------------------------------


def disassemble(code):
    """Texts by address, of instructions by address. Between them are gaps: code that did not run."""
    start, end = min(code), max(address + len(data) for address, data in code.items())
    image = bytearray(b"\x90" * (end - start))
    for address, data in code.items():
        image[address - start : address - start + len(data)] = data
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        command = ["objdump", "--disassemble-all", "--target=binary", "--architecture=i386:x86-64", "--no-show-raw-insn"]
        command += [f"--adjust-vma={start:#x}", file.name]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = {}
    for line in lines:
        address, colon, text = line.partition(":")
        if colon and text.startswith("\t"):
            texts[int(address, 16)] = text.strip()
    return texts


def read_lines(path):
    """Lines of source by the address at which their code begins."""
    lines = {}
    for line in path.read_text().splitlines():
        address, file, number, text = line.split("\t", 3)
        lines[int(address, 16)] = f"{pathlib.Path(file).name}:{number}: {text.strip()}"
    return lines


def print_blocks(result, way):
    """The program's instructions, in the order of their addresses, with how often each ran for an operation."""
    lines = read_lines(result.lines)
    executed = collections.Counter()
    code = {}
    for address, times, instructions in way.sections[-1].blocks:
        if address < counts.FIRST_KERNEL_ADDRESS or counts.place_of(result.name_of(address)) != counts.PROGRAM:
            continue
        for instruction in instructions:
            data = bytes.fromhex(instruction)
            executed[address] += times
            code[address] = data
            address += len(data)
    print(f"\nBasic blocks of the BPF program of {way.name}: how often a block ran for an operation, and its instructions, in the order of "
          "their addresses. A line of dots stands for code that did not run.")
    if not code:
        print("  No BPF program ran.")
        return
    texts = disassemble(code)
    function, before, end = None, None, None
    for address in sorted(code):
        start, name = result.symbols.at(address)
        times = executed[address] / way.operations
        if name != function:
            instructions = sum(executed[other] for other in code if result.symbols.at(other)[0] == start) / way.operations
            print(f"\n{name}: {instructions:.1f} instructions for each operation")
            function, before, end = name, None, start
        if address != end:
            print("            ...")
            before = None
        if times != before:
            print(f"\n  {times:9.3f} times")
            before = times
        if address in lines:
            print(f"            ; {lines[address]}")
        text = texts.get(address, "(bad)").split("#")[0].strip()
        print(f"{address - start:10x}:   {call_target(result, text)}")
        end = address + len(code[address])


def call_target(result, text):
    """Names the function that is called."""
    fields = text.split()
    if len(fields) == 2 and fields[0] in ("call", "jmp") and fields[1].startswith("0xff"):
        start, name = result.symbols.at(int(fields[1], 16))
        if start == int(fields[1], 16):
            return f"{text} <{name}>"
    return text


def main():
    arguments = parse_arguments()
    if arguments.list:
        return subprocess.run([str(counts.WAYS), "--list"]).returncode
    result = counts.run(arguments.ways, arguments.kernel, counts.BUILD / "profile" / "profile", arguments.time,
                        operations=arguments.operations, runs=arguments.runs, lines=arguments.blocks)
    print(f"Linux {result.kernel}, QEMU -icount: guest instructions for each operation, medians of {len(result.ways[0].functions)} runs.\n")
    for way in result.ways:
        print(f"{way.name}: {way.title}; {way.operations} operations a run")
    print()
    print_table(result.ways, arguments.least)
    if arguments.blocks:
        for way in result.ways:
            print_blocks(result, way)
    if arguments.json:
        ways = [{"way": way.name, "title": way.title, "operations": way.operations, "total": way.total(), "places": way.by_place(),
                 "functions": way.by_function()} for way in result.ways]
        pathlib.Path(arguments.json).write_text(json.dumps({"kernel": result.kernel, "ways": ways}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except counts.Failed as error:
        sys.exit(f"profile: {error}")
