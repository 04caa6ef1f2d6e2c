// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A count that starts as a constant and grows in a local variable. */
#include <ringstep/loop.bpf.h>

struct local_counter {
	__u64 received;
	__u32 failed; /* in this turn */
};

RINGSTEP_LOOP(local_counter, struct local_counter)
{
	struct io_uring_cqe *cqe;
#ifndef CURED
	__u32 failed = 0;

	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->res < 0)
			failed++;
		else
			state->received += (__u32)cqe->res;
	}
	if (failed > 3)
		return ringstep_stop(turn, failed);
#else

	state->failed = 0;
	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->res < 0)
			state->failed++;
		else
			state->received += (__u32)cqe->res;
	}
	if (state->failed > 3)
		return ringstep_stop(turn, state->failed);
#endif
	return ringstep_wait(turn, 1);
}
