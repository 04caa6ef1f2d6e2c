#!/bin/sh
# Writes the site: the guides, the reference of the C++ library and that of the kit, made of the documents and of the comments in the
# headers. Fails if doxygen has anything to say.
# Usage: make_reference.sh REPO FOLDER      (the site is in FOLDER/html)
set -eu
repo=$1
folder=$2
site=$repo/docs/site
version=$(sed -n 's/^#define RINGSTEP_VERSION_[A-Z]* //p' "$repo/include/ringstep/version.hpp" | paste -s -d .)
awesome=${RINGSTEP_AWESOME:-/usr/share/doxygen-awesome-css}
[ -d "$awesome" ] || { echo "$awesome is missing: install doxygen-awesome-css, or set RINGSTEP_AWESOME to its folder" >&2; exit 1; }
rm -rf "$folder/html"
mkdir -p "$folder"
export PYTHONDONTWRITEBYTECODE=1
documents=$(python3 "$site/layout.py" "$repo" "$folder/layout.xml")
export RINGSTEP_SOURCE="$repo" RINGSTEP_DOCS="$folder" RINGSTEP_VERSION="$version" RINGSTEP_AWESOME="$awesome" RINGSTEP_DOCUMENTS="$documents"
doxygen "$repo/docs/Doxyfile"
python3 "$site/finish.py" "$repo" "$folder"
