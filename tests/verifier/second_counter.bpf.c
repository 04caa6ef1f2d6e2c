// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A counter of its own beside the one of bpf_for(), for an index. */
#include <ringstep/loop.bpf.h>

#define MESSAGE 1024 /* a power of two */

struct second_counter {
	__u32 length; /* of the answer */
	__u8 message[MESSAGE];
	char answer[MESSAGE];
};

RINGSTEP_LOOP(second_counter, struct second_counter)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
		int i;
#ifndef CURED
		__u32 length = 0;

		bpf_for(i, 0, cqe->res) {
			state->answer[length++ & (MESSAGE - 1)] = 'a' + (state->message[i & (MESSAGE - 1)] >> 4);
			state->answer[length++ & (MESSAGE - 1)] = 'a' + (state->message[i & (MESSAGE - 1)] & 15);
		}
		state->length = length;
#else

		state->length = 0;
		bpf_for(i, 0, cqe->res) {
			state->answer[state->length++ & (MESSAGE - 1)] = 'a' + (state->message[i & (MESSAGE - 1)] >> 4);
			state->answer[state->length++ & (MESSAGE - 1)] = 'a' + (state->message[i & (MESSAGE - 1)] & 15);
		}
#endif
	}
	return ringstep_wait(turn, 1);
}
