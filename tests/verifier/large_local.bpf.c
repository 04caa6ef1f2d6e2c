// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* More local variables than the stack holds. */
#include <ringstep/loop.bpf.h>

#define LINE 1024 /* a power of two */

struct large_local {
	__u64 sum;
	char line[LINE];
};

RINGSTEP_LOOP(large_local, struct large_local)
{
	struct io_uring_cqe *cqe;
#ifndef CURED
	char line[LINE] = {};
#else
	char *line = state->line;
#endif

	ringstep_for_each_cqe(turn, cqe)
		line[cqe->user_data & (LINE - 1)] = (char)cqe->res;
	state->sum += line[state->sum & (LINE - 1)];
	return ringstep_wait(turn, 1);
}
