/* SPDX-License-Identifier: MIT */
/*
 * The part of a server's step that decides which requests a connection needs, in ringstep__server_decide(), and makes them.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_NET_SERVER_REQUESTS_BPF_H
#define RINGSTEP_NET_SERVER_REQUESTS_BPF_H

#include <ringstep/net/server/frames.bpf.h>

/* Takes a connection into the list of those that hold buffers although they are blocked, or out of it. */
static __always_inline void ringstep__server_note_waiting(ringstep_server_state *state, struct ringstep_connection *link,
							  __u32 slot)
{
	const bool waits = RINGSTEP__IS(link, BLOCKED) && link->held && !RINGSTEP__IS(link, FAILED);

	if (waits == !!RINGSTEP__IS(link, WAITING))
		return;
	if (waits) {
		link->waiting_since = bpf_ktime_get_ns();
		ringstep_list_push_back_by(&state->server.waiting, state->connections, slot, link.waiting);
	} else {
		ringstep_list_remove_by(&state->server.waiting, state->connections, slot, link.waiting);
	}
	link->flags ^= RINGSTEP_CONNECTION_WAITING;
}

/* Ends a connection whose output has been sent, or that has failed. Returns the requests that this needs. */
static __always_inline int ringstep__server_decide_end(ringstep_server_state *state, struct ringstep_connection *link,
						       __u32 slot)
{
	const __u32 transfers = link->in_flight & (RINGSTEP__PART_BIT(RECEIVE) | RINGSTEP__PART_BIT(SEND));
	bool now = RINGSTEP__IS(link, FAILED) || RINGSTEP__IS(link, EOF) || !state->server.limits.linger;

	if (link->held || link->partial) {
		if (link->partial && RINGSTEP__IS(link, EOF) && !RINGSTEP__IS(link, CLOSING))
			ringstep__server_count(state, cut, 1);
		if (ringstep__server_drop(state, slot))
			return 0;
	}
	if (!now) {
		/* Its sending side may have been closed long before. */
		if (!RINGSTEP__IS(link, DISCARDING)) {
			link->flags |= RINGSTEP_CONNECTION_DISCARDING;
			link->shut_since = ringstep__server_now(state);
			ringstep__server_expect(state, slot, link->shut_since, state->server.limits.linger);
		}
		if (RINGSTEP__IS(link, SHUT))
			return 0;
		link->flags |= RINGSTEP_CONNECTION_SHUT;
		return RINGSTEP__DO_SHUTDOWN;
	}
	/* Before Linux 6.13, closing alone may take until others are closed, too. The peer must not wait for that. */
	if (state->server.closes_late) {
		if (!RINGSTEP__IS(link, SHUT)) {
			link->flags |= RINGSTEP_CONNECTION_SHUT;
			return RINGSTEP__DO_SHUTDOWN;
		}
		if (link->in_flight & RINGSTEP__PART_BIT(SHUTDOWN))
			return 0;
	}
	if (link->in_flight & (RINGSTEP__PART_BIT(CANCEL) | RINGSTEP__PART_BIT(CLOSE)))
		return 0;
	if (transfers)
		return RINGSTEP__IS(link, CANCELLED) ? 0 : RINGSTEP__DO_CANCEL;
	/* A worker thread runs it, and it ends by itself. */
	if (link->in_flight & RINGSTEP__PART_BIT(SHUTDOWN))
		return 0;
	/* While the application has a frame, it may write to the output. */
	return RINGSTEP__IS(link, LATER) ? 0 : RINGSTEP__DO_CLOSE;
}

/*
 * What the application has flushed was sent, or the connection has failed. Empties the output, and tells the application, which may use the output
 * again when it takes the event. Nothing of the connection's output is in flight.
 */
ringstep_apart int ringstep__server_flushed(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;

	link->flags &= ~(RINGSTEP_CONNECTION_FLUSHING | RINGSTEP_CONNECTION_BLOCKED);
	link->out_begin = 0;
	link->out_end = 0;
	if (RINGSTEP__IS(link, FAILED))
		link->flags |= RINGSTEP_CONNECTION_TOLD;
	ringstep__server_tell(state, slot, link->generation,
			      RINGSTEP__IS(link, FAILED) ? RINGSTEP_SERVER_BROKEN : RINGSTEP_SERVER_ROOM);
	return 0;
}

