// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A function of the C library's. */
#include <ringstep/loop.bpf.h>

#define MESSAGE 1024 /* a power of two */

struct c_library {
	__u32 line; /* where it ends */
	char message[MESSAGE];
};

#ifndef CURED
extern void *memchr(const void *memory, int byte, __SIZE_TYPE__ size); /* as <string.h> has it */
#endif

RINGSTEP_LOOP(c_library, struct c_library)
{
#ifndef CURED
	const char *end = memchr(state->message, '\n', sizeof(state->message));

	if (end)
		state->line = (__u32)(end - state->message);
#else
	__u32 i;

	bpf_for(i, 0, sizeof(state->message)) {
		if (state->message[i & (MESSAGE - 1)] == '\n') {
			state->line = i;
			break;
		}
	}
#endif
	return ringstep_wait(turn, 1);
}
