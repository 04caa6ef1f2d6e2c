#!/bin/bash
# redis-server behind the proxy: redis-benchmark, a mass insertion and a replica give what they give without it. key-value knows one command of redis.
#
#   redis.sh PROXY KEY-VALUE [REQUESTS] [KEYS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${3:-2000}
keys=${4:-2000}

# begin_redis PORT OPTIONS…
begin_redis() {
	begin "redis-$1" redis-server --bind 127.0.0.1 --port "$1" --save '' --appendonly no --repl-diskless-sync-delay 0 --dir "$work" --dbfilename "$1.rdb" "${@:2}"
	await_port "$1"
}
# redis PORT COMMAND…: what the command says, on one line.
redis() {
	timeout 20 redis-cli -h 127.0.0.1 -p "$1" "${@:2}" | tr -d '\r' | tr '\n' ' ' | sed 's/ $//'
}
# benchmark PORT TESTS OPTIONS…: each test has to make all of its requests, at any rate.
benchmark() {
	local port=$1 tests=$2 count
	shift 2
	timeout 60 redis-benchmark -h 127.0.0.1 -p "$port" -t "$tests" -n "$requests" --csv "$@" >"$work/benchmark.log" 2>&1 ||
		fail "redis-benchmark of $tests failed: $*"
	! grep -qi -e error -e closed "$work/benchmark.log" || fail "redis-benchmark of $tests had errors: $*"
	count=$(grep -cE '^"[A-Z_]+( \(inline\))?( .*)?","[0-9.]+"' "$work/benchmark.log" || true)
	expect $(($(tr -cd , <<<"$tests" | wc -c) + 1)) "$count" "tests that redis-benchmark has done"
}

begin_redis 6379
redis=$began
begin_proxy "$1" 127.0.0.1:6379
benchmark 9000 set,get,incr,lpush,lpop -c 16 -r 1000
benchmark 9000 set,get -c 32 -P 16 -d 3000 -r 100
# A connection for each request.
timeout 60 redis-benchmark -h 127.0.0.1 -p 9000 -t incr -n $((requests / 10)) -c 8 -k 0 --csv >"$work/benchmark.log" 2>&1 ||
	fail "redis-benchmark failed with a connection for each request"
# Each INCR was done once: one key, because there was no -r.
expect $((requests / 10)) "$(redis 6379 GET counter:__rand_int__)" "the key that was counted up"

# redis-cli counts the replies to what it has sent, and the keys are there with their values.
redis 6379 FLUSHALL >/dev/null
for ((i = 0; i < keys; i++)); do printf 'SET key:%d value-%0*d\r\n' $i $((i % 200)) $i; done >"$work/commands"
timeout 30 redis-cli -h 127.0.0.1 -p 9000 --pipe <"$work/commands" >"$work/pipe.log" || fail "redis-cli failed to insert $keys keys"
grep -qx "errors: 0, replies: $keys" <(tr -d '\r' <"$work/pipe.log") || fail "redis-cli has not got $keys replies without errors"
expect "$keys" "$(redis 9000 DBSIZE)" "keys that were inserted"

# A replica gets all of them by way of the proxy, and what is written later.
begin_redis 6380 --replicaof 127.0.0.1 9000
replica=$began
expect "OK" "$(redis 9000 SET last one)" "SET"
for ((i = 0; i < 400; i++)); do
	[[ $(redis 6380 GET last) != one ]] || break
	sleep 0.05
done
digest=$(redis 6379 DEBUG DIGEST 2>&1)
if [[ $digest == *ERR* ]]; then
	expect $((keys + 1)) "$(redis 6380 DBSIZE)" "keys of the replica"
	expect "$(sed -nE 's/^SET key:123 (.*)\r$/\1/p' "$work/commands")" "$(redis 6380 GET key:123)" "a key of the replica"
else
	expect "$digest" "$(redis 6380 DEBUG DIGEST)" "digest of the replica"
fi
end "$replica"

# SIGTERM under load: connections that are open go on until their clients are done, and nothing is lost.
redis 6379 SET counter:__rand_int__ 0 >/dev/null
timeout 60 redis-benchmark -h 127.0.0.1 -p 9000 -t incr -n "$((requests * 4))" -c 16 --csv >"$work/benchmark.log" 2>&1 &
load=$!
for ((i = 0; i < 400; i++)); do
	(($(redis 6379 GET counter:__rand_int__) == 0)) || break
	sleep 0.01
done
end "$proxy"
wait "$load" || fail "redis-benchmark has lost its connections when the proxy was to end"
expect $((requests * 4)) "$(redis 6379 GET counter:__rand_int__)" "the key that was counted up while the proxy was to end"
grep -q ', 0 failures, ' "$work/proxy.log" || fail "the proxy counted failures"
end "$redis"

# PING as a line is a command of key-value, too. It knows no CONFIG, for which redis-benchmark asks first.
begin kv "$2" 8010
kv=$began
await_port 8010
for options in "-c 16" "-c 16 -P 32"; do
	# shellcheck disable=SC2086 # several options
	timeout 60 redis-benchmark -h 127.0.0.1 -p 8010 -t ping_inline -n "$requests" $options --csv >"$work/benchmark.log" 2>&1 ||
		fail "redis-benchmark failed to PING key-value: $options"
	grep -q '^"PING_INLINE",' "$work/benchmark.log" || fail "redis-benchmark did not PING key-value: $options"
done
end "$kv"
commands=$(sed -nE 's/^[0-9]+ connections, ([0-9]+) commands.*/\1/p' "$work/kv.log")
((commands >= 2 * requests)) || fail "key-value counted $commands commands of redis-benchmark instead of $((2 * requests)) and more"
