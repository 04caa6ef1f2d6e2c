#!/usr/bin/env python3
"""What `./dev bench guard` says of counts that are made up here: what it lets pass, what not, and which function it names.

Usage: guard.py REPO
"""

import contextlib
import io
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "tools" / "profile"))
import counts  # noqa: E402
import guard  # noqa: E402

KERNEL, OPERATIONS = "7.3.4", 1000
KALLSYMS = """ffffffff81000000 T io_submit_sqes
ffffffff81001000 T io_nop
ffffffff81002000 d data_that_is_no_function
ffffffffc0000000 t bpf_prog_0123456789abcdef_step\t[bpf]
"""
NOP = "90"
failures = []


def expect(what, condition, said=""):
    if not condition:
        failures.append(what)
        print(f"FAILED: {what}\n{said}", file=sys.stderr)


def make_result(folder, kernel=KERNEL, step=160, submit=147, runs=3, reference=1000):
    """Counts of all cases: in each operation, `step` instructions of the program and `submit` of the kernel, and 10 of this process."""
    folder.mkdir()
    records, sections = [], ""
    for case in guard.CASES:
        for run in range(runs):
            records.append({"way": case, "title": "nops", "operations": OPERATIONS})
            sections += "section\n"
            if case == guard.REFERENCE:
                sections += f"ffffffff81000000 {reference} " + " ".join([NOP] * OPERATIONS) + "\n"
                continue
            # Two translations of the same code, each with a part of its executions.
            sections += f"ffffffffc0000010 400 {' '.join([NOP] * step)}\nffffffffc0000010 600 {' '.join([NOP] * step)}\n"
            sections += f"ffffffff81000100 1000 {' '.join([NOP] * submit)}\n401000 1000 {' '.join([NOP] * 10)}\n"
            if run == 1:
                sections += f"ffffffff81001000 1000000 {NOP}\n"  # an interrupt, in one run only
    (folder / "ways.json").write_text(json.dumps({"facts": {"kernel": kernel}, "records": records}))
    (folder / "counts").write_text(sections)
    (folder / "kallsyms").write_text(KALLSYMS)
    (folder / "maps").write_text("00401000-00402000 r-xp 00000000 00:00 0 [made up]\n")
    return counts.Result(folder)


def compare(result, known):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        grown = (guard.same_kernel if result.kernel == known.kernel else guard.other_kernel)(result, known)
        for way in grown:
            guard.print_changes(way, known)
    return [way.name for way in grown], said.getvalue()


def fails_with(what, words, action):
    try:
        action()
    except counts.Failed as error:
        expect(f"{what}: the message says {words}", words in str(error), str(error))
    else:
        expect(f"{what} is refused", False)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        guard.TOTALS, guard.FUNCTIONS = folder / "instructions.csv", folder / "functions.csv"
        guard.counts.REPO = folder
        fails_with("A missing file", guard.WRITE, guard.Known)
        first = make_result(folder / "first")
        guard.write(first)
        known = guard.Known()
        loop = first.ways[1]
        expect("a loop's total is the sum of its functions, without an interrupt", loop.total() == 160 + 147 + 10, str(loop.total()))
        expect("each place has its own", loop.by_place() == {counts.KERNEL: 147, counts.PROGRAM: 160, counts.USER: 10}, str(loop.by_place()))
        expect("the program has its name", f"{counts.PROGRAM}: step" in loop.by_function(), str(loop.by_function()))

        others = [case for case in guard.CASES if case != guard.REFERENCE]
        expect("what has not changed passes", compare(make_result(folder / "same"), known)[0] == [])
        expect("1 % more passes", compare(make_result(folder / "little", step=163), known)[0] == [])
        grown, said = compare(make_result(folder / "much", step=170), known)
        expect("3 % more does not pass", grown == others, said)
        expect("the function that has grown is named", "+10.0  BPF program: step (160.0 before, 170.0 now)" in said, said)
        expect("no other function is named", "io_submit_sqes (" not in said, said)
        grown, said = compare(make_result(folder / "less", step=140), known)
        expect("less passes, and says how to write it down", grown == [] and guard.WRITE in said, said)

        grown, said = compare(make_result(folder / "other", "7.3.5", submit=167), known)
        expect("another kernel may take more itself", grown == [] and "7.3.4" in said and "wider margin" in said, said)
        grown, said = compare(make_result(folder / "other-much", "7.3.5", step=170), known)
        expect("what is not the kernel's may not, in another one either", grown == others, said)
        grown, said = compare(make_result(folder / "other-all", "7.3.5", submit=187), known)
        expect("nor may a loop cost much more where a plain enter costs the same", grown == others, said)
        grown, said = compare(make_result(folder / "other-both", "7.3.5", submit=187, reference=1130), known)
        expect("in a kernel where all costs more, it may", grown == [], said)

        counts_file = folder / "first" / "counts"
        counts_file.write_text(counts_file.read_text() + "section\n")
        fails_with("A run that was not marked", "counted", lambda: counts.Result(folder / "first"))
        counts_file.write_text(counts_file.read_text() + "failed: too many\n")
        fails_with("Incomplete counts", "too many", lambda: counts.Result(folder / "first"))
        guard.TOTALS.write_text("\n".join(guard.TOTALS.read_text().splitlines()[:-1]) + "\n")
        fails_with("A file without a case", guard.CASES[-1], guard.Known)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
