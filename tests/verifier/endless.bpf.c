// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A loop that the verifier cannot see the end of. */
#include <ringstep/loop.bpf.h>

struct endless {
	__u64 left;
};

RINGSTEP_LOOP(endless, struct endless)
{
#ifndef CURED
	while (state->left > 0) {
		ringstep_prep_nop(ringstep_get_sqe(turn));
		state->left--;
	}
#else
	ringstep_while (state->left > 0) {
		ringstep_prep_nop(ringstep_get_sqe(turn));
		state->left--;
	}
#endif
	return ringstep_submit_and_wait(turn, 1);
}
