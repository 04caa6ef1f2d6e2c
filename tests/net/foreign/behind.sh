#!/bin/bash
# nginx and haproxy behind our proxy: in turn, and one that dies.
#
#   behind.sh PROXY [REQUESTS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${2:-4000}
head -c 3000000 /dev/urandom >"$work/large"
begin_nginx 8002 <<END
	server {
		listen 127.0.0.1:8002;
		location /slow { alias $work/large; limit_rate 100k; }
		location /large { alias $work/large; }
		location / { return 200 nginx; }
	}
END
begin_answering_haproxy 8004

begin_proxy "$1" 127.0.0.1:8002 127.0.0.1:8004
expect "haproxy nginx " "$(for i in 1 2; do ask http://127.0.0.1:9000/; echo; done | sort | tr -s '\n' ' ')" "two requests through the proxy"
timeout 50 ab -q -k -l -n "$requests" -c 8 http://127.0.0.1:9000/ >"$work/ab.log" 2>&1 || fail "ab failed"
tr -s ' ' <"$work/ab.log" | grep -qx "Failed requests: 0" || fail "requests through the proxy failed"
timeout 50 ab -q -l -n $((requests / 20)) -c 8 http://127.0.0.1:9000/ >"$work/ab.log" 2>&1 || fail "ab failed"
tr -s ' ' <"$work/ab.log" | grep -qx "Failed requests: 0" || fail "requests through the proxy, each with a connection, failed"

# One upstream dies. Its clients get the other one.
end_at_once "$haproxy"
for i in 1 2; do
	ask --output "$work/back" http://127.0.0.1:9000/large
	cmp "$work/large" "$work/back" || fail "a file came back changed"
done

# The other one dies in the midst of an answer: the client sees that the file is not complete.
rm "$work/back"
ask --no-buffer --output "$work/back" http://127.0.0.1:9000/slow 2>"$work/curl.log" &
client=$!
for ((i = 0; i < 400 && !$(stat --format %s "$work/back" 2>/dev/null || echo 0); i++)); do
	sleep 0.05
done
end_at_once "$nginx"
status=0
wait "$client" || status=$?
((status == 18 || status == 56)) || fail "curl ended with status $status when the upstream had died"
# A client for which there is none is reset, which curl may see when it connects, sends or receives.
status=0
ask http://127.0.0.1:9000/ 2>"$work/curl.log" || status=$?
((status == 7 || status == 52 || status == 56)) || fail "curl ended with status $status without an upstream"
end "$proxy"
grep -qE 'port 8004: [0-9]+ connections, [1-9][0-9]* failures' "$work/proxy.log" || fail "the proxy has not tried the upstream that had died"
