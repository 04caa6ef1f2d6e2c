// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The loop, in C. clang compiles it for the kernel's BPF machine. The kernel calls the step again and again inside one
 * io_uring_enter(): whenever completions have arrived, and sometimes when none have.
 */
#include <ringstep/loop.bpf.h>

#include "hello.h"

RINGSTEP_LOOP(hello, struct hello)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;

	/* 1. Look at what has completed since the last turn. */
	ringstep_for_each_cqe(turn, cqe) {
		state->in_flight--;
		state->completed++;
	}

	/* 2. Done? Then io_uring_enter() returns, with this code. */
	if (state->countdown == 0 && state->in_flight == 0)
		return ringstep_stop(turn, 0);

	/* 3. Otherwise make the next request, one at a time. */
	if (state->countdown > 0 && state->in_flight == 0) {
		sqe = ringstep_get_sqe(turn);
		ringstep_prep_nop(sqe);
		state->countdown--;
		state->in_flight++;
	}

	/* 4. Hand it to the kernel, and come back when one more has completed. */
	return ringstep_submit_and_wait(turn, 1);
}
