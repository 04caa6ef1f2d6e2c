#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares blocks of documents that quote another file with that file.

    quotes.py REPOSITORY DOCUMENT…

A block that begins with ```c from="examples/hello/hello.bpf.c" is a quote: its lines stand in that file, in one piece. A line with
nothing but … in it stands for lines that are left out. How far lines are indented does not matter.
"""
import pathlib
import re
import sys


def lines_of(text):
    return [line.strip() for line in text.splitlines()]


def is_in(part, lines):
    return any(lines[at:at + len(part)] == part for at in range(len(lines) - len(part) + 1))


def parts_of(block):
    parts = [[]]
    for line in lines_of(block):
        if line in ("…", "/* … */", "// …"):
            parts.append([])
        else:
            parts[-1].append(line)
    return [part for part in parts if part]


def main():
    repository = pathlib.Path(sys.argv[1])
    wrong = quotes = 0
    for document in sys.argv[2:]:
        text = pathlib.Path(document).read_text(encoding="utf-8")
        for block in re.finditer(r'^```[^\n]*\bfrom="([^"]+)"[^\n]*\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
            quotes += 1
            place = f"{document}:{text.count(chr(10), 0, block.start()) + 1}"
            source = repository / block[1]
            if not source.is_file():
                print(f"{place}: quotes {block[1]}, which does not exist")
                wrong += 1
                continue
            lines = lines_of(source.read_text(encoding="utf-8"))
            for part in parts_of(block[2]):
                if not is_in(part, lines):
                    print(f"{place}: these lines are not in {block[1]}:\n" + "\n".join(part))
                    wrong += 1
    if quotes == 0:
        sys.exit("no document quotes anything")
    print(f"{quotes} quotes, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
