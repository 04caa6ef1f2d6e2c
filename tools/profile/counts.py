"""What `./dev bench profile` and `./dev bench guard` share: runs ways (bench/ways.cpp) in a virtual machine whose instructions are counted
(count.c), and gives each instruction's count to the function that it is in.
"""

import bisect
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("RINGSTEP_BUILD_DIR") or REPO / "build").absolute()
WAYS = BUILD / "bench" / "bench-ways"
PLUGIN = BUILD / "bench" / "count.so"

KERNEL, PROGRAM, USER = "kernel", "BPF program", "user space"
PLACES = (KERNEL, PROGRAM, USER)
FIRST_KERNEL_ADDRESS = 1 << 63


class Failed(Exception):
    pass


# --- Symbols -----------------------------------------------------------------------------------------------------------------------------


class Symbols:
    """Names of addresses: entries are an address, a name, and a size if it is known."""

    def __init__(self, entries):
        self.entries = sorted(entries)
        self.addresses = [entry[0] for entry in self.entries]

    def at(self, address):
        """Returns the address and the name of the function that an address is in, or two times None."""
        index = bisect.bisect_right(self.addresses, address) - 1
        if index < 0:
            return None, None
        start, name, *size = self.entries[index]
        return (start, name) if not size or address < start + size[0] else (None, None)


def read_kallsyms(path):
    """All functions of the kernel. Those of BPF programs get the name that their author gave them."""
    entries = []
    for line in path.read_text().splitlines():
        address, kind, name = line.split()[:3]
        if kind not in "tTwW" or int(address, 16) == 0:
            continue
        # The numbers in these names differ from run to run, so they are left out.
        name = re.sub(r"^bpf_prog_[0-9a-f]{16}_", f"{PROGRAM}: ", name)
        name = re.sub(r"^(bpf_trampoline|bpf_dispatcher)_[0-9_]+$", r"\1", name)
        entries.append((int(address, 16), name))
    if not entries:
        raise Failed("the kernel did not say where its functions are: /proc/kallsyms has no addresses")
    return Symbols(entries)


def short(name):
    """A C++ function's name without its parameters and without the arguments of templates."""
    name = re.sub(r"@.*", "", name)
    name = re.sub(r"\[abi:[^]]*\]|\[clone [^]]*\]", "", name).replace("(anonymous namespace)::", "")
    name = re.sub(r"\{lambda\(.*?\)#(\d+)\}", r"lambda\1", name).replace("operator()", "call")
    while True:
        shorter = re.sub(r"<[^<>]*>", "", re.sub(r"\([^()]*\)( const)?", "", name))
        if shorter == name:
            break
        name = shorter
    # The name of a function made from a template begins with its return type.
    return name.strip().split(" ")[-1] or "?"


class UserSymbols:
    """The functions of the program and of its libraries, by where they are in the process."""

    def __init__(self, maps):
        self.parts = []
        tables = {}
        for line in maps.read_text().splitlines():
            fields = line.split(None, 5)
            if len(fields) < 6 or "x" not in fields[1]:
                continue
            first, last = (int(part, 16) for part in fields[0].split("-"))
            path = fields[5]
            if path.startswith("/") and pathlib.Path(path).exists():
                if path not in tables:
                    tables[path] = self.read_file(path)
                segments, symbols = tables[path]
                offset = int(fields[2], 16)
                delta = next((vaddr - at for at, size, vaddr in segments if at <= offset < at + size), 0)
                self.parts.append((first, last, offset + delta - first, pathlib.Path(path).name, symbols))
            else:
                self.parts.append((first, last, 0, path.strip("[]"), None))

    @staticmethod
    def read_file(path):
        def output(*command):
            return subprocess.run(command, capture_output=True, text=True).stdout

        segments = []
        for line in output("readelf", "--segments", "--wide", path).splitlines():
            fields = line.split()
            if fields and fields[0] == "LOAD":
                segments.append((int(fields[1], 16), int(fields[4], 16), int(fields[2], 16)))
        entries = []
        for table in ((), ("--dynamic",)):
            for line in output("nm", "--demangle", "--print-size", "--defined-only", *table, path).splitlines():
                fields = line.split(" ", 3)
                # A symbol without a size is skipped, because nothing says which instructions belong to it.
                if len(fields) == 4 and fields[2] in "tTwWiu":
                    entries.append((int(fields[0], 16), short(fields[3]), int(fields[1], 16)))
            if entries:
                break
        return segments, Symbols(entries)

    def at(self, address):
        for first, last, delta, file, symbols in self.parts:
            if first <= address < last:
                name = symbols.at(address + delta)[1] if symbols else None
                return f"{USER}: {name or file}"
        return f"{USER}: other processes"


