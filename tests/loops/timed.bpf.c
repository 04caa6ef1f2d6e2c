// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <ringstep/loop.bpf.h>
#include <ringstep/timer.bpf.h>

#include "timed.h"

RINGSTEP_LOOP(timed, struct timed)
{
	struct io_uring_cqe *cqe;

	ringstep_store(&state->turns, state->turns + 1);
	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->user_data >= TIMED_STRANGE)
			state->strange++;
		state->completed++;
	}
	if (state->total && state->completed >= state->total)
		return ringstep_stop(turn, 0);
	if (ringstep_expired(state->deadline)) {
		state->beaten++;
		if (state->beaten >= state->beats)
			return ringstep_stop(turn, 1);
		state->deadline += state->period;
	}
	if (state->nops) {
		struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

		state->nops--;
		ringstep_prep_nop(sqe);
		if (state->async)
			ringstep_sqe_set_flags(sqe, IOSQE_ASYNC);
	}
	return ringstep_submit_and_wait_until(turn, state->wait, state->deadline);
}