/* Tells the application of what it may wait for while it has a frame of this connection. Nothing of the connection's output is in flight. */
static __always_inline void ringstep__server_tell_of_output(ringstep_server_state *state, struct ringstep_connection *link,
							    __u32 slot)
{
	if (RINGSTEP__IS(link, FLUSHING)) {
		if (RINGSTEP__IS(link, FAILED) || ringstep_load(&link->out_end) == link->out_begin)
			ringstep__server_flushed(state, slot);
	} else if (RINGSTEP__IS(link, FAILED) && RINGSTEP__IS(link, LATER) && !RINGSTEP__IS(link, TOLD)) {
		/* It may have nothing to send for now, and would not learn of this by a flush. The slot is not free before it has answered. */
		link->flags |= RINGSTEP_CONNECTION_TOLD;
		ringstep__server_tell(state, slot, link->generation, RINGSTEP_SERVER_BROKEN);
	}
}

/*
 * Returns true if nothing about a connection is out of the ordinary: it receives, and has no bytes to look at. Such a connection needs a request
 * only if it has output and no send is in flight.
 */
static __always_inline bool ringstep__server_is_plain(const ringstep_server_state *state,
						      const struct ringstep_connection *link)
{
	return !RINGSTEP__SENDS_FILES && !(link->flags | link->held | link->partial | state->server.draining) &&
	       (link->in_flight | RINGSTEP__PART_BIT(SEND)) == (RINGSTEP__PART_BIT(RECEIVE) | RINGSTEP__PART_BIT(SEND));
}

/* Decides which requests a connection needs now. */
ringstep_apart int ringstep__server_decide(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const struct ringstep_server_limits *limits = &state->server.limits;
	const __u32 sending = link->in_flight & RINGSTEP__PART_BIT(SEND);
	bool pending;
	int todo = 0;

	if (likely(ringstep__server_is_plain(state, link)))
		return !sending && ringstep_load(&link->out_end) != link->out_begin ? RINGSTEP__DO_SEND : 0;
	if (!link->identity || link->in_flight & RINGSTEP__PART_BIT(CLOSE))
		return 0;
	if (ringstep__server_options.later && !sending)
		ringstep__server_tell_of_output(state, link, slot);
	pending = ringstep_load(&link->out_end) != link->out_begin;
	if (!RINGSTEP__IS(link, FAILED)) {
		if (pending && !sending) {
			todo |= RINGSTEP__DO_SEND;
		}
		if (state->server.draining && !link->held && !link->partial && !RINGSTEP__IS(link, LATER))
			link->flags |= RINGSTEP_CONNECTION_CLOSING;
		if (link->partial && limits->read)
			ringstep__server_expect(state, slot, link->partial_since, limits->read);
		if (ringstep__server_wants_read(&state->connections[slot & RINGSTEP__SERVER_MASK], pending || sending))
			todo |= RINGSTEP__DO_READ;
	}
	ringstep__server_note_waiting(state, link, slot);
	if (RINGSTEP__IS(link, FAILED) || (!pending && !sending && !RINGSTEP__IS(link, LATER) &&
					   (RINGSTEP__IS(link, CLOSING) || (RINGSTEP__IS(link, EOF) && !link->held)))) {
		todo = ringstep__server_decide_end(state, link, slot);
		if (!RINGSTEP__IS(link, DISCARDING) || RINGSTEP__IS(link, FAILED) || RINGSTEP__IS(link, EOF))
			return todo;
	} else if (RINGSTEP__IS(link, FINISHING) && !RINGSTEP__IS(link, EOF) && !pending && !sending &&
		   !RINGSTEP__IS(link, SHUT) && !RINGSTEP__IS(link, LATER)) {
		link->flags |= RINGSTEP_CONNECTION_SHUT;
		todo |= RINGSTEP__DO_SHUTDOWN;
	}
	if (RINGSTEP__IS(link, EOF))
		return todo;
	if (link->held < RINGSTEP_SERVER_HOLDS) {
		if (!(link->in_flight & RINGSTEP__PART_BIT(RECEIVE)) && !RINGSTEP__IS(link, STARVED))
			todo |= RINGSTEP__DO_RECEIVE;
	} else if (link->in_flight & RINGSTEP__PART_BIT(RECEIVE) && !(link->in_flight & RINGSTEP__PART_BIT(CANCEL)) &&
		   !RINGSTEP__IS(link, CANCELLED) && !(todo & RINGSTEP__DO_SHUTDOWN)) {
		todo |= RINGSTEP__DO_STOP_RECEIVING;
	}
	return todo;
}

