#!/bin/bash
# What clients do to servers: many that are idle, some that are slow, and SIGTERM under load. Nothing that was answered is cut off.
#
#   faults.sh HTTP-SERVER KEY-VALUE [REQUESTS] [IDLE-CONNECTIONS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${3:-4000}
faults=$(dirname "$0")/faults.py
ulimit -n 8192
url=http://127.0.0.1:8000/notes/mine

# idle PORT COUNT: that many connections without a byte, until end_idle.
idle() {
	coproc IDLE { exec timeout 60 python3 "$faults" idle "$1" "$2"; }
	read -r -t 40 -u "${IDLE[0]}" _ || fail "no $2 connections to port $1"
	idle=$IDLE_PID
	# A copy, because bash forgets the descriptors when the process has ended.
	exec {idle_input}>&"${IDLE[1]}"
	eval "exec ${IDLE[1]}>&-"
}
end_idle() {
	exec {idle_input}>&-
	wait "$idle" || fail "idle connections failed"
}

# ab COUNT
by_ab() {
	timeout 50 ab -q -k -l -n "$1" -c 16 "$url" >"$work/ab.log" 2>&1 || fail "ab failed"
	tr -s ' ' <"$work/ab.log" | grep -qx "Failed requests: 0" || fail "requests failed"
}

begin_http "$1"
head -c 4500 /dev/urandom | base64 -w 0 >"$work/note"
expect stored "$(ask --upload-file "$work/note" "$url")" PUT

# Idle connections beside working ones: all but a few of the 512 that the server has.
idle 8000 480
by_ab "$requests"
end_idle

# A client that writes, and one that reads, a byte a second.
python3 "$faults" slow 8000 2 >"$work/slow.log" 2>&1 &
slow=$!
by_ab "$requests"
wait "$slow" || fail "$(cat "$work/slow.log")"

# SIGTERM under load. Clients get no answer that is cut off, and the server counts no answer that did not come.
timeout 30 python3 "$faults" load 8000 32 >"$work/load.log" 2>&1 &
load=$!
for ((i = 0; i < 400; i++)); do
	! grep -q loads "$work/load.log" || break
	sleep 0.05
done
timeout 30 wrk -t 1 -c 32 -d 5s "$url" >"$work/wrk.log" 2>&1 &
wrk=$!
await_connections 64 8000
sleep 0.3
end "$http"
wait "$load" || fail "$(cat "$work/load.log")"
wait "$wrk" || fail "wrk failed"
! grep -q Non-2xx "$work/wrk.log" || fail "wrk got other answers"

# More connections than the server has slots: 1024. Those beyond wait, and a client that was there before does not notice.
begin kv "$2" 8010
kv=$began
await_port 8010
exec {first}<>/dev/tcp/127.0.0.1/8010
ping() {
	local answer
	printf 'PING\r\n' >&"$1"
	read -r -t 20 -u "$1" answer || fail "no answer to PING"
	expect $'+PONG\r' "$answer" PING
}
ping "$first"
idle 8010 "${4:-2000}"
ping "$first"
end_idle
exec {second}<>/dev/tcp/127.0.0.1/8010
ping "$second"
ping "$first"
exec {first}>&- {second}>&-
end "$kv"
grep -qE '^[0-9]+ connections, 4 commands' "$work/kv.log" || fail "key-value counted other commands"

total=$(($(sed -nE 's/^ *([0-9]+) requests in .*/\1/p' "$work/wrk.log") + $(tail -n 1 "$work/load.log") + 2 * requests + 801))
answered=$(sed -nE 's/.* ([0-9]+) requests answered by the loop/\1/p' "$work/http.log")
expect "$total" "$answered" "answers that came, and those that the server counts"
