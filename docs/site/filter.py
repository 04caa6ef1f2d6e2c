#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prepares one file for doxygen, which calls this for each (FILTER_PATTERNS in docs/Doxyfile). Prints it.

Documents: each becomes a page, each of its headings an anchor that is unique in the site, and links lead to pages and anchors of the site.
Headers: ordinary comments become doxygen's, in the two ways that the repository has: C (the kit, and what it shares with the library)
and C++.
"""
import os
import pathlib
import re
import sys

REPOSITORY = pathlib.Path(os.environ.get("RINGSTEP_SOURCE", ".")).resolve()


def page_of(document):
    """The page of a document, as doxygen names it: docs/gate.md is gate.html."""
    path = pathlib.PurePosixPath(document)
    if str(path) == "README.md":
        return "index"
    if str(path) == "docs/README.md":
        return "guides"
    if path.name == "README.md":
        return path.parent.name
    return path.stem.lower()


def slug_of(heading):
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link: its text
    text = re.sub(r"[^\w\- ]", "", text.strip().lower())
    return text.replace(" ", "-")


def anchor_of(document, slug):
    return f"{page_of(document)}-{slug}"


def link(document, target):
    """Where a link of a document leads in the site."""
    if re.match(r"[a-z]+:", target):
        return target
    if target.endswith(".svg"):
        return os.path.basename(target)  # doxygen copies it (IMAGE_PATH)
    path, _, slug = target.partition("#")
    if path:
        there = os.path.normpath(os.path.join(os.path.dirname(document), path))
    else:
        there = document
    if there.endswith(".md"):
        page = page_of(there) + ".html"
        return f"{page}#{anchor_of(there, slug)}" if slug else page
    # finish.py makes pages of these, or leads to the reference.
    return f"source/{there}.html"


def filter_document(document, text):
    lines = []
    inside = False
    titled = False
    seen = {}
    for number, line in enumerate(text.splitlines()):
        if line.startswith("```"):
            inside = not inside
            # doxygen knows a language, and nothing behind it.
            words = line[3:].split()
            language = {"sh": "sh", "c": "c", "cpp": "cpp", "cmake": "cmake"}.get(words[0]) if inside and words else None
            title = re.search(r'title="([^"]+)"', line)
            if inside and title:
                lines += [f"*{title[1]}*", ""]
            lines.append("```" + (f"{{.{language}}}" if language in ("c", "cpp") else "{.unparsed}" if inside else ""))
            continue
        if inside:
            lines.append(line)
            continue
        heading = re.match(r"(#+) (.*)$", line)
        if heading:
            slug = slug_of(heading[2])
            seen[slug] = seen.get(slug, -1) + 1
            if seen[slug]:
                slug += f"-{seen[slug]}"
            if not titled:
                titled = True
                label = page_of(document)
                lines.append(f"# {heading[2]}" + ("" if label == "index" else f" {{#{label}}}"))
            else:
                lines.append(f"{heading[1]} {heading[2]} {{#{anchor_of(document, slug)}}}")
            continue
        # To doxygen, a quotation mark ends what a single backtick begins.
        line = re.sub(r"(?<!`)`([^`]+)`(?!`)", lambda found: f"`{found[0]}`" if "'" in found[1] else found[0], line)
        line = re.sub(r"(\]\()([^)\s]+)(\))", lambda found: found[1] + link(document, found[2]) + found[3], line)
        lines.append(line)
    return "\n".join(lines) + "\n"


# Constants of io_uring's UAPI, which the kit has for those whose system headers are old.
UAPI = re.compile(r"#define (IO[A-Z]*_|SPLICE_|ECANCELED)")
EXAMPLE = re.compile(r"^( \*) Example: (.*)$")
PREPARES = re.compile(r"static __always_inline void ringstep_(prep_\w+)\(")
TRAILING = re.compile(r"^(#define \S+ .*|[^#*/]*[^#*/ \t].*)/\* (.*) \*/$")


def filter_c(text):
    """Comments of C: before a declaration, and behind one on the same line."""
    out = []
    in_comment = False
    first = True
    for line in text.splitlines():
        if "SPDX" in line or UAPI.match(line):
            continue
        prepares = PREPARES.match(line)
        if prepares and not (out and out[-1].endswith("*/")):
            out.append(f"/** Fills in an SQE like liburing's io_uring_{prepares[1]}(). */")
        if line.startswith("/*") and not line.startswith("/**"):
            line = "/**" + line[2:]
            if first:  # what the file is about
                rest = line[3:].strip()
                out.append("/** @file")
                line = " * " + rest if rest else " *"
                if rest.endswith("*/"):
                    out.append(line)
                    first = False
                    continue
            first = False
            in_comment = "*/" not in line
        elif in_comment:
            in_comment = "*/" not in line
        elif line.strip():
            first = False
        if in_comment:
            example = EXAMPLE.match(line)
            if example:
                out += [" *", " * **Example**:", " *", f" *     {example[2]}"]
                continue
            if re.match(r"^ \* Example:$", line):
                out += [" *", " * **Example**:", " *"]
                continue
            # Code in a comment is indented by a tab, which would be two columns behind the star.
            if line.startswith(" *\t"):
                line = " *     " + line[3:].replace("\t", "        ")
        else:
            line = TRAILING.sub(r"\1/**< \2 */", line)
        out.append(line)
    text = "\n".join(out) + "\n"
    # timer.bpf.h replaces a macro of cqe.bpf.h, which is described there.
    text = re.sub(r"#undef (\w+)\n#define \1\(.*\n(.*\\\n)*.*\n", "", text)
    # Which of the two targets defines the loop does not matter to an author.
    return re.sub(r"#ifdef __bpf__\n#include <ringstep/target/kernel_loop.bpf.h>\n#else\n.*?#endif\n",
                  "#define RINGSTEP_LOOP(name, state_type)\n", text, flags=re.DOTALL)


def filter_cpp(text):
    """Namespaces without their version. The comment that a header begins with is about the file."""
    # The loops of ringstep::loops are described where they are declared. What defines them is generated.
    text = re.sub(r"^struct (\w+);$", r"struct \1 {};", text, flags=re.MULTILINE) if "namespace loops" in text or "::loops {" in text else text
    lines = text.replace("::inline v0", "").splitlines()
    out = []
    head = []
    begun = False
    for line in lines:
        if "SPDX" in line:
            continue
        if not begun and line.startswith("// "):
            head.append("/// " + line[3:])
            continue
        if not begun:
            begun = True
            out += ["/// @file", *head]
            out.append("")
        out.append(line)
    return "\n".join(out) + "\n"


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = filter_document(str(path.relative_to(REPOSITORY)), text)
    elif path.suffix == ".h":
        text = filter_c(text)
    else:
        text = filter_cpp(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
