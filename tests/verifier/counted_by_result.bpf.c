// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A loop whose length comes out of a completion. */
#include <ringstep/loop.bpf.h>

#define MESSAGE 1024 /* a power of two */

struct counted_by_result {
	__u64 sum;
	__u8 message[MESSAGE];
};

RINGSTEP_LOOP(counted_by_result, struct counted_by_result)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
#ifndef CURED
		for (int i = 0; i < cqe->res; i++)
			state->sum += state->message[i & (MESSAGE - 1)];
#else
		int i;

		bpf_for(i, 0, cqe->res)
			state->sum += state->message[i & (MESSAGE - 1)];
#endif
	}
	return ringstep_wait(turn, 1);
}
