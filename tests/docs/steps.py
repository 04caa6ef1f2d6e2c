#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the table of the longest steps in docs/security.md with the comments at the top of the loops.

    steps.py REPOSITORY [--write]
"""
import pathlib
import re
import sys

repository = pathlib.Path(sys.argv[1])
document = repository / "docs/security.md"
HEAD = "| loop | iterations | submits |\n|---|---|---|\n"


COMPILED = "bpf/ringstep/chain/compiled.bpf.h"  # of the loops that ringstep_add_graph() makes


def row_of(path, name=None):
    text = re.sub(r"\n \*/?", "", path.read_text(encoding="utf-8"))
    found = re.search(r"The longest step\b.*?([\d,]+)\s+iterations?(?:, with ([\d,]+)\s+submits? at most)?\.", text)
    name = name or path.name.removesuffix(".bpf.c")
    if not found:
        sys.exit(f"{path} does not state its longest step: \"The longest step … That makes 100 iterations, with 10 submits at most.\"")
    return f"| [{name}](../{path.relative_to(repository)}) | {found[1]} | {found[2] or found[1]} |\n"


table = HEAD + "".join(row_of(path) for path in sorted(repository.glob("bpf/loops/*.bpf.c")))
table += row_of(repository / COMPILED, "compiled graphs")
text = document.read_text(encoding="utf-8")
if "--write" in sys.argv:
    text = re.sub(re.escape(HEAD) + r"(\|.*\n)*|^STEPS\n", table, text, count=1, flags=re.MULTILINE)
    document.write_text(text, encoding="utf-8")
if table not in text:
    sys.exit(f"the table in {document} differs from the comments in bpf/loops. It should be:\n{table}")
print(f"{table.count('../bpf/loops')} loops")
