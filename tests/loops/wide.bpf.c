// SPDX-License-Identifier: MIT OR GPL-2.0-only
#define RINGSTEP_CQE_BATCH 128
#include <ringstep/loop.bpf.h>

#include "wide.h"

RINGSTEP_LOOP(wide, struct wide)
{
	const __u32 before = state->completed;
	struct io_uring_cqe *cqe;
	__u32 in_this_turn;

	ringstep_for_each_cqe(turn, cqe)
		state->completed++;
	in_this_turn = state->completed - before;
	if (in_this_turn > state->most_in_a_turn)
		state->most_in_a_turn = in_this_turn;
	if (state->completed >= state->total)
		return ringstep_stop(turn, 0);
	ringstep_while (state->submitted < state->total) {
		ringstep_prep_nop(ringstep_get_sqe(turn));
		state->submitted++;
	}
	return ringstep_submit_and_wait(turn, state->total - state->completed);
}
