// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A memcpy() whose size is known only when it runs. */
#include <ringstep/loop.bpf.h>

#define MESSAGE 1024 /* a power of two */

struct variable_copy {
	__u32 length;
	char message[MESSAGE];
	char answer[MESSAGE];
};

RINGSTEP_LOOP(variable_copy, struct variable_copy)
{
#ifndef CURED
	__builtin_memcpy(state->answer, state->message, state->length);
#else
	__u32 i;

	bpf_for(i, 0, state->length)
		state->answer[i & (MESSAGE - 1)] = state->message[i & (MESSAGE - 1)];
#endif
	return ringstep_wait(turn, 1);
}
