// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A helper that is not for loops. */
#include <ringstep/loop.bpf.h>

struct user_write {
	__u64 received;
#ifndef CURED
	__u64 progress; /* user address of a __u64 */
#else
	__u64 progress; /* the application reads it here */
#endif
};

RINGSTEP_LOOP(user_write, struct user_write)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe)
		state->received += (__u32)cqe->res;
#ifndef CURED
	bpf_probe_write_user((void *)state->progress, &state->received, sizeof(state->received));
#else
	state->progress = state->received;
#endif
	return ringstep_wait(turn, 1);
}
