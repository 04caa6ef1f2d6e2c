#!/bin/bash
# key-value answers commands of a client that knows nothing of ringstep, and ends when it is told to by SIGTERM.
#
#   key_value.sh PROGRAM
set -euo pipefail
. "$(dirname "$0")/listening.bash"
start_server "$1" 0

exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'SET fruit apple\r\nGET fruit\r\nDEL fruit\r\nGET fruit\r\nQUIT\r\n' >&3
answers=$(timeout 20 cat <&3 | tr '\r\n' ' ;')
exec 3>&-
[[ $answers == "+OK ;=apple ;+OK ;-NONE ;+BYE ;" ]] || {
	printf 'the answers were: %s\n' "$answers" >&2
	exit 1
}

# A connection that is open does not keep it from ending.
exec 4<>"/dev/tcp/127.0.0.1/$port"
printf 'PING\r\n' >&4
read -r -t 20 answer <&4
[[ $answer == $'+PONG\r' ]]
kill -TERM "$server"
wait "$server" || {
	printf 'it ended with status %s\n' $? >&2
	exit 1
}
last=$(tail -n 1 "$output")
[[ $last == "2 connections, 6 commands, 0 keys" ]] || {
	printf 'it printed: %s\n' "$last" >&2
	exit 1
}
