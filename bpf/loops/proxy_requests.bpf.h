/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The requests that the loop proxy makes for its pairs, and for its listening socket.
 */
#ifndef PROXY_REQUESTS_BPF_H
#define PROXY_REQUESTS_BPF_H

#include "proxy_pairs.bpf.h"

/* Claims an SQE for a request of a pair. */
#define proxy_claim(turn, state, pair, part)                                                                                   \
	({                                                                                                                     \
		(pair)->in_flight |= BIT(part);                                                                                \
		(state)->counts += RINGSTEP__IN_FLIGHT;                                                                        \
		ringstep_get_sqe(turn);                                                                                        \
	})

/* Returns the file slot of one side of a pair. */
static __always_inline __s32 proxy_file(const struct ringstep_proxy *state, __u32 slot, __u32 side)
{
	return (__s32)(state->first_slot + side * RINGSTEP_PROXY_CONNECTIONS + (slot & PROXY_MASK));
}

/* Receives into the buffer of a half, or sends what is in there. */
static __always_inline void proxy_transfer(struct ringstep_turn *turn, struct ringstep_proxy *state, __u32 slot, __u32 half,
					   bool sends)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	const struct ringstep_proxy_half *const it = &pair->halves[half];
	const __u32 part = half + (sends ? RINGSTEP_PROXY_SEND : RINGSTEP_PROXY_RECEIVE);
	const __u64 buffer = ringstep_address(turn, state->buffers[(2 * slot + half) & PROXY_BUFFER_MASK]);
	const __s32 file = proxy_file(state, slot, sends ? !half : half);
	struct io_uring_sqe *sqe = proxy_claim(turn, state, pair, part);

	if (sends) {
		const __u32 begin = it->begin & (RINGSTEP_PROXY_BUFFER - 1), left = it->end - it->begin;

		ringstep_prep_send(sqe, file, buffer + begin,
				   left < RINGSTEP_PROXY_BUFFER - begin ? left : RINGSTEP_PROXY_BUFFER - begin,
				   RINGSTEP_MSG_NOSIGNAL);
	} else {
		ringstep_prep_recv(sqe, file, buffer, RINGSTEP_PROXY_BUFFER, 0);
		if (it->dry)
			sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
	}
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = proxy_data(pair, part);
}

/* Makes the requests that connect to the upstream. */
static __noinline int proxy_do_connect(struct ringstep_turn *turn, struct ringstep_proxy *state, __u32 slot, __u32 todo)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	struct ringstep_proxy_upstream *upstream = proxy_upstream(state, pair);
	const __s32 file = proxy_file(state, slot, UPSTREAM);
	struct io_uring_sqe *sqe;

	if (todo & SOCKET) {
		sqe = proxy_claim(turn, state, pair, RINGSTEP_PROXY_SOCKET);
		/* A socket that did not connect is in this slot until now. */
		ringstep_prep_socket_direct(sqe, upstream->address.family, RINGSTEP_SOCK_STREAM, 0, (__u32)file, 0);
		sqe->user_data = proxy_data(pair, RINGSTEP_PROXY_SOCKET);
		return 0;
	}
	if (todo & PROMPT) {
		sqe = proxy_claim(turn, state, pair, RINGSTEP_PROXY_PROMPT);
		ringstep_prep_cmd_sock(sqe, RINGSTEP_SOCKET_SETSOCKOPT, file, 6 /* IPPROTO_TCP */, 1 /* TCP_NODELAY */,
				       ringstep_address(turn, &state->one), sizeof(state->one));
		sqe->flags = IOSQE_FIXED_FILE;
		sqe->user_data = proxy_data(pair, RINGSTEP_PROXY_PROMPT);
	}
	sqe = proxy_claim(turn, state, pair, RINGSTEP_PROXY_CONNECT);
	ringstep_prep_connect(sqe, file, ringstep_address(turn, &upstream->address), upstream->length);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = proxy_data(pair, RINGSTEP_PROXY_CONNECT);
	return 0;
}

