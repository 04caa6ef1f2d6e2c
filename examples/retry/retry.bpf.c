// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what io_uring_enter() does, but tries a request that ends with EAGAIN again before the application sees the completion. */
#include <ringstep/hooks.bpf.h>

#include "retry.h"

#include <linux/errno.h>

RINGSTEP_LOOP(retry, struct retry)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	/* On its way to the kernel: keep a copy. */
	ringstep_for_each_submission(turn, &state->enter, sqe) {
		const __u32 slot = sqe->user_data & (RETRY_REQUESTS - 1);

		ringstep_sqe_copy((struct io_uring_sqe *)state->requests[slot], sqe);
		state->tries[slot] = 0;
	}

	/* On its way back: make the request again, and let the completion vanish. */
	ringstep_for_each_completion(turn, &state->enter, cqe) {
		const __u32 slot = cqe->user_data & (RETRY_REQUESTS - 1);

		if (cqe->res != -EAGAIN || state->tries[slot] >= state->limit)
			continue;
		state->tries[slot]++;
		state->retried++;
		ringstep_sqe_copy(ringstep_get_sqe(turn), state->requests[slot]);
		ringstep_swallow(turn, &state->enter, cqe);
	}

	return ringstep_enter(turn, &state->enter);
}
