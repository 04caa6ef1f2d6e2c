#!/bin/bash
# ringstep-cp from the outside. Usage: ringstep_cp.sh PROGRAM, as root; RINGSTEP_ENGINE says by which engine: kernel or user.
set -u
cp=$1
engine=${RINGSTEP_ENGINE:-kernel}
dir=$(mktemp -d /tmp/ringstep-cp.XXXXXX)
trap 'umount -q "$dir/small" "$dir/ext4" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0
# In a virtual machine, starting a program and loading a loop take most of a second. So only one example of each kind runs there, and nothing of what
# the program does before and after a copy: that is the same whatever the kernel, and runs by the user engine outside of it.
all=yes
[ -z "${RINGSTEP_VM_KERNEL:-}" ] || [ -n "${RINGSTEP_THOROUGH:-}" ] || all=

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# check WHAT COMMAND…: the command has to succeed.
check() {
	local what=$1
	shift
	"$@" || fail "$what: $*"
}

# run STATUS ARGUMENTS…: runs ringstep-cp; its output goes to the files out and err.
run() {
	local wanted=$1 status
	shift
	"$cp" "$@" >out 2>err
	status=$?
	[ $status = "$wanted" ] || fail "ringstep-cp $*: exit status $status instead of $wanted: $(cat out err)"
}

says() {
	grep -qF -- "$2" "$1" || fail "no '$2' in: $(cat "$1")"
}

silent() {
	[ ! -s out ] && [ ! -s err ] || fail "not silent: $(cat out err)"
}

missing() {
	[ ! -e "$1" ] || fail "$1 exists"
}

head -c 5000000 /dev/urandom >a
head -c 70001 /dev/urandom >b
: >empty

# One file, an empty one, several; nothing is said in a pipe or file.
run 0 a a1
silent
check "content" cmp a a1
mkdir d
run 0 a b empty d
silent
check "into a directory" cmp a d/a
check "into a directory" cmp b d/b
check "into a directory" test -e d/empty
if [ -n "$all" ]; then
	run 0 empty empty1
	check "empty" test -f empty1 -a ! -s empty1
	run 0 b d
	check "one into a directory" cmp b d/b
	run 0 a b d/
	check "directory with a slash" cmp a d/a
	echo "old content that is longer than b" >old
	cat a >>old
	run 0 b old
	check "a shorter one over a longer one" cmp b old
fi

# Options of the copy.
for options in "--queue-depth 1 --block-size 512" "--queue-depth 256 --block-size 1M" "--block-size 4k" "--direct" "--direct --block-size 8K" \
	"--registered" "--registered --direct" "--sparse always" "--sparse never" "--engine $engine" "--engine auto" "--fsync" "-q"; do
	[ -n "$all" ] || [[ $options == "--registered --direct" || $options == "--engine $engine" ]] || continue
	rm -f x
	# shellcheck disable=SC2086 # a list of options
	run 0 $options a x
	check "$options" cmp a x
done

# Sparse files.
truncate -s 50M holes
printf 'data' | dd of=holes bs=1 seek=30000000 conv=notrunc 2>/dev/null
run 0 --stats holes holes1
check "sparse" cmp holes holes1
check "sparse: blocks" test "$(stat -c %b holes1)" -le $(($(stat -c %b holes) + 16))
says out "holes           2 ("
if [ -n "$all" ]; then
	run 0 --sparse never holes holes2
	check "not sparse" cmp holes holes2
	check "not sparse: blocks" test "$(stat -c %b holes2)" -ge 97000
	rm holes2
fi
rm holes holes1

# What it says.
run 0 -v a b d
says out "'a' -> 'd/a' (4.8 MiB)"
says out "'b' -> 'd/b'"
run 0 --stats a b d
says out "files           2"
says out "bytes           5070001"
says out "engine          $engine"
if [ "$engine" = kernel ]; then
	says out "io_uring_enter  2"
	says out "system calls    16"
fi

# System calls, counted from outside.
strace -f -o trace "$cp" a x || fail "strace"
# Waits for completions, that is: taking the loop off the ring wakes up whoever may be running it, by another ring. Closing the ring
# cancels, and looks what comes of it.
if [ "$engine" = kernel ]; then
	check "one io_uring_enter" test "$(sed '/IORING_REGISTER_SYNC_CANCEL/,$d' trace | grep -c 'io_uring_enter(.*IORING_ENTER_GETEVENTS')" = 1