/* Claims an SQE for a request of a connection. */
#define ringstep__server_claim(turn, state, link, part)                                                                        \
	({                                                                                                                     \
		(link)->in_flight |= RINGSTEP__PART_BIT(part);                                                                 \
		(state)->server.counts += RINGSTEP__IN_FLIGHT;                                                                 \
		ringstep_get_sqe(turn);                                                                                        \
	})

static __always_inline void ringstep__server_name(struct io_uring_sqe *sqe, const struct ringstep_connection *link, __u32 part)
{
	sqe->flags = IOSQE_FIXED_FILE | sqe->flags;
	sqe->user_data = ringstep__part_data(link, RINGSTEP_IDENTITY_REQUEST, part);
}

static __always_inline void ringstep__server_receive(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct io_uring_sqe *sqe = ringstep__server_claim(turn, state, link, RECEIVE);

	ringstep_prep_recv_multishot(sqe, (__s32)(state->server.first_slot + slot), 0, 0, 0);
	ringstep_buffer_ring_select(sqe, &state->buffers);
	ringstep__server_name(sqe, link, RINGSTEP_CONNECTION_RECEIVE);
}

/* Sets the limit of time for the send of a connection that was not over at once. */
ringstep_apart int ringstep__server_slow(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;

	if (!(link->in_flight & RINGSTEP__PART_BIT(SEND)) || RINGSTEP__IS(link, SLOW))
		return 0;
	link->flags |= RINGSTEP_CONNECTION_SLOW;
	link->output_since = ringstep__server_now(state);
	state->server.sends--;
	ringstep__server_expect(state, slot, link->output_since, state->server.limits.write);
	return 0;
}

/* Looks at the sends that have begun first, because some are still in flight. */
ringstep_apart int ringstep__server_slow_sends(ringstep_server_state *state ringstep_arg_nonnull)
{
	struct ringstep_server *server = &state->server;
	__s64 limit = ringstep_limit(RINGSTEP_SERVER_BATCH);

	ringstep_while_at_most (limit, server->begun_first != server->begun_last) {
		const __u32 place = server->begun_first++;

		ringstep__server_slow(state, server->begun[place & (RINGSTEP_SERVER_BEGUN - 1)]);
	}
	return 0;
}

/*
 * Notes a send that begins. Nearly all sends are over when the step runs again, and need no limit of time, nor the clock and the timer for one. So
 * the loop looks in a later turn at those that are not.
 */
static __always_inline void ringstep__server_note_send(ringstep_server_state *state, __u32 slot)
{
	struct ringstep_server *server = &state->server;
	const __u32 place = server->begun_last;

	if (!server->limits.write)
		return;
	server->sends++;
	if (unlikely(place - server->begun_first >= RINGSTEP_SERVER_BEGUN)) {
		ringstep__server_slow(state, slot);
		return;
	}
	server->begun[place & (RINGSTEP_SERVER_BEGUN - 1)] = (__u16)slot;
	server->begun_last = place + 1;
}

