#!/bin/bash
# curl and socat ask http-server: connections that stay open, HEAD, bodies by length and in chunks, 100 Continue, and what is malformed.
#
#   curl.sh HTTP-SERVER
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
begin_http "$1"
url=http://127.0.0.1:8000

# One connection for many: `num_connects` is 0 for all but the first.
head -c 4000 /dev/urandom | base64 -w 0 | head -c 5000 >"$work/large"
got=$(ask --upload-file "$work/large" "$url/notes/large" --write-out '%{http_code}')
expect $'stored\n201' "$got" "PUT with a length"
got=$(ask --header 'Transfer-Encoding: chunked' --upload-file - "$url/notes/chunked" --write-out '%{http_code}' <"$work/large")
expect $'stored\n201' "$got" "PUT in chunks"
ask "$url/notes/chunked" --output "$work/back"
cmp "$work/large" "$work/back" || fail "a body in chunks came back changed"
got=$(ask "$url/notes/large?[1-60]" --output "$work/all" --write-out '%{http_code} %{size_download} %{num_connects}\n' | sort | uniq -c | tr -s ' \n' ' ;')
expect " 59 200 5000 0; 1 200 5000 1;" "$got" "60 GETs of one connection"

# HEAD has the fields of GET, and no body.
got=$(ask --head "$url/notes/large" "$url/notes/none" "$url/notes/large" | tr -d '\r' | grep -E '^(HTTP|Content-Length)' | tr '\n' ';')
expect "HTTP/1.1 200 OK;Content-Length: 5000;HTTP/1.1 404 Not Found;Content-Length: 23;HTTP/1.1 200 OK;Content-Length: 5000;" "$got" "HEAD"

# Bodies that the application does not want are received whole, so that the connection can go on.
head -c 300000 /dev/zero >"$work/zeros"
got=$(ask --data-binary "@$work/zeros" --write-out '%{http_code} %{num_connects}\n' --output "$work/o" "$url/notes/a" \
	--next --disable --silent --max-time 20 --header 'Transfer-Encoding: chunked' --data-binary "@$work/zeros" --write-out '%{http_code} %{num_connects}\n' --output "$work/o" "$url/notes/b" \
	--next --disable --silent --max-time 20 --write-out '%{http_code} %{num_connects}\n' --output "$work/o" "$url/notes/large" | tr '\n' ';')
expect "405 1;405 0;200 0;" "$got" "POST by length and in chunks, and GET behind them"

# curl waits for 100 Continue, here longer than the test may take.
got=$(ask --header 'Expect: 100-continue' --expect100-timeout 60 --verbose --data-binary "@$work/zeros" "$url/notes/c" --write-out '%{http_code}' --output "$work/o" 2>"$work/verbose")
expect 405 "$got" "POST with 100 Continue"
grep -q '^< HTTP/1.1 100 Continue' "$work/verbose" || fail "there was no 100 Continue"
got=$(ask --request POST --header 'Expect: 100-continue' --expect100-timeout 60 --header 'Content-Length: 2000000' --data-binary x "$url/notes/c" --write-out '%{http_code}' --output "$work/o")
expect 413 "$got" "a body that is too long is refused before it is sent"

# HTTP/1.0, with and without keep-alive.
got=$(ask --http1.0 "$url/notes/large" "$url/notes/large" --output "$work/o" --output "$work/o" --write-out '%{http_code} %{num_connects};')
expect "200 1;200 1;" "$got" "HTTP/1.0"
got=$(ask --http1.0 --header 'Connection: keep-alive' "$url/notes/large" "$url/notes/large" --output "$work/o" --output "$work/o" --write-out '%{http_code} %{num_connects};')
expect "200 1;200 0;" "$got" "HTTP/1.0 with keep-alive"

# Many connections at once.
got=$(ask --parallel --parallel-immediate --parallel-max 40 "$url/notes/large?[1-40]" --output "$work/o#1" --write-out '%{http_code} %{size_download}\n' | sort | uniq -c | tr -s ' ')
expect " 40 200 5000" "$got" "40 at once"

# What is malformed, by socat: the status, and then the end. A request behind it is not answered.
bad() {
	local expected=$1 text=$2 got
	got=$(printf "$text"'GET /notes/large HTTP/1.1\r\nHost: x\r\n\r\n' | timeout 20 socat -t 20 - TCP:127.0.0.1:8000 | tr -d '\r' | grep -a '^HTTP' | tr '\n' ';')
	expect "$expected" "$got" "$text"
}
bad "HTTP/1.1 400 Bad Request;" 'GET / HTTP/1.1\r\n\r\n'
bad "HTTP/1.1 400 Bad Request;" 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx'
bad "HTTP/1.1 400 Bad Request;" 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
bad "HTTP/1.1 400 Bad Request;" 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n'
bad "HTTP/1.1 505 Version Not Supported;" 'GET / HTTP/3.0\r\nHost: x\r\n\r\n'
bad "HTTP/1.1 404 Not Found;HTTP/1.1 400 Bad Request;" 'GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost : x\r\n\r\n'
got=$({ printf 'GET / HTTP/1.1\r\nHost: x\r\nX: '; head -c 9000 "$work/zeros" | tr '\0' a; } | timeout 20 socat -t 20 - TCP:127.0.0.1:8000 | head -n 1 | tr -d '\r')
expect "HTTP/1.1 431 Header Fields Too Large" "$got" "a head that is too long"

end "$http"