fi
check "no other way of copying" sh -c '! grep -qE "p?(read|write)v?(64)?\([0-9]+, .*[0-9]{4,}\) = [0-9]{5,}|^[0-9]+ +(copy_file_range|sendfile)" trace'

if [ -n "$all" ]; then
	# Modes, owners, times, attributes.
	head -c 1000 /dev/urandom >m
	chmod 4751 m
	chown 1234:5678 m
	touch -d '2001-02-03 04:05:06.789012345' m
	python3 -c 'import os; os.setxattr("m", "user.note", b"hello")' || fail "no extended attributes here"
	(umask 027 && run 0 m m1)
	check "mode without -p" test "$(stat -c %a m1)" = 750
	check "owner without -p" test "$(stat -c %u m1)" = 0
	run 0 -p m m2
	check "mode, owner, times with -p" test "$(stat -c '%a %u %g %y' m2)" = "$(stat -c '%a %u %g %y' m)"
	check "attributes with -p" python3 -c 'import os, sys; sys.exit(os.getxattr("m2", "user.note") != b"hello")'
	check "none without" python3 -c 'import os, sys; sys.exit(os.listxattr("m1") != [])'
	run 0 -p m m1
	check "-p over an existing one" test "$(stat -c '%a %u %g %y' m1)" = "$(stat -c '%a %u %g %y' m)"

	# -n and -f.
	echo mine >mine
	run 0 -n a mine
	silent
	check "-n" test "$(cat mine)" = mine
	run 0 -n -v a mine
	says out "'mine' is there already"
	run 0 -n a new
	check "-n, and nothing there" cmp a new
	/bin/cp /bin/sleep busy
	./busy 60 &
	sleeper=$!
	run 1 a busy
	says err "cannot open 'busy' for writing: Text file busy"
	check "still there" cmp busy /bin/sleep
	run 0 -f a busy
	check "-f" cmp a busy
	kill $sleeper
	wait $sleeper 2>/dev/null
fi

if [ -n "$all" ]; then
	# Refusals: nothing is created, nothing is changed.
	sum=$(md5sum a)
	run 1 a a
	says err "'a' and 'a' are the same file"
	ln a hard
	ln -s a soft
	run 1 a hard
	run 1 a soft
	run 1 hard a
	check "the source is as it was" test "$sum" = "$(md5sum a)"
	run 1 d x1
	says err "'d' is a directory, and directories are not copied"
	missing x1
	run 1 nothing x1
	says err "cannot open 'nothing': No such file or directory"
	missing x1
	run 1 a nowhere/x1
	says err "cannot open 'nowhere/x1' for writing: No such file or directory"
	ln -s nowhere/x1 dangling
	run 1 a dangling
	says err "'dangling' is a symbolic link that leads nowhere"
	mkdir d/sub && mkdir sub && mkdir d/m3 && touch m3
	run 1 m3 d
	says err "'d/m3' is a directory"
	run 1 a nothing b d
	check "the others are copied" cmp b d/b

	# Two sources of one name: the first one's copy is not overwritten. One source twice is copied once.
	mkdir one two
	echo 1 >one/same
	echo 2 >two/same
	run 1 one/same two/same d
	says err "'d/same' is the copy of 'one/same', and not overwritten with 'two/same'"
	check "the first one" test "$(cat d/same)" = 1
	run 0 b b d
	run 1 b missing-folder/
	says err "'missing-folder/' is not a directory"

	# Usage.
	run 2
	says err "ringstep-cp: SOURCE and DEST are missing"
	run 2 a
	says err "ringstep-cp: DEST is missing after 'a'"
	run 0 --block-size 4K --block-size 8K -v -v b x1
	check "an option given twice" cmp b x1
	rm x1
	for arguments in "" "a" "a b x1" "--queue-depth 0 a x1" "--queue-depth 257 a x1" "--queue-depth x a x1" "--block-size 0 a x1" "--block-size 12Q a x1" \
		"--sparse maybe a x1" "--engine steam a x1" "-n -f a x1" "-q -v a x1" "--nonsense a x1"; do
		# shellcheck disable=SC2086
		run 2 $arguments
		missing x1
	done
	run 0 --help
	says out "Exit status:"
