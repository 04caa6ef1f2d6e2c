// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Takes bytes of several sockets from a ring of buffers, with incremental consumption and bundles where the kernel has them. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>
#include <ringstep/list.bpf.h>
#include <ringstep/net/buffer_ring.bpf.h>

#include "slices.h"

static __always_inline void receive(struct ringstep_turn *turn, struct slices *state, __u32 number)
{
	struct slices_socket *socket = &state->sockets[number & (SLICES_SOCKETS - 1)];
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_recv_multishot(sqe, (__s32)socket->fd, 0, 0, 0);
	if (state->bundles)
		ringstep_buffer_ring_select_bundle(sqe, &state->buffers);
	else
		ringstep_buffer_ring_select(sqe, &state->buffers);
	ringstep_sqe_set_data64(sqe, number);
	socket->armed = 1;
}

RINGSTEP_LOOP(slices, struct slices)
{
	struct io_uring_cqe *cqe;
	struct ringstep_slice slice;

	ringstep_for_each_cqe(turn, cqe) {
		const __u32 number = (__u32)cqe->user_data & (SLICES_SOCKETS - 1);
		struct slices_socket *socket = &state->sockets[number];

		if (!(cqe->flags & IORING_CQE_F_MORE)) {
			socket->armed = 0;
			if (cqe->res == 0) {
				socket->ended = 1;
				state->ended++;
			} else if (cqe->res == -105 /* ENOBUFS */ || cqe->res > 0) {
				socket->starved += cqe->res < 0;
				ringstep_list_push_back(&state->starving, state->sockets, number);
			} else {
				socket->error = (__u32)-cqe->res;
			}
		}
		if (!ringstep_buffer_ring_take(&state->buffers, cqe, &slice))
			continue;
		state->of_one = 0;
		do {
			socket->length =
				(__u32)ringstep_bytes_copy(socket->bytes, socket->length,
							   ringstep_slice_bytes(&state->buffers, &slice), slice.at, slice.end);
			state->shared += slice.at != 0;
			state->of_one++;
			state->kept[state->kept_end & (SLICES_KEPT - 1)].id = slice.id;
			state->kept_end++;
		}
		ringstep_again_while(ringstep_buffer_ring_next(&state->buffers, &slice));
		if (state->of_one > state->most_slices)
			state->most_slices = state->of_one;
	}
	/* All but some, and all where somebody starves. */
	ringstep_while (state->kept_end != state->kept_first && (state->kept_end - state->kept_first > state->hold ||
								 !ringstep_buffer_ring_available(&state->buffers))) {
		slice.id = state->kept[state->kept_first & (SLICES_KEPT - 1)].id;
		ringstep_buffer_ring_give_back(&state->buffers, &slice);
		state->kept_first++;
	}
	state->i = ringstep_buffer_ring_available(&state->buffers);
	ringstep_while (state->starving.count && state->i) {
		state->i--;
		receive(turn, state, ringstep_list_pop_front(&state->starving, state->sockets));
	}
	if (state->ended == SLICES_SOCKETS)
		return ringstep_stop(turn, 0);
	return ringstep_submit_and_wait(turn, 1);
}
