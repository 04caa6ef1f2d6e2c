// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include <ringstep/loop.bpf.h>

#include <ringstep/buffers.bpf.h>
#include <ringstep/napi.bpf.h>
#include <ringstep/timer.bpf.h>

#include "sorter.h"

enum { READING, WRITING };

static __always_inline void read_next(struct ringstep_turn *turn, struct sorter *state)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_read_fixed(sqe, state->input, state->address + state->offset, state->size, 0, (__u16)state->slot);
	ringstep_sqe_set_data64(sqe, READING);
	state->deadline = bpf_ktime_get_ns() + state->idle;
}

/* A record has come in. Not 0: an error. */
static __always_inline int sort(struct ringstep_turn *turn, struct sorter *state)
{
	struct sorter_header header;
	struct io_uring_sqe *sqe;
	int error = ringstep_buffer_read(turn, &state->buffers, state->slot, state->offset, &header, sizeof(header));

	if (error)
		return error;
	state->last = header;
	if (header.kind != SORTER_KEEP) {
		state->dropped += header.kind == SORTER_DROP;
		return 0;
	}
	header.stamp = ++state->kept;
	error = ringstep_buffer_write(turn, &state->buffers, state->slot, state->offset + offsetof(struct sorter_header, stamp),
				      &header.stamp, sizeof(header.stamp));
	if (error)
		return error;
	sqe = ringstep_get_sqe(turn);
	ringstep_prep_write_fixed(sqe, state->output, state->address + state->offset, header.length, 0, (__u16)state->slot);
	ringstep_sqe_set_data64(sqe, WRITING);
	return 0;
}

RINGSTEP_LOOP(sorter, struct sorter)
{
	struct io_uring_cqe *cqe;

	if (!state->started) {
		state->started = 1;
		read_next(turn, state);
	}
	ringstep_for_each_cqe(turn, cqe) {
		int error = cqe->res < 0 ? cqe->res : 0;

		state->last.kind = 0;
		if (!error && cqe->user_data == READING)
			error = sort(turn, state);
		if (error) {
			state->error = error;
			return ringstep_stop(turn, SORTER_ERROR);
		}
		if (state->last.kind == SORTER_END)
			return ringstep_stop(turn, 0);
		/* The buffer is free when nothing is to be written from it, and else when that is done. */
		if (state->last.kind != SORTER_KEEP)
			read_next(turn, state);
	}
	if (ringstep_expired(state->deadline))
		return ringstep_stop(turn, SORTER_IDLE);
	ringstep_busy_poll(turn, state->poll_ns);
	return ringstep_submit_and_wait_until(turn, 1, state->deadline);
}