static __always_inline void ringstep__server_send(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const __u32 begin = conn->link.out_begin;
	struct io_uring_sqe *sqe = ringstep__server_claim(turn, state, &conn->link, SEND);

	ringstep_prep_send(sqe, (__s32)(state->server.first_slot + slot), ringstep_address(turn, conn->output) + begin,
			   ringstep_load(&conn->link.out_end) - begin, RINGSTEP__MSG_NOSIGNAL);
	ringstep__server_name(sqe, &conn->link, RINGSTEP_CONNECTION_SEND);
	ringstep__server_note_send(state, slot);
}

/* Makes a request that is neither a send nor a receive: one of `todo`. */
static __noinline int ringstep__server_do(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot, int todo)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const __s32 file = (__s32)(state->server.first_slot + (slot & RINGSTEP__SERVER_MASK));
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);
	__u32 part = RINGSTEP_CONNECTION_CANCEL, kind = RINGSTEP_IDENTITY_HELPER;

	if (RINGSTEP__SENDS_FILES && todo & RINGSTEP__DO_READ) {
		/* When it has ended, the step decides on the others of `todo` again. */
		ringstep__server_prep_read(turn, sqe, state, slot);
		sqe->flags = IOSQE_FIXED_FILE;
		part = RINGSTEP_CONNECTION_READ;
	} else if (todo & RINGSTEP__DO_SHUTDOWN) {
		ringstep_prep_shutdown(sqe, file, RINGSTEP__IS(link, FAILED) ? RINGSTEP__SHUT_RDWR : RINGSTEP__SHUT_WR);
		sqe->flags = IOSQE_FIXED_FILE;
		part = RINGSTEP_CONNECTION_SHUTDOWN;
	} else if (todo & RINGSTEP__DO_CLOSE) {
		ringstep_prep_close_direct(sqe, (__u32)file);
		part = RINGSTEP_CONNECTION_CLOSE;
	} else if (todo & RINGSTEP__DO_CANCEL) {
		ringstep_prep_cancel_fd(sqe, file, IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_ALL);
	} else {
		ringstep_prep_cancel64(sqe, ringstep__part_data(link, RINGSTEP_IDENTITY_REQUEST, RINGSTEP_CONNECTION_RECEIVE),
				       IORING_ASYNC_CANCEL_ALL);
	}
	if (part != RINGSTEP_CONNECTION_CANCEL) {
		kind = RINGSTEP_IDENTITY_REQUEST;
		state->server.counts += RINGSTEP__IN_FLIGHT;
	} else {
		link->flags |= RINGSTEP_CONNECTION_CANCELLED;
		state->server.cancels++;
	}
	sqe->user_data = ringstep__part_data(link, kind, part);
	link->in_flight |= 1U << part;
	return 0;
}

/* Looks after a connection that has no frame to handle now. */
static __always_inline void ringstep__server_rest(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot,
						  int next)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	int todo;

	ringstep_list_remove_by(&state->server.ready, state->connections, slot, link.ready);
	if (next == RINGSTEP__NEXT_AGAIN) {
		ringstep_list_push_back_by(&state->server.ready, state->connections, slot, link.ready);
		return;
	}
	link->flags &= ~RINGSTEP_CONNECTION_READY;
	if (next == RINGSTEP__NEXT_TOO_LONG) {
		if (state->server.frame_give)
			ringstep__server_give_back(state, state->server.frame_give - 1);
		ringstep__server_count(state, too_long, 1);
		link->flags |= RINGSTEP_CONNECTION_CLOSING;
	}
	todo = ringstep__server_decide(state, slot);
	if (todo & RINGSTEP__DO_SEND)
		ringstep__server_send(turn, state, slot);
	if (todo & RINGSTEP__DO_RECEIVE) {
		if (state->buffers.ring.available) {
			ringstep__server_receive(turn, state, slot);
		} else {
			link->flags |= RINGSTEP_CONNECTION_STARVED;
			ringstep_list_push_back_by(&state->server.starved, state->connections, slot, link.starved);
		}
	}
	if (todo & ~(RINGSTEP__DO_SEND | RINGSTEP__DO_RECEIVE))
		ringstep__server_do(turn, state, slot, todo);
}

#endif /* RINGSTEP_NET_SERVER_REQUESTS_BPF_H */
