// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <ringstep/hooks.bpf.h>

#include "hooked.h"

RINGSTEP_LOOP(hooked, struct hooked)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	ringstep_for_each_submission(turn, &state->enter, sqe) {
		state->submissions++;
		if (sqe->user_data & HOOKED_AS_NOP) {
			const __u64 user_data = sqe->user_data;

			ringstep_prep_nop(sqe);
			sqe->user_data = user_data;
		}
	}

	state->looked_at = 0;
	ringstep_for_each_completion(turn, &state->enter, cqe) {
		const __u64 user_data = cqe->user_data;

		state->completions++;
		if (user_data & HOOKED_CHANGE)
			cqe->res = (__s32)((__u32)cqe->res + 1000); /* any result: wraps around */
		if (user_data >> 40 & 255) {
			struct io_uring_sqe *again = ringstep_get_sqe(turn);

			ringstep_prep_nop(again);
			ringstep_sqe_set_data64(again, user_data - HOOKED_AGAIN);
			ringstep_swallow(turn, &state->enter, cqe);
			state->again++;
		} else if (user_data & HOOKED_SWALLOW) {
			ringstep_swallow(turn, &state->enter, cqe);
		}
		if (state->at_most && ++state->looked_at >= state->at_most)
			break;
	}
	return ringstep_enter(turn, &state->enter);
}
