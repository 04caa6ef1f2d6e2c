#!/usr/bin/env python3
"""What `./dev bench profile` prints of counts that are made up here: functions, system calls, and basic blocks with their source lines.

Usage: profile.py REPO
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "tools" / "profile"))
import counts  # noqa: E402
import profile  # noqa: E402

FILES = {
    "ways.json": json.dumps({"facts": {"kernel": "7.3.4"}, "records": [{"way": "nop_chain:1", "title": "nops", "operations": 10}]}),
    "kallsyms": "ffffffff81000000 T entry_SYSCALL_64\nffffffff81001000 T io_nop\n"
    "ffffffffc0000000 t bpf_prog_0123456789abcdef_step\t[bpf]\nffffffffc0000100 t bpf_trampoline_6442450944\t[bpf]\n",
    "maps": "00401000-00402000 r-xp 00000000 00:00 0 [made up]\n",
    "lines": "ffffffffc0000001\t/somewhere/step.bpf.c\t12\tstate->done++;\n",
    # Begin, a body that is translated twice, once from its middle on, code that did not run, and the end.
    "counts": "section\n"
    "ffffffffc0000000 10 55 4889e5\n"
    "ffffffffc0000004 30 ffc0 90\nffffffffc0000006 10 90\n"
    "ffffffffc0000020 10 e8db0f00c1 5d c3\n"
    "ffffffffc0000100 10 90 90\n"
    "ffffffff81000000 5 90 90\nffffffff81000002 5 90\n"
    "ffffffff81001000 20 90 c3\n"
    "401000 10 90\n",
}
failures = 0


def expect(what, condition, said):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED: {what}\n{said}", file=sys.stderr)


def printed(function, *arguments):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        function(*arguments)
    return said.getvalue()


def main():
    with tempfile.TemporaryDirectory() as name:
        for file, text in FILES.items():
            (pathlib.Path(name) / file).write_text(text)
        result = counts.Result(pathlib.Path(name))
    (way,) = result.ways
    table = way.by_function()
    program = 2 + 6 + 1 + 3
    expect("instructions are those of all translations", table[f"{counts.PROGRAM}: step"] == program, table)
    expect("numbers in names of trampolines are left out", table["bpf_trampoline"] == 2, table)
    expect("system calls are those that enter the kernel", way.system_calls() == 0.5, way.calls)
    said = printed(profile.print_table, result.ways, 1)
    expect("a row has the total", f"{program + 2 + 1.5 + 4 + 1:.1f}  instructions for each operation" in said, said)
    expect("a row has the system calls", "0.500  system calls" in said, said)
    expect("a row has a function", "4.0  io_nop" in said, said)

    with tempfile.TemporaryDirectory() as name:
        result.lines = pathlib.Path(name) / "lines"
        result.lines.write_text(FILES["lines"])
        said = printed(profile.print_blocks, result, way)
    lines = [line.strip() for line in said.splitlines()]
    expected = [
        f"{counts.PROGRAM}: step: {program:.1f} instructions for each operation", "",
        "1.000 times", "0:   push   %rbp", "; step.bpf.c:12: state->done++;", "1:   mov    %rsp,%rbp", "",
        "3.000 times", "4:   inc    %eax", "",
        "4.000 times", "6:   nop", "...", "",
        "1.000 times", "20:   call   0xffffffff81001000 <io_nop>", "25:   pop    %rbp", "26:   ret",
    ]  # fmt: skip
    start = lines.index(expected[0]) if expected[0] in lines else 0
    expect("blocks are in the order of their addresses, with their counts, lines and gaps", lines[start : start + len(expected)] == expected, said)

    name = "std::enable_if<(true), void>::type ringstep::v0::Gate<(anonymous namespace)::mine>::push(io_uring_sqe const&, int) const"
    expect("C++ names are short", counts.short(name) == "ringstep::v0::Gate::push", counts.short(name))
    expect("names of libraries have no versions", counts.short("io_uring_submit@@LIBURING_2.0") == "io_uring_submit", "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
