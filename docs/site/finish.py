#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Finishes the site that doxygen has made: ties guides, reference and sources together.

    finish.py REPOSITORY FOLDER      (FOLDER has html/ and tags.xml)

- A guide's link to a header leads to the header's page of the reference. Other files of the repository that documents link to get
  pages of their own, in html/source/.
- Names in guides that stand as code (`Gate`, `Ring::cq()`, ringstep_get_sqe()) lead to the reference.
- Each page of the reference names the guides that lead to it.
- Links to documents show their titles.
"""
import html
import os
import pathlib
import re
import sys
import xml.etree.ElementTree

from filter import page_of
from layout import OTHERS, documents_of, title_of


class Reference:
    """What the tag file says: where names and headers are described."""

    def __init__(self, tags):
        self.names = {}
        self.files = {}
        bases = []
        for compound in xml.etree.ElementTree.parse(tags).getroot().findall("compound"):
            kind = compound.get("kind")
            name = compound.findtext("name")
            page = compound.findtext("filename")
            page = page if page.endswith(".html") else page + ".html"
            if kind == "file":
                self.files[(compound.findtext("path") or "") + name] = page
            if kind in ("class", "struct", "concept"):
                self.add(name, page)
            if kind in ("class", "struct", "namespace", "file"):
                for member in compound.findall("member"):
                    place = f'{member.findtext("anchorfile")}#{member.findtext("anchor")}'
                    inside = "" if kind == "file" else name + "::"
                    self.add(inside + member.findtext("name"), place)
            for base in compound.findall("base"):
                bases.append((name.removeprefix("ringstep::"), base.text.split("<")[0].strip().removeprefix("ringstep::")))
        # What a class has of its base is found by either name.
        for name, base in bases:
            for inherited, place in list(self.names.items()):
                if inherited.startswith(base + "::"):
                    self.names.setdefault(name + inherited.removeprefix(base), place)

    def add(self, name, place):
        for prefix in ("", "ringstep::"):
            if name.startswith(prefix) and name != prefix:
                short = name.removeprefix(prefix)
                self.names.setdefault(short, place)
                self.names.setdefault(short + "()", place)

    def of_code(self, code):
        """Where a piece of code is described that is a name, or begins with one: `set_batch(n)`, `struct ringstep_list`."""
        name = html.unescape(code).removeprefix("ringstep::").removeprefix("struct ").removeprefix("enum ")
        name = re.sub(r"\(.*\)$", "()", name)
        if not re.fullmatch(r"[A-Za-z_][\w:]*(\(\))?", name):
            return None
        # Short names of small letters are words, unless they are a class's member written in full.
        if "::" not in name and not name[0].isupper() and not name.startswith(("ringstep_", "RINGSTEP_")):
            return None
        return self.names.get(name)


def in_reference(path):
    """A header as the tag file names it."""
    for folder in ("include/", "bpf/"):
        if path.startswith(folder):
            return path.removeprefix(folder)
    return None


# One of each kind that the filter makes: the reference must not lose a whole part of the library or of the kit in silence.
MUST_BE_THERE = ("Ring", "LoopProgram", "Gate", "Gate::try_push()", "Error", "Engine", "RINGSTEP_LOOP()", "ringstep_for_each_cqe()", "ringstep_get_sqe()",
                 "ringstep_prep_nop()", "ringstep_requests_receive()", "ringstep_enter()", "ringstep_list")

NO_GUIDES = ("index.html", "reference.html", "guides.html", "changelog.html")

FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>ringstep: {title}</title>
<link href="{up}doxygen.css" rel="stylesheet"/><link href="{up}doxygen-awesome.css" rel="stylesheet"/><link href="{up}site.css" rel="stylesheet"/>
</head><body>
<div id="top"><div id="titlearea"><div id="projectname"><a href="{up}index.html">ringstep</a></div></div></div>
<div class="header"><div class="headertitle"><div class="title">{title}</div></div></div>
<div class="contents">{guides}{body}</div>
</body></html>
"""


