// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does the calls of a script on its arrays. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>

#include "bytes.h"

BYTES_DEFINE_LITERAL(do_call, BYTES_SIZE_A)
BYTES_DEFINE_DO(do_call, BYTES_SIZE_A, BYTES_SIZE_B)

/* A function of its own, so that verifiers that do not nest loops follow it once. */
ringstep_apart int do_step(struct bytes *state ringstep_arg_nonnull, __u32 number)
{
	return do_call(&state->a, &state->b, &state->script[number & (BYTES_CALLS - 1)]);
}

RINGSTEP_LOOP(bytes, struct bytes)
{
	__s64 limit = ringstep_limit(BYTES_CALLS);

	ringstep_while_at_most (limit, state->done < state->calls) {
		do_step(state, state->done);
		state->done++;
	}
	return ringstep_stop(turn, 0);
}
