#!/bin/bash
# dns answers a client that knows nothing of ringstep, and ends when it is told to by SIGTERM.
#
#   dns.sh PROGRAM
set -euo pipefail
. "$(dirname "$0")/listening.bash"
start_server "$1" 0 example.test=192.0.2.1

# A question for the address of Example.TEST. One write is one datagram.
exec 3<>"/dev/udp/127.0.0.1/$port"
printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07Example\x04TEST\x00\x00\x01\x00\x01' >&3
answer=$(timeout 20 dd bs=512 count=1 status=none <&3 | od -An -v -tx1 | tr -d ' \n')
expected=123485000001000100000000074578616d706c6504544553540000010001c00c000100010000012c0004c0000201
[[ $answer == "$expected" ]] || {
	printf 'the answer was:  %s\ninstead of:      %s\n' "$answer" "$expected" >&2
	exit 1
}
kill -TERM "$server"
wait "$server" || {
	printf 'it ended with status %s\n' $? >&2
	exit 1
}
last=$(tail -n 1 "$output")
[[ $last == "1 datagrams, 1 addresses, 0 malformed" ]] || {
	printf 'it printed: %s\n' "$last" >&2
	exit 1
}
