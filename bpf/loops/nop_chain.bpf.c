// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs `total` nops, with `depth` of them in flight at a time. It checks that each completes once, in order and without an error. The code
 * at the end is the number of nops that failed this check, so 0 means success.
 *
 * The next nop is submitted as the answer to a completion. A nop completes at once, so in the kernel one turn runs many, one after the other.
 *
 * The longest step: 32 completions, each of which submits a request, and 65,536 more requests. That makes 65,568 iterations.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/c/identity.h>
#include <ringstep/c/loops/nop_chain.h>

#define MOST 65536 /* submitted in one turn */

static __always_inline void submit(struct ringstep_turn *turn, __u64 number)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_nop(sqe);
	ringstep_sqe_set_data64(sqe, number);
}

/* Counts a completion that was not expected. Returns false if it is stale: another loop of the ring has left its request in flight. */
static __noinline bool count_unexpected(struct ringstep_nop_chain *state, __u64 user_data)
{
	if (ringstep_identity_is_marked(user_data)) {
		state->foreign++;
		return false;
	}
	state->failed++;
	return true;
}

RINGSTEP_LOOP(nop_chain, struct ringstep_nop_chain)
{
	const __u64 total = state->total;
	__u64 completed = state->completed;
	__u64 submitted = state->submitted;
	struct io_uring_cqe *cqe;
	__u64 end;

	ringstep_for_each_cqe_submitting(turn, cqe) {
		if (unlikely(cqe->res || cqe->user_data != completed) && !count_unexpected(state, cqe->user_data))
			continue;
		completed++;
		if (submitted < total)
			submit(turn, submitted++);
	}
	/*
	 * The walk may take completions of requests that it has submitted itself. So `submitted` is stored first: a thread that loads
	 * `completed` and then `submitted` never sees more completions than submissions.
	 */
	ringstep_store(&state->submitted, submitted);
	ringstep_store(&state->completed, completed);
	if (completed >= total)
		return ringstep_stop(turn, (__s64)state->failed);

	end = completed + state->depth;
	if (end > total)
		end = total;
	if (submitted < end) {
		if (unlikely(end - submitted > MOST))
			end = submitted + MOST;
		barrier_var(end); /* otherwise the compiler would compare with each of these numbers */
		do
			submit(turn, submitted++);
		ringstep_again_while(submitted != end);
	}
	ringstep_store(&state->submitted, submitted);
	return ringstep_submit_and_wait(turn, 1);
}
