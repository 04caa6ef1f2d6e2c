#!/bin/bash
# read-files reads thousands of files of all sizes, as whole as they are, by a handful of system calls, and reports one by one those that it
# cannot read.
#
#   read_files.sh PROGRAM
set -euo pipefail
program=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

files=10000
# Making them takes an emulated processor longer than reading them.
[[ -z ${RINGSTEP_VM_KERNEL:-} || -n ${RINGSTEP_THOROUGH:-} ]] || files=2000

# What the first line is tells the file, and how many bytes there are what comes behind it.
padding=$(printf '%3000s' '')
expected=
for ((i = 0; i < files; i++)); do
	size=$((i * 37 % 3001))
	case $((i % 500)) in
	17) expected+="$i: open failed: No such file or directory"$'\n' ;;
	23)
		mkdir $i
		expected+="$i: read failed: Is a directory"$'\n'
		;;
	29)
		ln -s $i $i
		expected+="$i: open failed: Too many levels of symbolic links"$'\n'
		;;
	*)
		printf 'file %d\n%s' $i "${padding:0:size}" >$i
		expected+="$i: $((6 + ${#i} + size)) bytes, the first line: file $i"$'\n'
		;;
	esac
done
printf '%s' "$expected" | sort >expected

status=0
"$program" $(seq 0 $((files - 1))) >output 2>errors || status=$?
if [[ $status != 1 ]]; then
	echo "read-files ended with $status, where some files could not be read" >&2
	tail -n 3 errors >&2
	exit 1
fi
sort output errors >found
diff expected found >&2

# Files whose size says nothing: those that are generated, pipes, devices. What is longer than the first piece of memory is read again.
head -c 16383 /dev/zero >just-below
head -c 16384 /dev/zero >just-full
head -c 3000000 /dev/zero >long
: >empty
mkfifo fifo
(echo one && sleep 0.3 && echo two) >fifo &
status=0
"$program" /proc/cmdline /proc/meminfo /proc/kallsyms /sys/kernel/notes just-below just-full long empty fifo /dev/null >output 2>errors || status=$?
if [[ $status != 0 || -s errors ]]; then
	echo "read-files ended with $status on files of other kinds" >&2
	cat errors >&2
	exit 1
fi
for file in /proc/cmdline /proc/meminfo /proc/kallsyms /sys/kernel/notes just-below just-full long empty /dev/null; do
	size=$(wc -c <$file)
	# Figures change, and with them now and then their width; in kallsyms are the loops that are loaded.
	[[ $file != /proc/meminfo ]] || size='[0-9]{3,}'
	[[ $file != /proc/kallsyms ]] || size='[0-9]{7,}'
	grep -qaE "^$file: $size bytes" output || { echo "$file is not read whole: $(grep -a "^$file" output | head -c 200)" >&2; exit 1; }
done
grep -q '^fifo: 8 bytes, the first line: one$' output || { echo "the pipe is not read whole" >&2; exit 1; }

# What cannot be read whole is not called read.
truncate -s 300M one-large other-large
status=0
"$program" /dev/zero one-large other-large >output 2>errors || status=$?
if [[ $status != 1 || $(wc -l <errors) != 3 || -s output ]]; then
	echo "read-files ended with $status where nothing could be read whole: $(cat errors)" >&2
	exit 1
fi

# How often that asked the kernel for anything. (That each byte is right is for the test loops/chain_files.)
if [[ ${RINGSTEP_ENGINE:-} == kernel ]]; then
	strace -f -e trace=io_uring_enter -o trace "$program" $(seq 0 $((files - 1))) >output 2>errors || true
	calls=$(grep -c 'io_uring_enter(.*IORING_ENTER_GETEVENTS' trace)
	if ((calls > 10)); then
		echo "read-files called io_uring_enter $calls times" >&2
		exit 1
	fi
fi
