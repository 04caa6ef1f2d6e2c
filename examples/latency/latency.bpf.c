// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what io_uring_enter() does, counts the requests, and times one request after the other. */
#include <ringstep/hooks.bpf.h>

#include "latency.h"

RINGSTEP_LOOP(latency, struct latency)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	ringstep_for_each_submission(turn, &state->enter, sqe) {
		state->requests[sqe->opcode & (LATENCY_OPCODES - 1)]++;
		if (!state->started) {
			state->sample = sqe->user_data;
			state->started = bpf_ktime_get_ns();
		}
	}

	ringstep_for_each_completion(turn, &state->enter, cqe) {
		if (cqe->res < 0)
			state->failed++;
		if (state->started && cqe->user_data == state->sample) {
			/* Setting the lowest bit changes the bucket only for a time of 0. */
			const __u64 time = (bpf_ktime_get_ns() - state->started) | 1;
			__u32 bucket = 63 - __builtin_clzll(time);

			/* clang knows that this is at most 63, and would leave out the mask. The verifier does not know it. */
			barrier_var(bucket);
			state->histogram[bucket & 63]++;
			state->started = 0;
		}
	}

	return ringstep_enter(turn, &state->enter);
}
