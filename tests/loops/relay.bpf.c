// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The smallest loop of requests. */
#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>

#include "relay.h"

RINGSTEP_LOOP(relay, struct relay)
{
	struct io_uring_cqe *cqe;
	enum ringstep_mail mail;
	__u32 slot;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot))
			ringstep_request_deliver(state, slot);
	}

	state->budget = ringstep_requests_room(turn);
	ringstep_while (state->budget && ringstep_requests_receive(state, &slot, &mail)) {
		state->budget--;
		if (mail == RINGSTEP_MAIL_REQUEST) {
			ringstep_list_push_back(&state->waiting, state->slots, slot);
		} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
			ringstep_list_remove(&state->waiting, state->slots, slot);
			ringstep_request_refuse(state, slot, -ECANCELED);
		} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
			ringstep_request_cancel(turn, state, slot);
		}
	}

	ringstep_while (state->waiting.count && ringstep_requests_in_flight(state->requests.counts) < state->depth)
		ringstep_request_submit(turn, state, ringstep_list_pop_front(&state->waiting, state->slots));
	return ringstep_requests_end(turn, state, 1, !state->budget);
}
