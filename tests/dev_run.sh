#!/bin/bash
# ./dev run names the files that go with the tool box when the command has ended, and only those. It refuses to share a folder that is
# not there. A command ignores the signals that ./dev was started to ignore.
#
#   dev_run.sh REPO
set -u
dev=$1/dev
if [[ ${RINGSTEP_IN_TOOLBOX:-} == host ]]; then
	echo "this machine has the tools itself: there is no tool box"
	exit 77
fi
folder=$(mktemp -d "$1/build-dev-run.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
mkdir kept
failures=0

fail() {
	echo "FAILED: $*" >&2
	cat err >&2
	failures=$((failures + 1))
}

# run STATUS COMMAND…: in a tool box of its own, also where this one runs in the tool box already.
run() {
	local wanted=$1 status=0
	shift
	env -u RINGSTEP_IN_TOOLBOX -u RINGSTEP_VERBOSE RINGSTEP_TOOLBOX=box RINGSTEP_MOUNT="${mount:-}" "$dev" run -- "$@" >out 2>err || status=$?
	[[ $status == "$wanted" ]] || fail "$*: exit status $status instead of $wanted"
}

mount=
run 0 true
[[ ! -s err ]] || fail "something was said about a command that left nothing"
run 7 sh -c 'echo kept >file; echo temporary >/tmp/temporary; rm /tmp/temporary; mkdir /tmp/empty; exit 7'
[[ ! -s err && $(cat file) == kept ]] || fail "something was said about a command that left nothing but a file that is kept"

run 7 sh -c 'for i in /tmp/one /var/tmp/two /dev/shm/three /run/four; do echo "$i" >$i; done; exit 7'
for file in /tmp/one /var/tmp/two /dev/shm/three /run/four; do
	grep -qx "     $file" err || fail "$file was not named"
done
grep -q 'RINGSTEP_MOUNT=' err || fail "not said how to keep files"
run 0 sh -c 'for i in $(seq 30); do : >/tmp/$i; done'
[[ $(grep -c '^     /tmp/' err) == 10 ]] && grep -q 'and 20 more' err || fail "30 files: not 10 of them were named"

# A ./dev in the tool box throws nothing away: its caller goes on.
run 0 sh -c "'$dev' run -- sh -c 'echo one >/tmp/one' && rm /tmp/one"
[[ ! -s err ]] || fail "something was said while the tool box went on"

# Signals that are ignored stay ignored (as by nohup, or by a script's &), and no others are.
for signals in INT,QUIT INT HUP; do
	env --default-signal=INT,QUIT,HUP --ignore-signal=$signals env -u RINGSTEP_IN_TOOLBOX RINGSTEP_TOOLBOX=box "$dev" run -- \
		sh -c 'grep SigIgn /proc/self/status' >out 2>err || fail "with $signals ignored"
	mask=0
	for signal in ${signals//,/ }; do
		((mask |= 1 << ($(kill -l $signal) - 1)))
	done
	(((16#$(cut -f 2 out) & 7) == mask)) || fail "with $signals ignored, the command got $(cat out)"
done

# Folders that are shared, also below /tmp and in its place.
shared=$(mktemp -d /tmp/ringstep-dev-run.XXXXXX)
mount=$shared:$folder/kept run 0 sh -c "echo one >$shared/one; echo two >kept/two"
[[ ! -s err && $(cat "$shared/one") == one && $(cat kept/two) == two ]] || fail "a shared folder below /tmp"
mount=/tmp run 0 sh -c "echo one >$shared/three; echo two >/run/four"
[[ -e $shared/three ]] && grep -q /run/four err && ! grep -q three err || fail "/tmp is shared"
rm -rf "$shared"
for mount in "$folder/missing" relative /tmp:also/relative; do
	run 1 true
	grep -q "RINGSTEP_MOUNT names ${mount#/tmp:}, which is not the absolute path of a folder" err || fail "no error for RINGSTEP_MOUNT=$mount"
done

((failures == 0)) || exit 1
echo "all passed"
