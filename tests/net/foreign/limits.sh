#!/bin/bash
# Servers and the proxy at the limits of their process: too few descriptors or too little memory to begin, and none left while they run.
#
#   limits.sh HTTP-SERVER KEY-VALUE PROXY [COUNT]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
http_server=$1 key_value=$2 proxy_program=$3 count=${4:-30}

# refuses TEXT COMMAND…: the command ends at once, with an error that has this text.
refuses() {
	local text=$1 status=0
	shift
	timeout 20 "$@" >"$work/refused.log" 2>&1 || status=$?
	((status != 0 && status != 124)) || fail "$1 began, although it should say: $text"
	grep -qF "$text" "$work/refused.log" || fail "$1 did not say: $text"
}
# Too few descriptors for the table of connections: each program says so, with what to do.
for command in "$http_server 8000" "$key_value 8010" "$proxy_program --port 9000 127.0.0.1:8000"; do
	# shellcheck disable=SC2086 # arguments
	refuses "RLIMIT_NOFILE, ulimit -n" prlimit --nofile=200:200 $command
	# Memory that the kernel pins is counted only for those without CAP_IPC_LOCK.
	# shellcheck disable=SC2086 # arguments
	refuses "ulimit -l" prlimit --memlock=0:0 setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock $command
done

# While they run, servers need no descriptors of the process: connections are in the table.
mkdir "$work/files"
head -c 300000 /dev/urandom >"$work/files/large"
begin http "$http_server" 8000 "$work/files"
http=$began
await_port 8000
begin kv "$key_value" 8010
kv=$began
await_port 8010
begin_proxy "$proxy_program" 127.0.0.1:8000
for process in "$http" "$kv" "$proxy"; do
	prlimit --pid "$process" --nofile=0:0 --memlock=0:0
done
head -c 3000 /dev/urandom | base64 -w 0 >"$work/note"
for port in 8000 9000; do
	url=http://127.0.0.1:$port
	expect stored "$(ask --upload-file "$work/note" "$url/notes/$port")" "PUT by port $port"
	got=$(ask --parallel --parallel-immediate --parallel-max "$count" "$url/large?[1-$count]" --output "$work/o#1" --write-out '%{http_code} %{size_download}\n' | sort | uniq -c | tr -s ' ')
	expect " $count 200 300000" "$got" "$count files at once by port $port"
	cmp "$work/files/large" "$work/o$count" || fail "a file came back changed by port $port"
done
for ((i = 0; i < count; i++)); do
	exec {connection}<>/dev/tcp/127.0.0.1/8010
	printf 'SET key%d %d\r\nGET key%d\r\nQUIT\r\n' $i $i $i >&"$connection"
	timeout 20 cat <&"$connection" >"$work/answer"
	exec {connection}>&-
	expect "+OK =$i +BYE" "$(tr -d '\r' <"$work/answer" | tr '\n' ' ' | sed 's/ $//')" "commands without descriptors left"
done
end "$proxy"
end "$http"
end "$kv"
