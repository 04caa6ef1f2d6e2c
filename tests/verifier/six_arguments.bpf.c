// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A function with more arguments than there are registers for them. */
#include <ringstep/loop.bpf.h>

#define MORE 0x8000 /* MSG_MORE */

struct six_arguments {
	__u64 buffer;
	__s32 fd;
	__u32 length;
};

// clang-format off: as in the document
#ifndef CURED
static __noinline int send_answer(struct ringstep_turn *turn, __s32 fd, __u64 buffer, __u32 length, __u32 flags, __u64 data)
#else
static __always_inline int send_answer(struct ringstep_turn *turn, __s32 fd, __u64 buffer, __u32 length, __u32 flags, __u64 data)
#endif
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_send(sqe, fd, buffer, length, flags);
	ringstep_sqe_set_data64(sqe, data);
	return 0;
}

RINGSTEP_LOOP(six_arguments, struct six_arguments)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->res < 0)
			return ringstep_stop(turn, cqe->res);
		send_answer(turn, state->fd, state->buffer, state->length, 0, cqe->user_data + 1);
		send_answer(turn, state->fd, state->buffer + 1, 1, MORE, cqe->user_data + 2);
	}
	return ringstep_submit_and_wait(turn, 1);
}
