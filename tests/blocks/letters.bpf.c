// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A mailbox and nothing else: the loop sends back what it gets. */
#include <ringstep/loop.bpf.h>

#include <ringstep/mailbox.bpf.h>

#include "letters.h"

RINGSTEP_LOOP(letters, struct letters)
{
	struct io_uring_cqe *cqe;
	__u32 message;

	ringstep_for_each_cqe(turn, cqe) {
		/* only wake-ups come */
	}
	ringstep_mailbox_wake(&state->mailbox);
	state->budget = LETTERS_BATCH;
	ringstep_while (state->budget && !state->stopped && ringstep_mailbox_receive(&state->mailbox, state->inbox, &message)) {
		state->budget--;
		if (message == LETTERS_STOP)
			state->stopped = 1;
		else
			ringstep_mailbox_deliver(&state->mailbox, state->outbox, message);
	}
	ringstep_store(&state->turns, state->turns + 1);
	if (state->stopped || state->turns == state->most_turns) {
		state->uncollected = ringstep_mailbox_uncollected(&state->mailbox);
		return ringstep_stop(turn, 0);
	}
	return ringstep_submit_and_wait(turn, ringstep_mailbox_sleep(&state->mailbox, state->inbox) ? 1 : 0);
}