# --- Counts ------------------------------------------------------------------------------------------------------------------------------


class Section:
    """What was counted in one run of a way."""

    def __init__(self):
        self.blocks = []  # (address, how often it ran, the bytes of its instructions)


def read_counts(path):
    sections = []
    for line in path.read_text().splitlines():
        if line == "section":
            sections.append(Section())
        elif line.startswith("failed"):
            raise Failed(f"counts are missing: {line}")
        else:
            address, executed, *instructions = line.split()
            sections[-1].blocks.append((int(address, 16), int(executed), instructions))
    return sections


class Way:
    """One way in all of its runs: instructions for each operation."""

    def __init__(self, record):
        self.name = record["way"]
        self.title = record["title"]
        self.operations = record["operations"]
        self.functions = []  # of each run, a table of instructions by function
        self.calls = []  # of each run, system calls
        self.sections = []

    def by_function(self):
        """The median of each function: what is only in some of the runs, such as interrupts, hardly counts."""
        names = {name for table in self.functions for name in table}
        return {name: statistics.median(table.get(name, 0) for table in self.functions) for name in names}

    def by_place(self):
        places = dict.fromkeys(PLACES, 0)
        for name, instructions in self.by_function().items():
            places[place_of(name)] += instructions
        return places

    def system_calls(self):
        return statistics.median(self.calls)

    def total(self):
        return sum(self.by_function().values())


def place_of(function):
    return next((place for place in (PROGRAM, USER) if function.startswith(place + ":")), KERNEL)


class Result:
    """A whole machine's run."""

    def __init__(self, folder):
        document = json.loads((folder / "ways.json").read_text())
        self.kernel = document["facts"]["kernel"]
        self.symbols = read_kallsyms(folder / "kallsyms")
        self.user_symbols = UserSymbols(folder / "maps")
        self.lines = folder / "lines"
        self.ways = []
        sections = read_counts(folder / "counts")
        if len(sections) != len(document["records"]):
            raise Failed(f"{len(document['records'])} runs were marked, and {len(sections)} counted")
        for record, section in zip(document["records"], sections):
            if not self.ways or self.ways[-1].name != record["way"]:
                self.ways.append(Way(record))
            self.ways[-1].functions.append(self.by_function(section, record["operations"]))
            self.ways[-1].calls.append(self.system_calls(section) / record["operations"])
            self.ways[-1].sections.append(section)

    def name_of(self, address):
        if address >= FIRST_KERNEL_ADDRESS:
            return self.symbols.at(address)[1] or "?"
        return self.user_symbols.at(address)

    def system_calls(self, section):
        """How often the section came to the first instruction of the kernel's entry."""
        return sum(executed for address, executed, _ in section.blocks if self.symbols.at(address) == (address, "entry_SYSCALL_64"))

    def by_function(self, section, operations):
        functions = {}
        for address, executed, instructions in section.blocks:
            name = self.name_of(address)
            functions[name] = functions.get(name, 0) + executed * len(instructions)
        return {name: count / operations for name, count in functions.items()}


def run(ways, kernel, folder, seconds, operations=None, runs=None, lines=False):
    """Runs ways in a machine with this kernel and returns their counts. Throws Failed if that is not possible."""
    for file in (WAYS, PLUGIN):
        if not file.exists():
            raise Failed(f"{file} is missing: ./dev build bench-ways")
    # Checks the names before it starts a machine, so that a mistake shows at once.
    if (checked := subprocess.run([str(WAYS), "--check", *ways], capture_output=True, text=True)).returncode != 0:
        raise Failed(checked.stderr.strip().removeprefix("bench-ways: "))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [str(REPO / "dev"), "vm", "--own", "--kernel", kernel, "--time", str(seconds), "--icount"]
    if any(word in way for way in ways for word in ("files", "read")):
        command += ["--disk", "512"]
    command += ["--plugin", f"{PLUGIN},out={folder}/counts", "--", str(WAYS), "--folder", str(folder)]
    command += ["--lines"] if lines else []
    command += ["--operations", str(operations)] if operations else []
    command += ["--runs", str(runs)] if runs else []
    # The name of a way says which engine it uses, so RINGSTEP_ENGINE must not choose another one.
    environment = {name: value for name, value in os.environ.items() if name != "RINGSTEP_ENGINE"}
    sys.stdout.flush()
    status = subprocess.run(command + list(ways), env=environment).returncode
    if status != 0:
        raise Failed(f"the ways could not be run (status {status}): {' '.join(command + list(ways))}")
    return Result(folder)
