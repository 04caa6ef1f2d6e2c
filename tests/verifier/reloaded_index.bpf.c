// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* An index that is checked, then read from memory again. */
#include <ringstep/loop.bpf.h>

struct reloaded_index {
	__u32 next;
	__u32 fds[100];
	__u32 polled[100];
};

RINGSTEP_LOOP(reloaded_index, struct reloaded_index)
{
#ifndef CURED
	if (state->next < 100) {
		ringstep_prep_poll_add(ringstep_get_sqe(turn), (__s32)state->fds[state->next], 1);
		state->polled[state->next]++;
		state->next++;
	}
#else
	const __u32 next = state->next;

	if (next < 100) {
		ringstep_prep_poll_add(ringstep_get_sqe(turn), (__s32)state->fds[next], 1);
		state->polled[next]++;
		state->next = next + 1;
	}
#endif
	return ringstep_submit_and_wait(turn, 1);
}