def source_page(repository, path, guides, linked):
    """A page of html/source/ for a file, or for a folder with links to its files."""
    here = repository / path
    up = "../" * (path.count("/") + 1)
    if here.is_dir():
        files = sorted(file.relative_to(repository).as_posix() for file in here.rglob("*") if file.is_file())
        linked.update(files)
        items = "".join(f'<li><a href="{up}source/{html.escape(file)}.html">{html.escape(file)}</a></li>' for file in files)
        body = f"<ul>{items}</ul>"
    else:
        body = f'<pre class="fragment">{html.escape(here.read_text(encoding="utf-8"))}</pre>'
    return FRAME.format(title=html.escape(path), up=up, guides=guides.replace('href="', f'href="{up}'), body=body)


def guides_line(pages, titles):
    links = ", ".join(f'<a href="{page}">{html.escape(titles[page])}</a>' for page in pages)
    return f'<p class="guides-of-this">Guides: {links}</p>' if links else ""


def without_dead_summary(text):
    """A class's summary at the top of its page names sections that doxygen then leaves out."""
    there = set(re.findall(r'(?:id|name)="([^"]+)"', text))
    before, opening, rest = text.partition('<div class="summary">')
    summary, closing, after = rest.partition("</div>")
    summary = re.sub(r'<a href="#([^"]+)">[^<]*</a>(?: &#124;\s*)?', lambda found: found[0] if found[1] in there else "", summary)
    return before + opening + summary + closing + after


def main():
    repository, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    site = folder / "html"
    reference = Reference(folder / "tags.xml")
    documents = ["README.md", "docs/README.md", *documents_of(repository), *OTHERS]
    titles = {page_of(name) + ".html": title_of(repository / name) for name in documents if (repository / name).is_file()}
    for name in MUST_BE_THERE:
        if name not in reference.names:
            sys.exit(f"{name} is not in the reference: does docs/site/filter.py still find its comment?")
    guides = {}  # of a page of the reference or of a source: those that link to it
    sources = set()

    for guide in titles:
        page = site / guide
        text = page.read_text(encoding="utf-8")
        head, opening, contents = text.partition('<div class="contents">')

        def lead(found):
            target, slash, _ = found[1].partition("#")
            path = target.removeprefix("source/").removesuffix(".html")
            header = in_reference(path)
            if header in reference.files:
                return f'href="{reference.files[header]}"'
            sources.add(path)
            return found[0]

        contents = re.sub(r'href="(source/[^"]+)"', lead, contents)

        # A document's name says little here: its title does.
        contents = re.sub(r'<a href="([^"#]+\.html)">(?:docs/)?[\w/-]+\.md</a>',
                          lambda found: f'<a href="{found[1]}">{html.escape(titles[found[1]])}</a>' if found[1] in titles else found[0],
                          contents)

        def name(found):
            place = reference.of_code(found[1])
            return f'<a class="el" href="{place}"><code>{found[1]}</code></a>' if place else found[0]

        # Not what is a link already.
        parts = re.split(r"(<a\b.*?</a>|<h[1-6]\b.*?</h[1-6]>)", contents, flags=re.DOTALL)
        contents = "".join(part if part.startswith(("<a", "<h")) else re.sub(r"<code>([^<]+)</code>", name, part) for part in parts)
        for target in re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', contents):
            # Everything is in the namespace, and lists of all are no guides.
            if target not in (*titles, "namespaceringstep.html") and guide not in NO_GUIDES:
                guides.setdefault(target, dict())[guide] = True
        page.write_text(head + opening + contents, encoding="utf-8")

    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        fixed = without_dead_summary(text)
        if fixed != text:
            page.write_text(fixed, encoding="utf-8")

    linked = set()
    todo = sorted(sources)
    done = set()
    while todo:
        path = todo.pop()
        if path in done or not (repository / path).exists():
            continue
        done.add(path)
        output = site / "source" / (path + ".html")
        output.parent.mkdir(parents=True, exist_ok=True)
        line = guides_line(guides.get(f"source/{path}.html", {}), titles)
        output.write_text(source_page(repository, path, line, linked), encoding="utf-8")
        todo += sorted(linked - done)

    for target, of in guides.items():
        page = site / target
        if target.startswith("source/") or not page.is_file():
            continue
        text = page.read_text(encoding="utf-8")
        text = text.replace('<div class="contents">', '<div class="contents">' + guides_line(of, titles), 1)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