/* Passes on the end of a stream, or cancels what is in flight at one side. */
static __noinline int proxy_do_side(struct ringstep_turn *turn, struct ringstep_proxy *state, __u32 slot, __u32 part)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	const __s32 file = proxy_file(state, slot, part & 1);
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	pair->in_flight |= BIT(part & 31);
	if (part < RINGSTEP_PROXY_CANCEL)
		state->counts += RINGSTEP__IN_FLIGHT;
	else
		state->cancels++;
	if (part < RINGSTEP_PROXY_SOCKET) {
		/* Half 0 ends at the upstream. */
		ringstep_prep_shutdown(sqe, proxy_file(state, slot, !(part & 1)), RINGSTEP_SHUT_WR);
		sqe->flags = IOSQE_FIXED_FILE;
	} else if (part < RINGSTEP_PROXY_CLOSE) {
		const __u16 family = part & 1 ? proxy_upstream(state, pair)->address.family : state->listener_address.family;

		/* To connect a TCP socket to no address resets the connection. Unix sockets have no such thing. */
		if (family == RINGSTEP_AF_UNIX)
			ringstep_prep_shutdown(sqe, file, RINGSTEP_SHUT_RDWR);
		else
			ringstep_prep_connect(sqe, file, ringstep_address(turn, &state->nobody), sizeof(state->nobody.ipv4));
		sqe->flags = IOSQE_FIXED_FILE;
	} else if (part < RINGSTEP_PROXY_CANCEL) {
		ringstep_prep_close_direct(sqe, (__u32)file);
	} else {
		ringstep_prep_cancel_fd(sqe, file, IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_ALL);
	}
	sqe->user_data = proxy_data(pair, part);
	return 0;
}

/* Makes requests that are rare. */
static __noinline int proxy_do_rest(struct ringstep_turn *turn, struct ringstep_proxy *state, __u32 slot, __u32 todo)
{
	if (todo & (SOCKET | CONNECT))
		proxy_do_connect(turn, state, slot, todo);
	if (todo & SHUTDOWN(0))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_SHUTDOWN);
	if (todo & SHUTDOWN(1))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_SHUTDOWN + 1);
	if (todo & CANCEL(CLIENT))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_CANCEL + CLIENT);
	if (todo & CANCEL(UPSTREAM))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_CANCEL + UPSTREAM);
	if (todo & RESET(UPSTREAM))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_RESET + UPSTREAM);
	if (todo & RESET(CLIENT))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_RESET + CLIENT);
	/* In this order. Both complete at once, and as soon as the client's slot is empty, the kernel may give it out again. */
	if (todo & CLOSE(UPSTREAM))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_CLOSE + UPSTREAM);
	if (todo & CLOSE(CLIENT))
		proxy_do_side(turn, state, slot, RINGSTEP_PROXY_CLOSE + CLIENT);
	return 0;
}

/* Makes the requests that a pair needs. */
static __noinline int proxy_do(struct ringstep_turn *turn, struct ringstep_proxy *state, __u32 slot, __u32 todo)
{
	if (todo & (RECEIVE(0) | SEND(0)))
		proxy_transfer(turn, state, slot, 0, todo & SEND(0));
	if (todo & (RECEIVE(1) | SEND(1)))
		proxy_transfer(turn, state, slot, 1, todo & SEND(1));
	if (unlikely(todo & ~TRANSFERS))
		proxy_do_rest(turn, state, slot, todo);
	return 0;
}

/* Begins to accept, or stops accepting. */
static __noinline int proxy_accept(struct ringstep_turn *turn, struct ringstep_proxy *state, bool wanted)
{
	const __u64 name = state->identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_PROXY_ACCEPT);
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	if (wanted) {
		state->client_length = sizeof(state->client);
		/* One at a time, because each needs the address of its client. */
		ringstep_prep_accept_direct(sqe, ringstep_load(&state->listener), ringstep_address(turn, &state->client),
					    ringstep_address(turn, &state->client_length), 0, IORING_FILE_INDEX_ALLOC);
		sqe->user_data = name;
		state->accepting = 1;
		state->accepts_from = sqe->fd;
		state->accept_again = 0;
		state->counts += RINGSTEP__IN_FLIGHT;
	} else {
		ringstep_prep_cancel64(sqe, name, 0);
		sqe->user_data = name | ringstep_identity_of_part(RINGSTEP_IDENTITY_HELPER, 0);
		state->accepting = 2;
		state->cancels++;
	}
	return 0;
}

#endif /* PROXY_REQUESTS_BPF_H */
