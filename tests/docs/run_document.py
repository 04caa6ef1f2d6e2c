#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does what a document tells its reader to do, and compares what comes out with what the document shows.

    run_document.py DOCUMENT FOLDER               does all of it on this machine, in an empty folder
    run_document.py --kernel DOCUMENT FOLDER      then, in a kernel with loops: the blocks that need one

In the document:

    ```c title="tar_walk.h"   a file, written into the current folder
    ```sh                     commands, run by a shell that stops at the first one that fails. `cd` lasts
    ```sh fails               the same; the last command has to fail
    ```sh kernel              run by --kernel only, in a copy of the folder as it was when the document came to this block
    ```text                   right after commands: what they print. `…` stands for anything in a line, or, alone, for any lines
    ```text any-order         the same lines, in any order

All other blocks are only to be read. With --files-of OTHER, the files of another document are there from the beginning.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

SECONDS = 200  # for one block of commands


class Block:
    def __init__(self, line, info):
        words = info.split()
        self.line = line
        self.language = words[0] if words else ""
        title = re.search(r'title="([^"]+)"', info)
        self.title = title[1] if title else None
        self.fails = "fails" in words
        self.kernel = "kernel" in words
        self.any_order = "any-order" in words
        self.text = ""
        self.expected = None  # a block, for commands


def blocks_of(path):
    blocks, inside = [], False
    with open(path, encoding="utf-8") as document:
        for number, line in enumerate(document, 1):
            if line.startswith("```"):
                inside = not inside
                if inside:
                    blocks.append(Block(number, line[3:].strip()))
            elif inside:
                blocks[-1].text += line
    for block, following in zip(blocks, blocks[1:]):
        if block.language == "sh" and following.language == "text":
            block.expected = following
    return blocks


def is_shown(expected, output):
    shown = expected.text
    if expected.any_order:
        shown, output = ("".join(sorted(text.splitlines(keepends=True))) for text in (shown, output))
    return re.fullmatch(pattern_of(shown), output) is not None


def pattern_of(shown):
    lines = []
    for line in shown.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(re.escape(part) for part in line.split("…")) + r"\n")
    return "".join(lines)


def write_file(block, folder):
    path = os.path.join(folder, block.title)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(block.text)


def run(document, block, folder):
    """Runs a block of commands; returns the folder that they end in."""
    where = folder + ".where"  # a name beside the folder, so that nothing of ours is in it
    script = f"trap 'pwd >\"{where}\"' EXIT\nset -eu\n{block.text}"
    done = subprocess.run(["sh", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    output = done.stdout.decode("utf-8", "replace")
    with open(where, encoding="utf-8") as file:
        ends_in = file.read().rstrip("\n")
    os.unlink(where)

    wrong = None
    if block.fails != (done.returncode != 0):
        wrong = f"ended with status {done.returncode}"
    elif block.expected and not is_shown(block.expected, output):
        wrong = f"do not print what is shown in line {block.expected.line}"
    if wrong:
        sys.exit(f"{document}:{block.line}: these commands {wrong}:\n{block.text}\nThey print:\n{output}")
    return ends_in


def mounts():
    with open("/proc/self/mounts", encoding="utf-8") as table:
        return [line.split()[1] for line in table]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="store_true")
    parser.add_argument("--files-of", metavar="OTHER")
    parser.add_argument("--link", action="append", default=[], metavar="NAME=PATH", help="what the reader has already")
    parser.add_argument("--path", action="append", default=[], metavar="FOLDER", help="of programs that the document names")
    parser.add_argument("document")
    parser.add_argument("folder")
    arguments = parser.parse_args()
    document, folder = arguments.document, os.path.abspath(arguments.folder)
    # What a test chooses for itself is not the reader's.
    for name in "RINGSTEP_TRACE", "MAKEFLAGS":
        os.environ.pop(name, None)
    os.environ["PATH"] = os.pathsep.join([os.path.abspath(path) for path in arguments.path] + [os.environ["PATH"]])
    blocks = blocks_of(document)
    commands = [block for block in blocks if block.language == "sh"]

    count = 0
    if arguments.kernel:
        before = mounts()
        for block in commands:
            if block.kernel:
                with open(f"{folder}.kernel/{block.line}.folder", encoding="utf-8") as file:
                    run(document, block, file.read())
                count += 1
        # The reader may keep what the commands have mounted, the test may not.
        for place in reversed(mounts()[len(before):]):
            subprocess.run(["umount", place], check=True)
    else:
        for old in folder, folder + ".kernel":
            shutil.rmtree(old, ignore_errors=True)
            os.makedirs(old)
        for link in arguments.link:
            name, path = link.split("=", 1)
            name = os.path.join(folder, name)
            if os.path.islink(name):
                os.unlink(name)
            os.symlink(path, name)
        if arguments.files_of:
            for block in blocks_of(arguments.files_of):
                if block.title:
                    write_file(block, folder)
        current = folder
        for block in blocks:
            if block.title:
                write_file(block, current)
            elif block.language == "sh" and block.kernel:
                copy = f"{folder}.kernel/{block.line}"
                shutil.copytree(folder, copy, symlinks=True)
                with open(copy + ".folder", "w", encoding="utf-8") as file:
                    file.write(copy + current.removeprefix(folder))
            elif block.language == "sh":
                current = run(document, block, current)
                count += 1
    if count == 0:
        sys.exit(f"{document} has no commands to run")
    print(f"{document}: {count} blocks of commands do what it says")


if __name__ == "__main__":
    main()
