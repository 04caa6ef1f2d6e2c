#!/bin/sh
# Every C++ file is formatted by the repo's .clang-format.
# Usage: format.sh REPO
set -eu
format=$(command -v clang-format-19 || command -v clang-format)
cd "$1"
find include bench examples tests tools \( -name '*.hpp' -o -name '*.cpp' \) ! -name must_not_compile.cpp -print0 | sort -z |
	xargs -0 "$format" --dry-run -Werror
