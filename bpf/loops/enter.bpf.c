// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Does what io_uring_enter(2) does on a ring without a loop: submits the application's SQEs and waits.
 *
 * The longest step: without hooks, there is nothing to walk over. That makes 0 iterations, with 1 submit at most.
 */
#include <ringstep/hooks.bpf.h>

RINGSTEP_LOOP(enter, struct ringstep_enter_state)
{
	return ringstep_enter(turn, &state->enter);
}
