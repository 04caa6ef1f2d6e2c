// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A call through a pointer. */
#include <ringstep/loop.bpf.h>

enum {
	RECEIVED,
	SENT,
};

struct callback {
	__u64 received;
	__u64 sent;
};

static void on_receive(struct callback *state, __s32 result)
{
	state->received += (__u32)result;
}

static void on_send(struct callback *state, __s32 result)
{
	state->sent += (__u32)result;
}

#ifndef CURED
static void (*const handlers[])(struct callback *, __s32) = {on_receive, on_send};

#endif
// clang-format off: as in the document
RINGSTEP_LOOP(callback, struct callback)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
#ifndef CURED
		handlers[cqe->user_data & 1](state, cqe->res);
#else
		switch (cqe->user_data) {
		case RECEIVED: on_receive(state, cqe->res); break;
		case SENT: on_send(state, cqe->res); break;
		}
#endif
	}
	return ringstep_wait(turn, 1);
}
