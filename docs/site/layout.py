#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the site's menu, in the order of docs/README.md, and prints the documents of the site.

    layout.py REPOSITORY OUTPUT
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from xml.sax.saxutils import quoteattr

from filter import page_of

OTHERS = ("CONTRIBUTING.md", "CHANGELOG.md")


def title_of(path):
    return re.match(r"# (.*)", path.read_text(encoding="utf-8"))[1]


def documents_of(repository):
    """Those that docs/README.md lists, in its order, then the rest of docs/."""
    index = repository / "docs" / "README.md"
    listed = [os.path.normpath(f"docs/{target}") for target in re.findall(r"\]\(([^)#]+\.md)[^)]*\)", index.read_text(encoding="utf-8"))]
    there = [f"docs/{path.name}" for path in sorted((repository / "docs").glob("*.md"))]
    documents = list(dict.fromkeys(listed + there))
    return [name for name in documents if name not in ("docs/README.md", "README.md", *OTHERS) and (repository / name).is_file()]


def main():
    repository, output = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    guides = documents_of(repository)
    tabs = "".join(
        f'      <tab type="user" url={quoteattr("@ref " + page_of(name))} title={quoteattr(title_of(repository / name))}/>\n'
        for name in guides if name != "docs/reference.md")
    others = "".join(
        f'    <tab type="user" url={quoteattr("@ref " + page_of(name))} title={quoteattr(title)}/>\n'
        for name, title in zip(OTHERS, ("Contributing", "Changes")) if (repository / name).is_file())
    menu = f"""  <navindex>
    <tab type="mainpage" visible="yes" title="ringstep"/>
    <tab type="usergroup" url="@ref guides" title="Guides">
{tabs}    </tab>
    <tab type="usergroup" url="@ref reference" title="Reference">
      <tab type="user" url="@ref reference" title="Headers, by what they are for"/>
      <tab type="classlist" visible="yes" title="Classes" intro=""/>
      <tab type="user" url="namespaceringstep.html" title="Namespace ringstep"/>
      <tab type="filelist" visible="yes" title="Headers of library and kit" intro=""/>
      <tab type="globals" visible="yes" title="Functions and macros of the kit" intro=""/>
    </tab>
{others}  </navindex>
"""
    with tempfile.TemporaryDirectory() as folder:
        standard = pathlib.Path(folder) / "layout.xml"
        subprocess.run(["doxygen", "-l", str(standard)], check=True, stdout=subprocess.DEVNULL)
        text = standard.read_text(encoding="utf-8")
    output.write_text(re.sub(r"  <navindex>.*</navindex>\n", lambda _: menu, text, flags=re.DOTALL), encoding="utf-8")
    names = ["README.md", "docs/README.md", *guides, *(name for name in OTHERS if (repository / name).is_file())]
    print(" ".join(f'"{repository / name}"' for name in names))


if __name__ == "__main__":
    main()
