#!/bin/bash
# ab and wrk load http-server, and each request has to be answered rightly.
#
#   load.sh HTTP-SERVER [REQUESTS]
set -euo pipefail
# shellcheck disable=SC2034 # foreign.bash reads it
long_in_kernels=yes
. "$(dirname "$0")/foreign.bash"
requests=${2:-20000}
begin_http "$1"
url=http://127.0.0.1:8000/notes/mine
head -c 60 /dev/zero | tr '\0' x >"$work/body"
expect stored "$(ask --upload-file "$work/body" "$url")" PUT

# HTTP/1.0 with keep-alive, for which the server has to say that it does so.
timeout 50 ab -q -k -l -n "$requests" -c 16 "$url" >"$work/ab.log" 2>&1 || fail "ab failed"
for line in "Complete requests: $requests" "Failed requests: 0" "Keep-Alive requests: $requests"; do
	tr -s ' ' <"$work/ab.log" | grep -qx "$line" || fail "ab did not say '$line'"
done
! grep -q 'Non-2xx' "$work/ab.log" || fail "ab got other answers"

# Posts that the application answers, each on a connection of its own.
posts=$((requests / 20))
timeout 50 ab -q -n $posts -c 8 -p "$work/body" -T text/plain "$url" >"$work/ab.log" 2>&1 || fail "ab failed"
for line in "Complete requests: $posts" "Failed requests: 0" "Non-2xx responses: $posts"; do
	tr -s ' ' <"$work/ab.log" | grep -qx "$line" || fail "ab did not say '$line'"
done

timeout 50 wrk -t 2 -c 64 -d 1s --timeout 20s "$url" >"$work/wrk.log" 2>&1 || fail "wrk failed"
! grep -qE 'Non-2xx|Socket errors' "$work/wrk.log" || fail "wrk had errors"
wrk=$(sed -nE 's/^ *([0-9]+) requests in .*/\1/p' "$work/wrk.log")
((wrk > 0)) || fail "wrk made no requests"

end "$http"
# wrk does not count those in flight at its end.
answered=$(sed -nE 's/.* ([0-9]+) requests answered by the loop/\1/p' "$work/http.log")
((answered >= requests + wrk && answered <= requests + wrk + 64)) ||
	fail "the loop says that it answered $answered requests, of $requests by ab and $wrk by wrk"
