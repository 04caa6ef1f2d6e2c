# For tests with programs of others: a network of its own for each test, and servers that end with it. The scripts read this file first.
#
# A script that sets long_in_kernels first has many programs to start, which an emulated kernel takes long for. It runs on this machine, and in a kernel by
# `./dev test --thorough`; otherwise the test is skipped there.
#
# Each test runs in a network namespace with nothing but the loopback device. So every port is free, and tests may run at the same time.
if [[ ${long_in_kernels:-} && ${RINGSTEP_ENGINE:-} == kernel && -z ${RINGSTEP_THOROUGH:-} ]]; then
	echo "with --thorough only"
	exit 77
fi
if [[ -z ${RINGSTEP_OWN_NETWORK:-} ]]; then
	export RINGSTEP_OWN_NETWORK=yes
	exec unshare --net -- "$BASH" "$0" "$@"
fi
ip link set lo up

work=$(mktemp -d)
children=()
# shellcheck disable=SC2317 # a trap
end_all() {
	local status=$? child
	trap - EXIT
	{
		for child in "${children[@]}"; do
			kill -KILL "$child" || true
		done
		wait || true
	} 2>/dev/null # which says which of them were killed
	if ((status)); then
		printf 'what the programs said:\n' >&2
		tail -n 20 "$work"/*.log >&2 2>/dev/null || true
	fi
	[[ -z ${reason:-} ]] || printf '%s\n' "$reason" >&2
	rm -rf "$work"
	exit "$status"
}
trap end_all EXIT
trap 'exit 1' TERM INT

fail() {
	reason=$*
	exit 1
}

# expect TEXT GOT WHAT
expect() {
	[[ $2 == "$1" ]] || fail "$3: got '$2' instead of '$1'"
}

# begin NAME COMMAND…: starts a program that lasts, with its output in $work/NAME.log. Sets $began to its process.
# What it gets is not a child of a subshell, so that `wait` knows its status.
begin() {
	local name=$1
	shift
	"$@" >"$work/$name.log" 2>&1 &
	began=$!
	children+=("$began")
}

# await_connections COUNT PORT: waits until this many connections to a port of 127.0.0.1 are open, for 20 s at most.
await_connections() {
	local i hex
	printf -v hex '%04X' "$2"
	for ((i = 0; i < 400 && $(grep -cE "^ *[0-9]+: [0-9A-F]+:[0-9A-F]+ 0100007F:$hex 01" /proc/net/tcp || true) < $1; i++)); do
		sleep 0.05
	done
}

# Waits until somebody listens on a port of this network, for 30 s at most. Does not connect: servers count connections.
await_port() {
	local hex i
	printf -v hex ':%04X 0*:0000 0A' "$1"
	for ((i = 0; i < 600; i++)); do
		! grep -qE "$hex" /proc/net/tcp /proc/net/tcp6 || return 0
		sleep 0.05
	done
	fail "nobody listens on port $1"
}

# end PROCESS: SIGTERM, and it has to end with status 0.
end() {
	local status=0
	kill -TERM "$1"
	wait "$1" || status=$?
	((status == 0)) || fail "a server ended with status $status"
}

# end_at_once PROCESS: SIGKILL.
end_at_once() {
	{
		kill -KILL "$1"
		wait "$1" || true
	} 2>/dev/null # which says that it was killed
}

# begin_http PROGRAM [PORT]: our HTTP server on port 8000. Sets $http to its process.
begin_http() {
	begin http "$1" 8000
	http=$began
	await_port 8000
}

# begin_proxy PROGRAM OPTIONS…: our proxy on port 9000. Sets $proxy to its process.
begin_proxy() {
	begin proxy "$1" --port 9000 "${@:2}"
	proxy=$began
	await_port 9000
}

# begin_nginx PORT: with what stands on stdin inside its block http, and in $nginx_top outside of it. It keeps its files in $work.
begin_nginx() {
	mkdir -p "$work/nginx"
	{
		printf 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n'
		printf 'daemon off; master_process off; pid %s/nginx.pid; error_log stderr crit;\n' "$work"
		printf 'events { worker_connections 1024; }\n%s\n' "${nginx_top:-}"
		printf 'http { access_log off; keepalive_requests 1000000;\n'
		local part
		for part in client_body proxy fastcgi uwsgi scgi; do
			printf '%s_temp_path %s/nginx/%s;\n' $part "$work" $part
		done
		cat
		printf '}\n'
	} >"$work/nginx.conf"
	begin nginx nginx -e stderr -p "$work/nginx" -c "$work/nginx.conf"
	# shellcheck disable=SC2034 # for those who read this file
	nginx=$began
	await_port "$1"
}

# begin_haproxy PORT: with its configuration on stdin, behind a section with limits of time.
begin_haproxy() {
	{
		printf 'global\n maxconn 1000\ndefaults\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n'
		cat
	} >"$work/haproxy.cfg"
	begin haproxy haproxy -db -f "$work/haproxy.cfg"
	# shellcheck disable=SC2034 # for those who read this file
	haproxy=$began
	await_port "$1"
}

# begin_answering_haproxy PORT: answers every request with the text "haproxy".
begin_answering_haproxy() {
	begin_haproxy "$1" <<-END
		frontend direct
		 mode http
		 bind 127.0.0.1:$1
		 http-request return status 200 content-type text/plain string haproxy
	END
}

# Asks by curl, without the user's settings and with a limit of time.
ask() {
	curl --disable --silent --show-error --max-time 20 "$@"
}
