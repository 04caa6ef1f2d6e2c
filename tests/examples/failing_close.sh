#!/bin/bash
# ringstep-cp tells if closing a destination fails, and what became of the file. Usage: failing_close.sh PROGRAM LIBRARY; the library makes
# close(2) fail. RINGSTEP_ENGINE says by which engine: kernel or user.
set -u
cp=$1
library=$2
dir=$(mktemp -d /tmp/ringstep-cp.XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# run STATUS NAME ARGUMENTS…: runs ringstep-cp. Closing files fails if their path ends with NAME.
run() {
	local wanted=$1 name=$2 status=0
	shift 2
	LD_PRELOAD=$library FAILING_CLOSE=$name "$cp" "$@" >out 2>err || status=$?
	[ $status = "$wanted" ] || fail "ringstep-cp $*: exit status $status instead of $wanted: $(cat out err)"
}

says() {
	grep -qF -- "$2" "$1" || fail "no '$2' in: $(cat "$1")"
}

head -c 100000 /dev/urandom >a
head -c 70001 /dev/urandom >b
mkdir d

# A file that the copy has created is removed.
for options in "" "-p" "--fsync" "--direct" "--registered"; do
	# shellcheck disable=SC2086 # a list of options
	run 1 d/x $options a d/x
	says err "ringstep-cp: closing 'd/x' failed, so data may be lost: Disk quota exceeded. The destination is removed"
	[ ! -e d/x ] || fail "$options: d/x exists"
done

# A file that was there before stays.
echo old >d/x
run 1 d/x a d/x
says err "ringstep-cp: closing 'd/x' failed, so data may be lost: Disk quota exceeded. The destination is incomplete"
[ -e d/x ] || fail "d/x is missing"
rm d/x

# The other files are copied, and only they count.
run 1 d/a --stats -v a b d
says err "closing 'd/a' failed"
says out "files           1"
! grep -qF "'a' -> " out || fail "it says that it has copied 'a'"
[ ! -e d/a ] || fail "d/a exists"
cmp b d/b || fail "d/b is not a copy"

# Closing a source cannot lose anything.
run 0 /a a d/x
cmp a d/x || fail "d/x is not a copy"

if [ $failures != 0 ]; then
	echo "$failures failures" >&2
	exit 1
fi
echo "all passed"
