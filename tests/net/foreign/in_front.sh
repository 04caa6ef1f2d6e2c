#!/bin/bash
# nginx and haproxy in front of http-server, with connections that they keep.
#
#   in_front.sh HTTP-SERVER [REQUESTS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${2:-4000}
head -c 4500 /dev/urandom | base64 -w 0 >"$work/body"
begin_http "$1"
begin_nginx 8001 <<'END'
	upstream notes { server 127.0.0.1:8000; keepalive 16; }
	server {
		listen 127.0.0.1:8001;
		location / { proxy_pass http://notes; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
	}
END
begin_haproxy 8003 <<'END'
frontend there
 mode http
 bind 127.0.0.1:8003
 default_backend notes
backend notes
 mode http
 http-reuse always
 server notes 127.0.0.1:8000
END

for port in 8001 8003; do
	url=http://127.0.0.1:$port/notes
	expect $'stored\n201' "$(ask --upload-file "$work/body" "$url/$port" --write-out '%{http_code}')" "PUT by way of $port"
	ask --output "$work/back" "$url/$port"
	cmp "$work/body" "$work/back" || fail "a note came back changed by way of $port"
	expect $'stored\n201' "$(ask --header 'Transfer-Encoding: chunked' --upload-file "$work/body" "$url/chunks" --write-out '%{http_code}')" "PUT in chunks"
	expect 404 "$(ask --head --output "$work/o" --write-out '%{http_code}' "$url/none")" "HEAD by way of $port"
	expect 204 "$(ask --request DELETE --write-out '%{http_code}' "$url/chunks")" "DELETE by way of $port"
	timeout 50 ab -q -k -l -n "$requests" -c 8 "$url/$port" >"$work/ab.log" 2>&1 || fail "ab failed by way of $port"
	tr -s ' ' <"$work/ab.log" | grep -qx "Failed requests: 0" || fail "requests by way of $port failed"
	! grep -q 'Non-2xx' "$work/ab.log" || fail "ab got other answers by way of $port"
done
end "$http"
read -r connections _ <<<"$(tail -n 1 "$work/http.log")"
((connections <= 60)) || fail "$connections connections to http-server were opened for $requests requests and more: they were not kept"
