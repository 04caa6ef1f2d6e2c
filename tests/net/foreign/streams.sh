#!/bin/bash
# Streams of iperf3 and openssl pass through the proxy unchanged, in both directions.
#
#   streams.sh PROXY [MEGABYTES]
set -euo pipefail
. "$(dirname "$0")/foreign.bash"
megabytes=${2:-200}
begin iperf iperf3 --server --bind 127.0.0.1 --port 8005 --json
await_port 8005
begin_proxy "$1" 127.0.0.1:8005

# Two streams there, and two back, beside the connection by which iperf3 controls them.
for direction in "" --reverse; do
	timeout 60 iperf3 --client 127.0.0.1 --port 9000 --bytes "${megabytes}M" --parallel 2 --json $direction >"$work/iperf.json" ||
		fail "iperf3 $direction failed"
	python3 - "$work/iperf.json" "$megabytes" "$direction" <<'END' || fail "iperf3 $direction passed too few bytes"
import json, sys
end = json.load(open(sys.argv[1]))["end"]
sent, received, least = end["sum_sent"]["bytes"], end["sum_received"]["bytes"], int(sys.argv[2]) << 20
print(sent, received, least)
# The client ends the test by a message on another connection. It may overtake bytes that are on the way, which iperf3 then does not receive.
sys.exit(not (received >= least if sys.argv[3] else sent >= least and 0 < received <= sent))
END
done
end "$proxy"
grep -q ' 6 connections, 0 failures, ' "$work/proxy.log" || fail "the proxy counted other connections than those of iperf3"

# TLS: the client verifies that the other end has the key, so nobody has looked into it or changed it.
head -c $((megabytes * 10000)) /dev/urandom >"$work/large"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=there -keyout "$work/key" -out "$work/certificate" \
	2>"$work/openssl.log"
cd "$work"
begin tls openssl s_server -accept 127.0.0.1:8006 -cert certificate -key key -WWW
cd "$OLDPWD"
await_port 8006
begin_proxy "$1" 127.0.0.1:8006
printf 'GET /large HTTP/1.0\r\n\r\n' |
	timeout 30 openssl s_client -connect 127.0.0.1:9000 -CAfile "$work/certificate" -verify_return_error -verify_hostname there -quiet -ign_eof \
		>"$work/answer" 2>"$work/openssl.log" || fail "s_client failed"
# Behind a head of HTTP.
tail -c "$(stat --format %s "$work/large")" "$work/answer" | cmp - "$work/large" || fail "a file by TLS came back changed"
end "$proxy"
