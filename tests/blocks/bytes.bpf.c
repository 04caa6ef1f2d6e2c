// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does the calls of a script on its arrays. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>

#include "bytes.h"

BYTES_DEFINE_LITERAL(do_call, BYTES_SIZE_A)
BYTES_DEFINE_DO(do_call, BYTES_SIZE_A, BYTES_SIZE_B)

RINGSTEP_LOOP(bytes, struct bytes)
{
	__s64 limit = ringstep_limit(BYTES_CALLS);

	ringstep_while_at_most (limit, state->done < state->calls) {
		do_call(&state->a, &state->b, &state->script[state->done & (BYTES_CALLS - 1)]);
		state->done++;
	}
	return ringstep_stop(turn, 0);
}
