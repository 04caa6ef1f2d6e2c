# For scripts that test a server: starts it, and finds its port. The script reads this file.

# start_server PROGRAM [arguments]: sets $server to its process, $port to where it listens, and $output to the file that it prints into. When the
# script ends, the server is ended and the file is removed.
start_server() {
	output=$(mktemp)
	trap 'kill "$server" 2>/dev/null || true; rm -f "$output"' EXIT
	"$@" >"$output" &
	server=$!
	port=
	local i
	for ((i = 0; i < 600 && ${#port} == 0; i++)); do
		port=$(sed -n 's/^listening on 127.0.0.1, port //p' "$output")
		sleep 0.1
	done
}
