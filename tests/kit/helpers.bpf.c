// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Functions that take the turn and that no compiler puts into their callers, each called from several places and from one another, with
 * walks and loops in them.
 */
#include <ringstep/loop.bpf.h>

#include "helpers.h"

static __noinline int send_answer(struct ringstep_turn *turn, struct helpers *state, __u32 place, __u32 length)
{
	struct io_uring_sqe *sqe;

	if (!state->left)
		return 0;
	if (length > sizeof(state->answer))
		length = sizeof(state->answer);
	sqe = ringstep_get_sqe(turn);
	ringstep_prep_send(sqe, state->fd, ringstep_address(turn, state->answer), length, 0);
	ringstep_sqe_set_data64(sqe, place);
	state->left--;
	state->in_flight++;
	return 1;
}

static __noinline int on_completion(struct ringstep_turn *turn, struct helpers *state, const struct io_uring_cqe *cqe)
{
	const __u32 place = cqe->user_data & (HELPERS_PLACES - 1);

	state->in_flight--;
	if (cqe->res < 0) {
		state->failures++;
		return send_answer(turn, state, 1, 1);
	}
	state->sent += (__u32)cqe->res;
	state->by_place[place]++;
	if (place & 1)
		return send_answer(turn, state, place + 1, 2);
	return send_answer(turn, state, place + 3, (__u32)cqe->res + 1);
}

static __noinline int take_completions(struct ringstep_turn *turn, struct helpers *state)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe)
		on_completion(turn, state, cqe);
	return 0;
}

static __noinline int fill(struct ringstep_turn *turn, struct helpers *state)
{
	ringstep_while (state->left > 0 && state->in_flight < 8)
		send_answer(turn, state, state->left, 1);
	return 0;
}

static __noinline int finish(struct ringstep_turn *turn, struct helpers *state)
{
	if (!state->left && !state->in_flight)
		return ringstep_stop(turn, 7);
	return ringstep_submit_and_wait(turn, 1);
}

RINGSTEP_LOOP(helpers, struct helpers)
{
	take_completions(turn, state);
	fill(turn, state);
	if (state->failures > 3)
		return ringstep_stop(turn, -1);
	return finish(turn, state);
}
