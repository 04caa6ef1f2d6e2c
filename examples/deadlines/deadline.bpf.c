// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Submits the request with the earliest deadline first, and keeps up to `depth` requests in flight.
 *
 * The waiting requests are in a heap. Each push, cancellation and submission moves one request up or down, by ten levels at most.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>

#include "deadline.h"

static __always_inline __u64 deadline_at(const struct deadline *state, __u32 place)
{
	const __u32 slot = state->heap[place & ringstep_mask(state->heap)];

	return state->slots[slot & ringstep_mask(state->slots)].own.deadline;
}

static __always_inline void put(struct deadline *state, __u32 place, __u32 slot)
{
	state->heap[place & ringstep_mask(state->heap)] = slot;
	state->slots[slot & ringstep_mask(state->slots)].own.place = place;
}

/* Puts a request where it belongs: at state->at, or above it, or below it. */
static __noinline int place_request(struct deadline *state, __u32 slot)
{
	const __u64 deadline = state->slots[slot & ringstep_mask(state->slots)].own.deadline;
	int level;

	bpf_for(level, 0, DEADLINE_LEVELS) {
		const __u32 above = (state->at - 1) / 2;

		if (!state->at || deadline_at(state, above) <= deadline)
			break;
		put(state, state->at, state->heap[above & ringstep_mask(state->heap)]);
		state->at = above;
	}
	bpf_for(level, 0, DEADLINE_LEVELS) {
		__u32 below = 2 * state->at + 1;

		if (below + 1 < state->count && deadline_at(state, below + 1) < deadline_at(state, below))
			below++;
		if (below >= state->count || deadline_at(state, below) >= deadline)
			break;
		put(state, state->at, state->heap[below & ringstep_mask(state->heap)]);
		state->at = below;
	}
	put(state, state->at, slot);
	return 0;
}

/* Takes the request at a place out of the heap. The last one fills its place. */
static __always_inline __u32 take_out(struct deadline *state, __u32 place)
{
	const __u32 slot = state->heap[place & ringstep_mask(state->heap)] & ringstep_mask(state->slots);
	const __u32 last = --state->count;

	if (place != last) {
		state->at = place;
		place_request(state, state->heap[last & ringstep_mask(state->heap)]);
	}
	return slot;
}

RINGSTEP_LOOP(deadline, struct deadline)
{
	struct io_uring_cqe *cqe;
	enum ringstep_mail mail;
	__u32 slot, left = 0;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot))
			ringstep_request_deliver(state, slot);
	}

	/* All messages first: a request that comes last may have the earliest deadline. */
	bpf_for(left, 0, 2 * DEADLINE_REQUESTS) {
		if (!ringstep_requests_receive(state, &slot, &mail))
			break;
		if (mail == RINGSTEP_MAIL_REQUEST) {
			state->at = state->count++;
			place_request(state, slot);
		} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
			take_out(state, state->slots[slot].own.place);
			ringstep_request_refuse(state, slot, -ECANCELED);
		} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
			ringstep_request_cancel(turn, state, slot);
		}
	}

	bpf_for(left, 0, ringstep_requests_room(turn)) {
		if (!state->count || ringstep_requests_in_flight(state->requests.counts) >= state->depth)
			break;
		slot = take_out(state, 0);
		state->slots[slot].own.order = state->submitted++;
		ringstep_request_submit(turn, state, slot);
	}
	return ringstep_requests_end(turn, state, 1,
				     state->count && ringstep_requests_in_flight(state->requests.counts) < state->depth);
}
