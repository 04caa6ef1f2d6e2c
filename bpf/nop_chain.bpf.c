// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs nops, depth of them in flight at a time, and checks that each comes back once, in order and without an error. Stops with
 * code 0 if all of them did, with the number that did not otherwise.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/loops/nop_chain.h>

RINGSTEP_LOOP(nop_chain, struct ringstep_nop_chain)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->res || cqe->user_data != state->completed)
			state->failed++;
		state->completed++;
	}
	if (state->completed >= state->total)
		return ringstep_stop(turn, (__s64)state->failed);

	ringstep_while (state->submitted < state->total && state->submitted < state->completed + state->depth) {
		struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

		ringstep_prep_nop(sqe);
		ringstep_sqe_set_data64(sqe, state->submitted++);
	}
	return ringstep_submit_and_wait(turn, 1);
}
