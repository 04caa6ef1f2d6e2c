# Part of `dev`, which reads this file: messages, long commands, and what is cleaned up at the end. All other parts use it.

# Prints a message to stderr, because stdout belongs to the command that is run.
say() {
	printf 'dev: %s\n' "$*" >&2
}

fail() {
	say "$@"
	exit 1
}

usage_error() {
	say "$1"
	say "See ./dev ${2:-}${2:+ }--help"
	exit 2
}

# step WHAT COMMAND…: runs a long command. Shows its description and how long it has run, and its output only if it fails. Bash does not
# end a function at its first error if the caller checks its status, as all callers here do. So these functions write || return themselves.
step() {
	local what=$1 start=$SECONDS status=0 file log pid
	shift
	# The file has no name, so that nothing stays behind, regardless of how this ends.
	file=$(mktemp)
	exec {log}<>"$file"
	rm "$file"
	"$@" >&$log 2>&1 </dev/null &
	pid=$!
	kill_at_exit $pid
	if [[ -t 2 ]]; then
		while kill -0 $pid 2>/dev/null; do
			printf '\rdev: %s … %d s' "$what" $((SECONDS - start)) >&2
			sleep 0.2
		done
		printf '\r\033[K' >&2
	else
		say "$what …"
	fi
	wait $pid || status=$?
	if ((status == 0)); then
		say "$what: done in $((SECONDS - start)) s"
	else
		say "$what: failed after $((SECONDS - start)) s. The end of its output:"
		tail -n 20 "/proc/$BASHPID/fd/$log" | sed 's/^/     /' >&2
	fi
	exec {log}>&-
	return $status
}

exit_processes=()
exit_files=()

kill_at_exit() {
	exit_processes+=("$1")
}

remove_at_exit() {
	exit_files+=("$1")
}

# Runs without stderr, because bash would report each process that it kills.
clean_up() {
	local pid file
	for pid in "${exit_processes[@]}"; do
		kill -KILL "$pid" || true
	done
	wait || true
	for file in "${exit_files[@]}"; do
		rm -rf "$file" || remove_as_owner "$file" || true
	done
} 2>/dev/null

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
