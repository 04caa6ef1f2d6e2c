// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs `total` nops, with `depth` of them in flight at a time. It checks that each completes once, in order and without an error. The code
 * at the end is the number of nops that failed this check, so 0 means success.
 *
 * The longest step: 32 completions and 65,536 requests, each of which may submit those before it. That makes 65,568 iterations.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/c/loops/nop_chain.h>

#define MOST 65536 /* submitted in one turn */

RINGSTEP_LOOP(nop_chain, struct ringstep_nop_chain)
{
	__u64 completed = state->completed;
	__u64 submitted = state->submitted;
	struct io_uring_cqe *cqe;
	__u64 end;

	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->res || cqe->user_data != completed)
			state->failed++;
		completed++;
	}
	ringstep_store(&state->completed, completed);
	if (completed >= state->total)
		return ringstep_stop(turn, (__s64)state->failed);

	end = completed + state->depth;
	if (end > state->total)
		end = state->total;
	if (submitted < end) {
		if (unlikely(end - submitted > MOST))
			end = submitted + MOST;
		barrier_var(end); /* otherwise the compiler would compare with each of these numbers */
		do {
			struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

			ringstep_prep_nop(sqe);
			ringstep_sqe_set_data64(sqe, submitted++);
		}
		ringstep_again_while(submitted != end);
	}
	ringstep_store(&state->submitted, submitted);
	return ringstep_submit_and_wait(turn, 1);
}
