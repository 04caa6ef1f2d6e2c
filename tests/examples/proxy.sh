#!/bin/bash
# ringstep-proxy passes bytes on to Unix sockets, in turn, and ends when it is told to by SIGTERM. What is behind the sockets is socat.
#
#   proxy.sh PROGRAM
set -euo pipefail
. "$(dirname "$0")/listening.bash"
work=$(mktemp -d)
socats=()
for name in one two; do
	socat "UNIX-LISTEN:$work/$name,fork" "SYSTEM:sed --unbuffered s/^/$name\:/" 2>/dev/null &
	socats+=($!)
done
for ((i = 0; i < 200; i++)); do
	[[ ! -S $work/one || ! -S $work/two ]] || break
	sleep 0.05
done
start_server "$1" "$work/one" "$work/two" --balance round-robin
# Instead of the trap that it has set.
trap 'kill "$server" "${socats[@]}" 2>/dev/null || true; rm -rf "$output" "$work"' EXIT

for expected in one:hello two:hello one:hello; do
	got=$(printf 'hello\n' | timeout 20 socat -t 20 - "TCP:127.0.0.1:$port")
	[[ $got == "$expected" ]] || {
		printf 'the answer was: %s, and not %s\n' "$got" "$expected" >&2
		exit 1
	}
done

kill -TERM "$server"
wait "$server" || {
	printf 'it ended with status %s\n' $? >&2
	exit 1
}
[[ $(tail -n 2 "$output") == "Unix socket $work/one: 2 connections, 0 failures, 12 bytes there, 20 bytes back
Unix socket $work/two: 1 connections, 0 failures, 6 bytes there, 10 bytes back" ]] || {
	cat "$output" >&2
	exit 1
}

status=0
timeout 20 "$1" 127.0.0.1:nowhere >"$output" 2>&1 || status=$?
((status != 0)) && grep -q "'127.0.0.1:nowhere' is neither" "$output"
