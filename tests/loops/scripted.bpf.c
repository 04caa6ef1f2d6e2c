// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <ringstep/loop.bpf.h>

#include "scripted.h"

RINGSTEP_LOOP(scripted, struct scripted)
{
	struct io_uring_cqe *cqe;
	__u32 before = state->recorded;
	__u32 in_this_turn, sqe_count, stop_at, wait;

	ringstep_store(&state->turns, state->turns + 1);
	if (state->returns)
		return state->returns;

	if (state->ignore_turns) {
		state->ignore_turns--;
	} else {
		ringstep_for_each_cqe(turn, cqe) {
			struct scripted_record *record = &state->records[state->recorded & (SCRIPTED_RECORDS - 1)];

			record->user_data = cqe->user_data;
			record->result = cqe->res;
			record->flags = cqe->flags;
			if (ringstep_cqe_size(turn) == 32) {
				record->extra[0] = cqe->big_cqe[0];
				record->extra[1] = cqe->big_cqe[1];
			}
			ringstep_store(&state->recorded, state->recorded + 1);
			if (state->take_at_most && state->recorded - before >= state->take_at_most)
				break;
		}
	}
	in_this_turn = state->recorded - before;
	if (!in_this_turn)
		ringstep_store(&state->idle_turns, state->idle_turns + 1);
	if (in_this_turn > state->most_in_a_turn)
		state->most_in_a_turn = in_this_turn;
	stop_at = ringstep_load(&state->stop_at);
	if (stop_at && state->recorded >= stop_at)
		return ringstep_stop(turn, state->code);

	before = state->sqe_next;
	sqe_count = ringstep_load(&state->sqe_count);
	ringstep_while (state->sqe_next < sqe_count && state->sqe_next - before < state->sqes_per_turn) {
		const __u64 *words = state->templates[state->sqe_next & (SCRIPTED_SQES - 1)];
		__u64 *sqe = (__u64 *)ringstep_get_sqe(turn);

		for (int i = 0; i < 8; i++)
			sqe[i] = words[i];
		if (ringstep_sqe_size(turn) == 128) {
			for (int i = 8; i < 16; i++)
				sqe[i] = words[i];
		}
		state->sqe_next++;
	}
	state->submit_result = ringstep_submit(turn);
	if (state->spin)
		return RINGSTEP_CONTINUE;
	wait = state->wait;
	if (stop_at && wait > stop_at - state->recorded)
		wait = stop_at - state->recorded; /* no more will come */
	return ringstep_wait(turn, wait);
}
