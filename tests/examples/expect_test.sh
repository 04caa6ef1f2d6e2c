#!/bin/bash
# Whether expect.sh demands both of a program: status 0 and the text.
# Usage: expect_test.sh
set -u
expect=$(dirname "$0")/expect.sh
failures=0

# ends STATUS SCRIPT: how expect.sh ends that wants "one" and "two", in this order.
ends() {
	local status=0 said
	said=$("$expect" 'one.*two\. [0-9]+' bash -c "$2" 2>&1) || status=$?
	((status == $1)) || { echo "FAILED: status $status instead of $1 for: $2: $said"; failures=$((failures + 1)); }
}

ends 0 'echo one and two. 12'
ends 0 'echo one; echo two. 12'
ends 1 'echo one and two. 12; exit 1'
ends 1 'echo one and two. 12; kill -SEGV $$'
ends 1 'echo one and twos 12'
ends 1 'true'

((failures == 0)) && echo "all passed"
exit $((failures > 0))