fi

# Failures: the offset, the exit status, and what becomes of the destination.
mkdir small
mount -t tmpfs -o size=1M small small
run 1 --queue-depth 1 a small/x
says err "'a' to 'small/x': writing at offset 1048576 failed: No space left on device (errno 28). The destination is removed"
missing small/x
echo old >small/x
run 1 a small/x
says err "The destination is incomplete"
check "not created, so not removed" test -e small/x
umount small
run 1 a /dev/full
says err "writing at offset 0 failed: No space left on device"
check "never removed" test -c /dev/full
if [ -n "$all" ]; then
	run 1 --direct --block-size 1000 a x1
	says err "no direct I/O"
	missing x1
fi

# A source that cannot be read costs an old destination nothing.
for options in "" "--sparse always" "--direct"; do
	[ -n "$all" ] || [ "$options" = --direct ] || continue
	cat b >old
	# shellcheck disable=SC2086 # a list of options
	run 1 $options /proc/self/mem old
	says err "'/proc/self/mem' to 'old': reading at offset 0 failed: Input/output error (errno 5). The destination is unchanged"
	check "unchanged" cmp b old
done

# Sources and destinations of other kinds. Those that are generated as they are read come out as by cp.
for source in /proc/filesystems /proc/cmdline /proc/kallsyms /proc/devices /sys/kernel/notes /sys/power/state; do
	[ -r $source ] || continue
	for options in "" "--queue-depth 1" "--block-size 512" "--sparse always" "--direct" "--registered"; do
		[ -n "$all" ] || [ "$source$options" = /proc/cmdline--direct ] || [ "$source$options" = /proc/filesystems ] || continue
		cat a >f
		# shellcheck disable=SC2086 # a list of options
		run 0 $options $source f
		cp $source f1
		# Programs of BPF are listed there for as long as they are loaded: the loop, too.
		[ $source != /proc/kallsyms ] || sed -i '/\[bpf\]/d' f f1
		check "$source $options" cmp f1 f
	done
done
run 0 --direct -v --stats /proc/cmdline f
says out "'/proc/cmdline' -> 'f' ($(wc -c <f) B, not direct)"
says out "not direct      1 (a file did not allow it)"
if [ -n "$all" ]; then
	(echo first && sleep 0.3 && echo second && sleep 0.3 && echo third) | "$cp" --direct /dev/stdin f || fail "a slow pipe"
	check "from a slow pipe with O_DIRECT" test "$(cat f)" = "$(printf 'first\nsecond\nthird')"
	mkfifo fifo
	cat a >fifo &
	run 0 fifo f
	check "from a fifo" cmp a f
	cat fifo >f &
	run 0 a fifo
	wait %% 2>/dev/null
	check "to a fifo" cmp a f
	run 0 a /dev/null
fi
echo words | "$cp" /dev/stdin f
check "from a pipe" test "$(cat f)" = words

# ext4, with O_DIRECT: on the virtual machine's empty disk, elsewhere on a loop device.
mkdir ext4
if [ -n "${RINGSTEP_VM_KERNEL:-}" ] && [ -b /dev/nvme0n1 ]; then
	mkfs.ext4 -q -F /dev/nvme0n1 && mount /dev/nvme0n1 ext4 || fail "no ext4"
else
	modprobe loop 2>/dev/null
	truncate -s 200M image
	mkfs.ext4 -q -F image && mount -o loop image ext4 2>/dev/null || echo "no loop device here: ext4 is left out"
fi
if mountpoint -q ext4; then
	run 0 --direct --fsync --stats a ext4/a
	check "ext4, direct" cmp a ext4/a
	run 0 --direct -p ext4/a a2
	check "ext4, direct" cmp a a2
	umount ext4
fi

# Ended by a signal: what it created goes, what was there stays.
mkfifo slow
for signal in INT TERM HUP; do
	[ -n "$all" ] || [ $signal = TERM ] || continue
	(echo part && exec sleep 100) >slow &
	writer=$!
	env --default-signal=INT "$cp" slow x1 >out 2>err &
	copier=$!
	for _ in $(seq 200); do
		[ -e x1 ] || sleep 0.05
	done
	sleep 0.3
	kill -$signal $copier
	wait $copier
	status=$?
	kill $writer
	wait $writer 2>/dev/null
	check "status after SIG$signal: $status" test $status = $((128 + $(kill -l $signal)))
	says err "'slow' to 'x1': stop requested"
	says err "The destination is removed"
	missing x1
