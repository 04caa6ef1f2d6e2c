// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Answers datagrams: one multishot recvmsg, buffers of a group, and a sendmsg to the sender of each. All of it lies in the state. */
#include <ringstep/loop.bpf.h>

#include "datagrams.h"

#define GROUP 1
#define RECEIVE 1ULL
#define PROVIDE 2ULL
#define ANSWER 0x100ULL

static void receive(struct ringstep_turn *turn, struct datagrams *state)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	state->receive.name_length = sizeof(union ringstep_socket_address);
	ringstep_prep_recvmsg_multishot(sqe, state->socket, ringstep_address(turn, &state->receive), 0);
	ringstep_sqe_set_buf_group(sqe, GROUP);
	ringstep_sqe_set_data64(sqe, RECEIVE);
	state->receiving = 1;
}

static void provide(struct ringstep_turn *turn, struct datagrams *state, __u32 buffer, __u32 count)
{
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	ringstep_prep_provide_buffers(sqe, ringstep_address(turn, state->buffers[buffer & (DATAGRAMS_BUFFERS - 1)]),
				      DATAGRAMS_SIZE, (__s32)count, GROUP, (__u16)buffer);
	ringstep_sqe_set_data64(sqe, PROVIDE);
}

static void answer(struct ringstep_turn *turn, struct datagrams *state, __u32 buffer, __s32 result)
{
	const __u32 number = buffer & (DATAGRAMS_BUFFERS - 1);
	const struct ringstep_recvmsg_header *header = (const struct ringstep_recvmsg_header *)state->buffers[number];
	const __u64 address = ringstep_address(turn, state->buffers[number]);
	struct ringstep_message *message = &state->answers[number];
	struct ringstep_iovec *part = &state->parts[number];
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	part->base = address + ringstep_recvmsg_payload(&state->receive);
	part->length = ringstep_recvmsg_payload_length(&state->receive, result);
	message->name = address + ringstep_recvmsg_name();
	message->name_length = header->name_length;
	message->vectors = ringstep_address(turn, part);
	message->vector_count = 1;
	ringstep_prep_sendmsg(sqe, state->socket, ringstep_address(turn, message), RINGSTEP_MSG_NOSIGNAL);
	ringstep_sqe_set_data64(sqe, ANSWER + number);
	state->taken++;
}

RINGSTEP_LOOP(datagrams, struct datagrams)
{
	struct io_uring_cqe *cqe;

	if (!state->begun) {
		state->begun = 1;
		provide(turn, state, 0, DATAGRAMS_BUFFERS);
	}
	ringstep_for_each_cqe(turn, cqe) {
		if (cqe->user_data == RECEIVE) {
			if (cqe->res >= 0)
				answer(turn, state, cqe->flags >> IORING_CQE_BUFFER_SHIFT, cqe->res);
			else if (cqe->res == -105 /* ENOBUFS */)
				state->starved++;
			else
				state->error = cqe->res;
			if (!(cqe->flags & IORING_CQE_F_MORE))
				state->receiving = 0;
		} else if (cqe->user_data == PROVIDE) {
			if (cqe->res < 0)
				state->error = cqe->res;
		} else {
			if (cqe->res < 0)
				state->error = cqe->res;
			state->taken--;
			state->left--;
			provide(turn, state, (__u32)cqe->user_data & (DATAGRAMS_BUFFERS - 1), 1);
		}
	}
	if (state->error)
		return ringstep_stop(turn, state->error);
	if (!state->left && !state->taken)
		return ringstep_stop(turn, 0);
	/* Behind the requests that give buffers back. */
	if (!state->receiving && state->taken < DATAGRAMS_BUFFERS)
		receive(turn, state);
	return ringstep_submit_and_wait(turn, 1);
}
