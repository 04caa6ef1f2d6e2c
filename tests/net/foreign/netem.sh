#!/bin/bash
# On a network that loses packets, delays them and changes their order, transfers take longer and stay right.
#
#   netem.sh HTTP-SERVER KEY-VALUE PROXY
set -euo pipefail
. "$(dirname "$0")/foreign.bash"
modprobe sch_netem
# Small packets, so that there are many of them to lose.
ip link set lo mtu 1500
tc qdisc add dev lo root netem delay 20ms 2ms loss 2% reorder 10%
head -c 300000 /dev/urandom >"$work/large"
for i in {1..8}; do head -c 4500 /dev/urandom | base64 -w 0 >"$work/note$i"; done

# Eight notes at once there, and back.
begin_http "$1"
url=http://127.0.0.1:8000/notes
ask --parallel --parallel-immediate --upload-file "$work/note[1-8]" "$url/" >"$work/o"
expect 8 "$(grep -c stored "$work/o")" "notes that were stored"
ask --parallel --parallel-immediate "$url/note[1-8]" --output "$work/back#1"
for i in {1..8}; do cmp "$work/note$i" "$work/back$i" || fail "note $i came back changed"; done
# A long body, which the server receives whole.
expect 405 "$(ask --data-binary "@$work/large" --output "$work/o" --write-out '%{http_code}' "$url/a")" "a long body"
end "$http"

# 150 commands at once, in a pipeline.
begin kv "$2" 8010
kv=$began
await_port 8010
for ((i = 0; i < 50; i++)); do printf 'SET key%d value-%040d\r\nGET key%d\r\nGET key%d\r\n' $i $i $i $((i / 2)); done >"$work/commands"
printf 'QUIT\r\n' >>"$work/commands"
for ((i = 0; i < 50; i++)); do printf '+OK\r\n=value-%040d\r\n=value-%040d\r\n' $i $((i / 2)); done >"$work/expected"
printf '+BYE\r\n' >>"$work/expected"
timeout 30 socat -t 30 - TCP:127.0.0.1:8010 <"$work/commands" >"$work/answers" || fail "socat failed"
cmp "$work/expected" "$work/answers" || fail "answers to commands are not right"
end "$kv"

# A file by way of the proxy, so over two such connections.
begin_nginx 8002 <<END
	server { listen 127.0.0.1:8002; location /large { alias $work/large; } }
END
begin_proxy "$3" 127.0.0.1:8002
ask --output "$work/back" http://127.0.0.1:9000/large
cmp "$work/large" "$work/back" || fail "a file came back changed"
end "$proxy"
# It did lose some, and changed the order.
read -r _ dropped <<<"$(tc -s qdisc show dev lo | sed -nE 's/.*(dropped) ([0-9]+).*/\1 \2/p')"
((dropped > 2)) || fail "only $dropped packets were lost"
printf '%s packets were lost\n' "$dropped"
