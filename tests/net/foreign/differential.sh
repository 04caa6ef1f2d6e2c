#!/bin/bash
# http-server and nginx get the same requests, most of them odd, and accept or refuse the same ones: differential.py says with which exceptions.
#
#   differential.sh HTTP-SERVER [REQUESTS] [SEED]
set -euo pipefail
. "$(dirname "$0")/foreign.bash"
begin_http "$1"
# The first server has to receive the whole body, so it hands the request on.
begin_nginx 8001 <<'END'
	upstream answers { server 127.0.0.1:8002; keepalive 64; }
	server {
		listen 127.0.0.1:8001;
		lingering_timeout 200ms; # after requests that are too long
		location / { proxy_pass http://answers; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host x; proxy_ignore_client_abort on; }
	}
	server {
		listen 127.0.0.1:8002;
		location / { return 200 answer; }
	}
END
timeout 100 python3 "$(dirname "$0")/differential.py" 8001 8000 "${2:-3000}" "${3:-1}" || fail "the servers differ"
end "$http"