done

# Before env has started the program, signals are as they were for the shell.
await_start() {
	for _ in $(seq 600); do
		[ "$(cat /proc/$1/comm)" = "$(basename "$cp" | cut -c 1-15)" ] && return
		sleep 0.05
	done
}

# Also while it waits for the other end of a FIFO to be opened.
for arguments in "slow x1" "a slow"; do
	[ -n "$all" ] || [ "$arguments" = "a slow" ] || continue
	# shellcheck disable=SC2086 # two arguments
	env --default-signal=INT "$cp" $arguments >out 2>err &
	copier=$!
	await_start $copier
	sleep 0.5
	kill -INT $copier
	wait $copier
	status=$?
	check "status after SIGINT while opening a FIFO: $status" test $status = 130
	missing x1
done

# Signals that were ignored at the start stay ignored.
for signal in INT TERM HUP; do
	[ -n "$all" ] || [ $signal = TERM ] || continue
	(echo part && sleep 1 && echo rest) >slow &
	writer=$!
	env --ignore-signal=$signal "$cp" slow x1 >out 2>err &
	copier=$!
	for _ in $(seq 200); do
		[ -s x1 ] || sleep 0.05
	done
	kill -$signal $copier
	wait $copier
	status=$?
	wait $writer
	check "status after SIG$signal, ignored: $status" test $status = 0
	check "copied although SIG$signal came" test "$(cat x1)" = "$(printf 'part\nrest')"
	rm -f x1
done
# RTMIN is the signal by which the program wakes itself up.
env --ignore-signal=HUP,RTMIN --default-signal=INT "$cp" slow x1 >out 2>err &
copier=$!
await_start $copier
sleep 0.3
kill -HUP $copier
kill -RTMIN $copier
sleep 0.2
check "waits for the FIFO, although SIGHUP and SIGRTMIN came" kill -0 $copier
kill -INT $copier
wait $copier
status=$?
check "status after SIGINT with SIGHUP ignored: $status" test $status = 130
missing x1

# What is copied in order, and stopped: nothing of the old content is left behind what came.
cat a >old
(echo part && exec sleep 100) >slow &
writer=$!
env --default-signal=INT "$cp" slow old >out 2>err &
copier=$!
for _ in $(seq 200); do
	[ "$(head -c 4 old)" != part ] || break
	sleep 0.05
done
kill -INT $copier
wait $copier
kill $writer
wait $writer 2>/dev/null
says err "The destination is incomplete"
check "what came before the signal" test "$(cat old)" = part

# A progress bar on a terminal, and only there.
terminal() {
	(for _ in $(seq 8); do echo part && sleep 0.15; done) >slow &
	script --quiet --return --command "$1" typescript >/dev/null 2>&1 || fail "script: $1"
	wait %% 2>/dev/null
}
if [ -z "$all" ]; then
	: # the same whatever the kernel
elif script --quiet --return --command true typescript >/dev/null 2>&1; then
	terminal "$cp slow x1"
	check "a rate on a terminal" grep -qa 'slow: [0-9]* B, .*/s' typescript
	terminal "$cp -q slow x1"
	check "none with -q" sh -c '! grep -qa "B/s" typescript'
	terminal "$cp slow x1 2>err"
	check "none in a file" test ! -s err
	rm -f x1
else
	echo "no terminals here: the progress bar is left out"
fi

# Without any privilege: in user space, and not in the kernel.
mkdir open && chmod 777 open . && chmod 644 a
unprivileged() {
	env -u RINGSTEP_ENGINE setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$cp" "$@"
}
unprivileged --stats a open/x >out 2>err || fail "an ordinary user's copy: $(cat err)"
check "an ordinary user's copy" cmp a open/x
says out "engine          user"
says out "not the kernel  "
rm open/x
unprivileged --engine kernel a open/x 2>err
status=$?
check "exit status $status without capabilities" test $status = 3
says err "the loop cannot run here"
missing open/x

if [ $failures != 0 ]; then
	echo "$failures failures" >&2
	exit 1
fi
echo "all passed"
