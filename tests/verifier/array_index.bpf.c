// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* An index that nothing bounds. */
#include <ringstep/loop.bpf.h>

#define CONNECTIONS 256 /* a power of two */

struct array_index {
	__u64 received[CONNECTIONS];
};

RINGSTEP_LOOP(array_index, struct array_index)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
#ifndef CURED
		__u64 *received = &state->received[cqe->user_data];
#else
		__u64 *received = &state->received[cqe->user_data & (CONNECTIONS - 1)];
#endif

		*received += (__u32)cqe->res;
	}
	return ringstep_wait(turn, 1);
}
