// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <ringstep/loop.bpf.h>

#include "together.h"

RINGSTEP_LOOP(together, struct together)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe)
		state->completed++;
	if (state->completed == state->total)
		return ringstep_stop(turn, 0);
	ringstep_while (state->claimed < state->total) {
		struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

		ringstep_prep_nop(sqe);
		if (state->claimed == state->refused)
			sqe->opcode = 255;
		state->claimed++;
	}
	return ringstep_submit_and_wait(turn, state->total - state->completed);
}
