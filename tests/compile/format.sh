#!/bin/sh
# Every C++ file is formatted by the repo's .clang-format, and every C and BPF file by bpf/.clang-format. With --fix, they are made so.
# Usage: format.sh REPO [--fix]
set -eu
format=$(command -v clang-format-19 || command -v clang-format)
cd "$1"
what='--dry-run -Werror'
[ "${2:-}" != --fix ] || what=-i
failed=0
# shellcheck disable=SC2086 # a list of options
find include bench examples tests tools \( -name '*.hpp' -o -name '*.cpp' \) ! -name must_not_compile.cpp -print0 | sort -z |
	xargs -0 "$format" $what || failed=1
# shellcheck disable=SC2086 # a list of options
find bpf include bench examples tests tools kernel/selftests \( -name '*.h' -o -name '*.c' \) -print0 | sort -z |
	xargs -0 "$format" --style=file:bpf/.clang-format $what || failed=1
exit $failed
