#!/bin/sh
# Writes the reference of the C++ library, made of the comments in its headers. Fails if doxygen has anything to say.
# Usage: make_reference.sh REPO FOLDER
set -eu
repo=$1
folder=$2
version=$(sed -n 's/^#define RINGSTEP_VERSION_[A-Z]* //p' "$repo/include/ringstep/version.hpp" | paste -s -d .)
rm -rf "$folder/html"
mkdir -p "$folder"
RINGSTEP_SOURCE=$repo RINGSTEP_DOCS=$folder RINGSTEP_VERSION=$version doxygen "$repo/docs/Doxyfile"
