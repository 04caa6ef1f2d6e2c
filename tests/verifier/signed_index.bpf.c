// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A signed index that is bounded above only. */
#include <ringstep/loop.bpf.h>

struct signed_index {
	__u64 seen[200]; /* completions, by their result */
};

RINGSTEP_LOOP(signed_index, struct signed_index)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
#ifndef CURED
		if (cqe->res < 200)
			state->seen[cqe->res]++;
#else
		if (cqe->res >= 0 && cqe->res < 200)
			state->seen[cqe->res]++;
#endif
	}
	return ringstep_wait(turn, 1);
}
