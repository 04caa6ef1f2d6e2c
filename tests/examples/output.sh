#!/bin/bash
# Programs whose output cannot be written say so, and end with a status of its own (4). Programs that are started without stdin, stdout
# or stderr do their work. None of them is ended by an exception.
#
#   output.sh PROGRAM…
#
# RINGSTEP_ENGINE says by which engine: kernel or user.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0
output_lost=4

fail() {
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# A pipe that nobody reads is behind descriptor 9.
mkfifo fifo
exec 8<>fifo 9>fifo 8<&-
head -c 300000 /dev/urandom >file
mkdir into

# in_way WAY COMMAND…: runs a command with its descriptors as WAY says. What can be written goes to out and err.
in_way() {
	local way=$1
	shift
	case $way in
		plain) "$@" </dev/null >out 2>err ;;
		stdout-full) "$@" </dev/null >/dev/full 2>err ;;
		stdout-closed) "$@" </dev/null >&- 2>err ;;
		stdout-unread) env --default-signal=PIPE "$@" </dev/null >&9 2>err ;;
		stdout-unread-ignored) (
			trap '' PIPE
			exec "$@" </dev/null >&9 2>err
		) ;;
		stderr-full) "$@" </dev/null >out 2>/dev/full ;;
		stderr-closed) "$@" </dev/null >out 2>&- ;;
		stdin-closed) "$@" <&- >out 2>err ;;
		all-closed) "$@" <&- >&- 2>&- ;;
		stderr-unread) env --default-signal=PIPE "$@" </dev/null >out 2>&9 ;;
	esac 9>&9
}

# try WAY STATUS COMMAND…: runs it, and looks at how it ends.
try() {
	local way=$1 wanted=$2 status=0
	shift 2
	rm -f out err
	in_way "$way" "$@" || status=$?
	[[ " $wanted " == *" $status "* ]] || fail "$way: $*: exit status $status instead of $wanted: $(tail -n 3 out err 2>/dev/null)"
}

# prints STATUS COMMAND…: the command, which prints something, in each way; STATUS is how it ends if all is well.
prints() {
	local wanted=$1 way
	shift
	for way in plain stderr-full stderr-closed stdin-closed; do
		try $way "$wanted" "$@"
		[[ -s out ]] || fail "$way: $*: printed nothing"
	done
	for way in stdout-full stdout-closed stdout-unread-ignored; do
		try $way $output_lost "$@"
		grep -q 'the output could not be written' err || fail "$way: $*: said: $(cat err)"
	done
	try all-closed $output_lost "$@"
	try stdout-unread "141 $output_lost" "$@" # 141: ended by SIGPIPE, without a word, as is usual
}

# fails STATUS COMMAND…: the command, which says on stderr why it fails, in each way.
fails() {
	local wanted=$1 way
	shift
	try plain "$wanted" "$@"
	[[ -s err ]] || fail "$*: said nothing"
	for way in stderr-full stderr-closed stdin-closed; do
		try $way "$wanted" "$@"
	done
	# What it printed besides may be lost, too.
	try all-closed "$wanted $output_lost" "$@"
	try stderr-unread "141 $wanted" "$@"
}

for program in "$@"; do
	name=$(basename "$program")
	case $name in
		ringstep-check)
			in_way plain "$program"
			verdict=$?
			prints $verdict "$program"
			prints $verdict "$program" --json
			prints 0 "$program" --help
			prints 0 "$program" --version
			fails 64 "$program" --nonsense
			"$program" --help | grep -q "^  $output_lost  " || fail "$name --help does not say what $output_lost means"
			;;
		ringstep-cp)
			prints 0 "$program" -v --stats file copy
			prints 0 "$program" --help
			fails 1 "$program" missing copy
			fails 2 "$program" file
			"$program" --help | grep -q "^  $output_lost  " || fail "$name --help does not say what $output_lost means"
			# The work is done, whatever becomes of the words about it.
			for way in stdout-full stdout-closed stdout-unread-ignored all-closed; do
				rm -rf into/*
				cp file second
				try $way $output_lost "$program" -v file second into
				cmp file into/file && cmp file into/second || fail "$way: $name: not all is copied"
			done
			for way in stderr-full stderr-closed; do
				rm -rf into/*
				try $way 1 "$program" file missing second into
				cmp file into/file && cmp file into/second || fail "$way: $name: not all is copied"
			done
			for way in plain all-closed; do
				rm -f copy
				try $way 0 "$program" file copy
				cmp file copy || fail "$way: $name: not a copy"
			done
			# A destination that nobody reads any more is an error, and no signal.
			mkfifo destination
			head -c 1 destination >/dev/null &
			try plain 1 env --default-signal=PIPE "$program" file destination
			grep -q 'writing at offset .* failed: Broken pipe' err || fail "$name to a pipe that nobody reads: said: $(cat err)"
			wait $!
			# Without stdout or stdin, these are not there to be written to or read from.
			try stdout-closed 1 "$program" file /dev/stdout
			try stdin-closed 1 "$program" /dev/stdin copy
			;;
		with-bpf-token) fails 64 "$program" ;;
		fails-after-printing)
			prints 0 "$program"
			prints 0 "$program" print
			prints 7 "$program" status
			# An exception and lost output: both are told, and the status is the exception's.
			for how in error system other; do
				for way in stdout-full stdout-closed stdout-unread-ignored; do
					try $way 1 "$program" $how
					grep -q "^$name: test of an error" err || fail "$way: $name $how: no error in: $(cat err)"
					grep -q '^[^ ]*: the output could not be written' err || fail "$way: $name $how: no lost output in: $(cat err)"
				done
				try plain 1 "$program" $how
				grep -q "^$name: test of an error" err || fail "$name $how: no error in: $(cat err)"
				! grep -q 'the output could' err || fail "$name $how: said: $(cat err)"
				try all-closed 1 "$program" $how
			done
			;;
		read-all)
			prints 0 "$program" file
			prints 1 "$program" missing # it lists what it could not read with what it read
			;;
		read-files)
			prints 0 "$program" file
			fails 1 "$program" missing
			;;
		background-copy)
			prints 0 "$program" file copy 100000
			cmp file copy || fail "$name: not a copy"
			fails 1 "$program" missing copy 100000
			fails 2 "$program"
			;;
		ringstep-demo | bench-*)
			prints 0 "$program" --help
			"$program" --help | grep -q "^  $output_lost  " || fail "$name --help does not say what $output_lost means"
			for way in plain stderr-closed all-closed; do
				status=0
				in_way $way "$program" --nonsense || status=$?
				((status > 0 && status < 128)) || fail "$way: $name --nonsense: exit status $status"
			done
			;;
		*) prints 0 "$program" ;;
	esac
done

if ((failures)); then
	echo "$failures failures" >&2
	exit 1
fi
echo "all passed"
