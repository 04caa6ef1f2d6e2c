#!/bin/bash
# http-server keeps notes and sends files for clients that know nothing of ringstep, and ends when it is told to by SIGTERM. The client is curl if there
# is one, otherwise bash.
#
#   http_server.sh PROGRAM
set -euo pipefail
. "$(dirname "$0")/listening.bash"
folder=$(mktemp -d)
echo "a page" >"$folder/index.html"
echo "a file" >"$folder/file.txt"
ln -s /etc/passwd "$folder/out"
start_server "$1" 0 "$folder"
trap 'kill "$server" 2>/dev/null || true; rm -rf "$output" "$folder"' EXIT

# Prints the status and the body of an answer.
ask() {
	local method=$1 path=$2 body=${3-}
	if command -v curl >/dev/null; then
		curl --silent --max-time 20 --write-out '%{http_code}' --request "$method" ${body:+--data-binary "$body"} "http://127.0.0.1:$port$path" |
			tr '\n' ' '
		return
	fi
	local answer status
	exec 3<>"/dev/tcp/127.0.0.1/$port"
	printf '%s %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "$method" "$path" "${#body}" "$body" >&3
	answer=$(timeout 20 cat <&3 | tr -d '\r')
	exec 3>&-
	status=${answer#HTTP/1.1 }
	answer+=$'\n\n'
	answer=${answer#*$'\n\n'}
	printf '%s' "$answer" | tr -s '\n' ' '
	printf '%s' "${status%% *}"
}

expect() {
	local expected=$1 got
	shift
	got=$(ask "$@" | tr -s ' ' | sed 's/^ //')
	[[ $got == "$expected" ]] || {
		printf '%s was answered with "%s", and not with "%s"\n' "$*" "$got" "$expected" >&2
		exit 1
	}
}

expect "There is no such note. 404" GET /notes/one
expect "stored 201" PUT /notes/one "buy apples"
[[ $(ask GET /notes/one) =~ ^"buy apples"\ *200$ ]]
expect "stored 201" PUT /notes/one "buy pears"
[[ $(ask GET /notes/one?x=y) =~ ^"buy pears"\ *200$ ]]
expect "204" DELETE /notes/one
expect "There is no such note. 404" GET /notes/one
[[ $(ask GET /) =~ ^"a page"\ *200$ ]]
[[ $(ask GET /file.txt?x) =~ ^"a file"\ *200$ ]]
expect "Notes are at /notes/NAME. 404" GET /out
expect "Notes are at /notes/NAME. 404" GET /file
expect "Use GET, PUT or DELETE. 405" POST /notes/one x

kill -TERM "$server"
wait "$server"
trap 'rm -rf "$output" "$folder"' EXIT
grep -q "left out: out" "$output"
grep -q "4 requests answered by the loop" "$output"
