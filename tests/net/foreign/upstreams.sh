#!/bin/bash
# Upstreams of the proxy that die under load, hang, go on, or answer garbage: clients get what was sent, or see that it is not all.
#
#   upstreams.sh PROXY [REQUESTS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${2:-2000}
faults=$(dirname "$0")/faults.py
head -c 1000000 /dev/urandom >"$work/large"
head -c 5000 /dev/urandom >"$work/note"
begin_nginx 8002 <<END
	server {
		listen 127.0.0.1:8002;
		keepalive_requests 100000;
		location /large { alias $work/large; }
		location = /notes/mine { alias $work/note; }
		location / { alias $work/; limit_rate 1k; } # a note takes seconds
	}
END
begin_answering_haproxy 8004

# A client that writes and reads a byte a second.
begin_proxy "$1" 127.0.0.1:8002
timeout 30 python3 "$faults" slow 9000 2 >"$work/slow.log" 2>&1 || fail "a slow client by way of the proxy: $(tail -n 1 "$work/slow.log")"
end "$proxy"

# An upstream that hangs: its kernel accepts, and nobody answers. Its clients wait, those of others do not, and when it goes on, nothing is lost.
begin_proxy "$1" 127.0.0.1:8002 127.0.0.1:8004
kill -STOP "$nginx"
for i in 1 2 3 4; do
	ask --output "$work/waits$i" http://127.0.0.1:9000/large 2>"$work/curl$i.log" &
	waiting[i]=$!
	await_connections "$i" 8002
	expect haproxy "$(ask http://127.0.0.1:9000/)" "a request while the other upstream hangs"
done
status=0
ask --max-time 0.3 --output "$work/o" http://127.0.0.1:9000/large 2>"$work/curl.log" || status=$?
expect 28 "$status" "curl's status for an upstream that hangs"
kill -CONT "$nginx"
for i in 1 2 3 4; do
	wait "${waiting[i]}" || fail "a client of an upstream that hung and went on: $(cat "$work/curl$i.log")"
	cmp "$work/large" "$work/waits$i" || fail "a file came back changed from an upstream that hung"
done

# An upstream that dies under load, in the midst of 8 answers. These are cut off, and all others come from the other upstream.
timeout 50 ab -q -l -r -n "$requests" -c 8 http://127.0.0.1:9000/note >"$work/ab.log" 2>&1 &
load=$!
await_connections 8 8002
end_at_once "$nginx"
wait "$load" || fail "ab failed when an upstream had died"
complete=$(sed -nE 's/^Complete requests: *//p' "$work/ab.log")
expect "$requests" "$complete" "requests by ab"
# One that is cut off counts as complete for ab. The 8 have less than their 5000 bytes, and the others 7 bytes each.
bytes=$(sed -nE 's/^HTML transferred: *([0-9]+) bytes/\1/p' "$work/ab.log")
((bytes >= 7 * (requests - 8) && bytes < 7 * (requests - 8) + 8 * 5000)) || fail "ab got $bytes bytes, which are not those of $((requests - 8)) answers and 8 that were cut off"
expect "haproxy haproxy haproxy " "$(for i in 1 2 3; do ask http://127.0.0.1:9000/; echo; done | tr -s '\n' ' ')" "requests behind that"
end "$proxy"
grep -qE 'port 8002: [1-9][0-9]* connections, [1-9][0-9]* failures' "$work/proxy.log" || fail "the proxy has not noticed that an upstream had died"

# Garbage is passed on as it is, and so is its end.
begin garbage socat -U TCP-LISTEN:8007,bind=127.0.0.1,fork,reuseaddr "OPEN:$work/large,rdonly"
garbage=$began
begin closes socat -U TCP-LISTEN:8008,bind=127.0.0.1,fork,reuseaddr OPEN:/dev/null
closes=$began
await_port 8007
await_port 8008
begin_proxy "$1" 127.0.0.1:8007
for i in 1 2; do
	status=0
	ask --output "$work/o" http://127.0.0.1:9000/ 2>"$work/curl.log" || status=$?
	# An answer of HTTP/0.9, or a reset: socat does not read the request.
	((status == 1 || status == 52 || status == 56)) || fail "curl ended with status $status when the upstream answered garbage"
	timeout 20 socat -u TCP:127.0.0.1:9000 - >"$work/back" || fail "socat failed"
	cmp "$work/large" "$work/back" || fail "garbage came back changed"
done
end "$proxy"
begin_proxy "$1" 127.0.0.1:8008
for i in 1 2; do
	status=0
	ask --output "$work/o" http://127.0.0.1:9000/ 2>"$work/curl.log" || status=$?
	((status == 52 || status == 56)) || fail "curl ended with status $status when the upstream closed without an answer"
done
end "$proxy"
end_at_once "$garbage"
end_at_once "$closes"
