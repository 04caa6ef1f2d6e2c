// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A pointer that comes out of memory. */
#include <ringstep/loop.bpf.h>

#define REQUESTS 64 /* a power of two */

struct request {
	__u64 received;
};

struct user_pointer {
	__u64 received;
	struct request requests[REQUESTS];
};

RINGSTEP_LOOP(user_pointer, struct user_pointer)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
#ifndef CURED
		struct request *request = (struct request *)cqe->user_data;
#else
		struct request *request = &state->requests[cqe->user_data & (REQUESTS - 1)];
#endif

		request->received += (__u32)cqe->res;
		state->received += (__u32)cqe->res;
	}
	return ringstep_wait(turn, 1);
}
