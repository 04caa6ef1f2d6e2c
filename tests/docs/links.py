#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks for dead links.

    links.py --site FOLDER                     of a site: each link leads to a file of it and, with a #, to an anchor in that
    links.py --documents REPOSITORY            of the repository's documents: to a file, and to a heading

Links to other sites are not followed.
"""
import argparse
import html.parser
import os
import pathlib
import re
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs" / "site"))
sys.dont_write_bytecode = True
from filter import slug_of  # noqa: E402


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.anchors = set()
        self.links = []
        self.feed(path.read_text(encoding="utf-8", errors="replace"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if not value:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            if (name == "href" and tag in ("a", "link")) or (name == "src" and tag in ("img", "script")):
                self.links.append((self.getpos()[0], value))


def is_elsewhere(link):
    return re.match(r"[a-z]+:|//", link) is not None


def check_site(site):
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    dead = []
    count = 0
    for path, page in pages.items():
        for line, link in page.links:
            if is_elsewhere(link):
                continue
            count += 1
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            there = pathlib.Path(os.path.normpath(path.parent / target)) if target else path
            if not there.is_file():
                dead.append(f"{path}:{line}: {link}: there is no such page")
            elif anchor and there in pages and anchor not in pages[there].anchors:
                dead.append(f"{path}:{line}: {link}: the page has no such anchor")
    # Scripts make the menu and the search: the pages that these lead to are in their data.
    menu = re.compile(r"""\burl:['"]([^'"]*)['"]""")
    search = re.compile(r"""['"](\.\./[^'"]+)['"]""")
    for data, pattern in [(site / "menudata.js", menu), *((path, search) for path in sorted((site / "search").glob("*_*.js")))]:
        for link in pattern.findall(data.read_text(encoding="utf-8")):
            count += 1
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            there = pathlib.Path(os.path.normpath(data.parent / target))
            if there not in pages:
                dead.append(f"{data}: {link}: there is no such page")
            elif anchor and anchor not in pages[there].anchors:
                dead.append(f"{data}: {link}: the page has no such anchor")
    return count, dead


def document_parts(path):
    """The anchors of a document, and its links with their lines."""
    anchors, links, seen, inside = set(), [], {}, False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        if inside:
            continue
        heading = re.match(r"#+ (.*)$", line)
        if heading:
            slug = slug_of(heading[1])
            seen[slug] = seen.get(slug, -1) + 1
            anchors.add(slug + (f"-{seen[slug]}" if seen[slug] else ""))
        links += [(number, link) for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line))]
    return anchors, links


def check_documents(repository):
    paths = [path for pattern in ("*.md", "docs/*.md", "kernel/*.md") for path in sorted(repository.glob(pattern))]
    parts = {path: document_parts(path) for path in paths}
    dead = []
    count = 0
    for path, (_, links) in parts.items():
        for number, link in links:
            if is_elsewhere(link):
                continue
            count += 1
            target, _, anchor = link.partition("#")
            there = pathlib.Path(os.path.normpath(path.parent / target)) if target else path
            if not there.exists():
                dead.append(f"{path}:{number}: {link}: there is no such file")
            elif anchor and (there not in parts or anchor not in parts[there][0]):
                dead.append(f"{path}:{number}: {link}: the document has no such heading")
    return count, dead


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--site", type=pathlib.Path)
    what.add_argument("--documents", type=pathlib.Path)
    arguments = parser.parse_args()
    count, dead = check_site(arguments.site.resolve()) if arguments.site else check_documents(arguments.documents.resolve())
    print("\n".join(dead))
    if count == 0:
        sys.exit("there are no links: is that the right folder?")
    print(f"{count} links, {len(dead)} dead")
    sys.exit(1 if dead else 0)


if __name__ == "__main__":
    main()
