/* SPDX-License-Identifier: MIT */
/*
 * The step of a server: its connections, from accept to close.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 *
 * A connection about which something has changed is put into the list `ready`. The step takes the connections out of the list one by one, handles
 * their frames, and then decides at one place which requests each of them needs: ringstep__server_decide().
 */
#ifndef RINGSTEP_NET_SERVER_STEP_BPF_H
#define RINGSTEP_NET_SERVER_STEP_BPF_H

/* The kit's own names, because <errno.h> cannot be included after a vmlinux.h. */
#define RINGSTEP__EBADF 9
#define RINGSTEP__EINVAL 22
#define RINGSTEP__ENFILE 23
#define RINGSTEP__ENOTSOCK 88
#define RINGSTEP__EMSGSIZE 90
#define RINGSTEP__EOPNOTSUPP_SOCKET 95
#define RINGSTEP__ENOBUFS 105
#define RINGSTEP__ETIMEDOUT 110
#define RINGSTEP__EALREADY 114
#define RINGSTEP__ECANCELED 125

#define RINGSTEP__MSG_NOSIGNAL 0x4000
#define RINGSTEP__SHUT_WR 1

#define RINGSTEP__NEXT_BUFFERS 2	 /* the most buffers that are looked at for one frame, before others have their turn */
#define RINGSTEP__IN_FLIGHT (1ULL << 32) /* as RINGSTEP_REQUESTS_IN_FLIGHT */
#define RINGSTEP__ACCEPT_PAUSE 100000000ULL /* after an error that may pass */

/* The bits of user_data that tell the requests of a connection from each other. */
#define RINGSTEP__SERVER_PARTS                                                                                                 \
	(3ULL << RINGSTEP_IDENTITY_KIND_SHIFT | (__u64)RINGSTEP_IDENTITY_PART << RINGSTEP_IDENTITY_PART_SHIFT)

/* What ringstep__server_next() returns. */
enum {
	RINGSTEP__NEXT_NONE = 0,     /* no frame can be handled now */
	RINGSTEP__NEXT_FRAME = 1,    /* server.frame_place and its neighbours say where a frame is */
	RINGSTEP__NEXT_TOO_LONG = 2, /* a frame is too long */
	RINGSTEP__NEXT_AGAIN = 3,    /* there is more to look at */
};

/* What ringstep__server_decide() returns: the requests that a connection needs. */
enum {
	RINGSTEP__DO_SEND = 1 << 0,
	RINGSTEP__DO_RECEIVE = 1 << 1,
	RINGSTEP__DO_SHUTDOWN = 1 << 2,
	RINGSTEP__DO_CLOSE = 1 << 3,
	RINGSTEP__DO_STOP_RECEIVING = 1 << 4,
	RINGSTEP__DO_CANCEL = 1 << 5, /* all that is in flight */
};

#define RINGSTEP__PART_BIT(part) (1U << RINGSTEP_CONNECTION_##part)
/* The application may read a counter at any time. */
#define ringstep__server_count(state, counter, number)                                                                         \
	ringstep_store(&(state)->server.counters.counter, (state)->server.counters.counter + (number))
#define RINGSTEP__IS(link, flag) ((link)->flags & RINGSTEP_CONNECTION_##flag)

static __always_inline __u64 ringstep__part_data(const struct ringstep_connection *link, __u32 kind, __u32 part)
{
	return link->identity | ringstep_identity_of_part(kind, part);
}

/* Lets the step look at a connection. */
static __always_inline void ringstep__server_ready(ringstep_server_state *state, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;

	if (RINGSTEP__IS(link, READY))
		return;
	link->flags |= RINGSTEP_CONNECTION_READY;
	ringstep_list_push_back_by(&state->server.ready, state->connections, slot, link.ready);
}

static __always_inline void ringstep__server_give_back(ringstep_server_state *state, __u32 id)
{
	ringstep__buffer_push(&state->buffers.ring, state->buffers.entries, RINGSTEP__CHUNK_MASK, id & RINGSTEP__CHUNK_MASK,
			      RINGSTEP__CHUNK_SIZE);
}

/* Takes the first buffer that is held for a connection out of its queue, and returns its number. There must be one. */
static __always_inline __u32 ringstep__server_unhold(ringstep_server_state *state, struct ringstep_connection *link)
{
	const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;

	link->held_first = state->held[id].next;
	if (!link->held_first)
		link->held_last = 0;
	link->held--;
	return id;
}

/*
 * Gives back the buffers that are held for a connection, and forgets a frame that is not complete. Returns 1 if there are so many buffers that
 * the connection has to be looked at again.
 */
ringstep_apart int ringstep__server_drop(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	__s64 limit = ringstep_limit(RINGSTEP_SERVER_BATCH);

	link->partial = 0;
	ringstep_while_at_most (limit, link->held_first)
		ringstep__server_give_back(state, ringstep__server_unhold(state, link));
	if (!link->held_first)
		link->held = 0;
	else
		ringstep__server_ready(state, slot);
	return link->held_first != 0;
}

/* Lets the timer of a connection expire at this time, or earlier. */
ringstep_apart int ringstep__server_expect(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u64 since,
					   __u64 limit)
{
	const __u64 deadline = ringstep_later(since, limit);
	const struct ringstep_wheel_timer *timer = &state->timers[slot & RINGSTEP__SERVER_MASK];

	if (deadline == RINGSTEP_NO_DEADLINE || (timer->bucket && timer->due <= deadline >> RINGSTEP_WHEEL_TICK_SHIFT))
		return 0;
	ringstep_wheel_set(&state->wheel, state->timers, slot, deadline);
	return 0;
}

static __always_inline void ringstep__server_fail(struct ringstep_connection *link, __s32 error)
{
	if (RINGSTEP__IS(link, FAILED))
		return;
	link->flags |= RINGSTEP_CONNECTION_FAILED;
	link->error = error;
}

/* --- Frames ---------------------------------------------------------------------------------------------------------------- */

/* Returns how long the frame at `at` is, of which `have` bytes are there. Returns 0 if that is not known yet. */
ringstep_apart __u64 ringstep__frame_total(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 have)
{
	const struct ringstep_framing *frames = ringstep__framing(state);
	const __u32 width = frames->width & 15;
	__u64 length;

	if (frames->kind == RINGSTEP_FRAMING_FIXED)
		return frames->most ? frames->most : ~0U;
	if (have < (__u64)frames->offset + width)
		return 0;
	length = ringstep__bytes_at(state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], RINGSTEP__CHUNK_SIZE,
				    at + frames->offset);
	if (frames->big)
		length = __builtin_bswap64(length) >> ((64 - 8 * width) & 63);
	else if (width < 8)
		length &= (1ULL << 8 * width) - 1;
	length = length > ~0U ? ~0U : length + frames->added;
	/* A length that does not count itself in although it should is no frame that could be handled. */
	return length < (__u64)frames->offset + width ? ~0U : length;
}

static __always_inline bool ringstep__frame_is(ringstep_server_state *state, __u32 place, __u32 at, __u32 end)
{
	state->server.frame_place = place;
	state->server.frame_at = at;
	state->server.frame_end = end;
	return end - at <= ringstep__frame_most(state);
}

/* Sets aside the end of a line, CR LF or LF, which lies in front of `end`. */
static __always_inline __u32 ringstep__line_end(ringstep_server_state *state, __u32 place, __u32 at, __u32 end)
{
	const __u8(*bytes)[RINGSTEP__CHUNK_SIZE] = &state->buffers.bytes[place & RINGSTEP__CHUNK_MASK];
	__u32 before = end - 2;

	if (ringstep__framing(state)->kind != RINGSTEP_FRAMING_LINES)
		return end;
	barrier_var(before);
	return end - at > 1 && (*bytes)[before & (RINGSTEP__CHUNK_SIZE - 1)] == '\r' ? end - 2 : end - 1;
}

/* Returns the position of the first end of a line in a range of a chunk, or the end of the range if there is none. */
ringstep_apart __u64 ringstep__frame_stop(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 end)
{
	return ringstep_bytes_find(state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], at, end, '\n');
}

/* Copies a range of a chunk to another chunk. */
ringstep_apart int ringstep__frame_copy(ringstep_server_state *state ringstep_arg_nonnull, __u64 to_place_and_at, __u32 place,
					__u64 at, __u64 end)
{
	ringstep_bytes_copy(state->buffers.bytes[to_place_and_at >> 32 & RINGSTEP__CHUNK_MASK], (__u32)to_place_and_at,
			    state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], at, end);
	return 0;
}

/* Finds the next frame of a connection. Its bytes are in the buffer that they came in, or are put together in the connection's own chunk. */
ringstep_apart int ringstep__server_next(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	const __u32 own =
		(RINGSTEP__CHUNK_MASK + 1 - RINGSTEP__SERVER_MOST + (slot & RINGSTEP__SERVER_MASK)) & RINGSTEP__CHUNK_MASK;
	const bool lines = ringstep__framing(state)->kind == RINGSTEP_FRAMING_LINES;
	const __u32 most = ringstep__frame_most(state);
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	__s64 limit = ringstep_limit(RINGSTEP__NEXT_BUFFERS);

	if (link->flags & (RINGSTEP_CONNECTION_LATER | RINGSTEP_CONNECTION_PAUSED | RINGSTEP_CONNECTION_FAILED |
			   RINGSTEP_CONNECTION_CLOSING) ||
	    !link->held_first)
		return RINGSTEP__NEXT_NONE;
	if (link->out_end > RINGSTEP__OUTPUT_SIZE - RINGSTEP__SERVER_REPLY) {
		if (!RINGSTEP__IS(link, BLOCKED))
			ringstep__server_count(state, blocked, 1);
		link->flags |= RINGSTEP_CONNECTION_BLOCKED;
		return RINGSTEP__NEXT_NONE;
	}
	state->server.frame_give = 0;
	ringstep_while_at_most (limit, link->held_first) {
		const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;
		struct ringstep_server_held *held = &state->held[id];
		const __u32 at = held->at, partial = link->partial;
		__u64 end = held->end, take, total = 0;
		bool whole;

		if (end > RINGSTEP__CHUNK_SIZE)
			end = RINGSTEP__CHUNK_SIZE;
		if (at >= end) {
			ringstep__server_give_back(state, ringstep__server_unhold(state, link));
			continue;
		}
		if (lines) {
			const __u64 stop = ringstep__frame_stop(state, id, at, end);

			whole = stop < end;
			take = whole ? stop + 1 - at : end - at;
		} else {
			total = partial ? ringstep__frame_total(state, own, 0, partial)
					: ringstep__frame_total(state, id, at, end - at);
			if (total > most)
				return RINGSTEP__NEXT_TOO_LONG;
			take = total ? total : (__u64)ringstep__framing(state)->offset + ringstep__framing(state)->width;
			take = take > partial ? take - partial : 0;
			whole = total && take <= end - at;
			if (take > end - at)
				take = end - at;
		}
		held->at = at + (__u32)take;
		if (!partial && whole) {
			if (held->at >= end)
				state->server.frame_give = ringstep__server_unhold(state, link) + 1;
			return ringstep__frame_is(state, id, at, ringstep__line_end(state, id, at, at + (__u32)take))
				       ? RINGSTEP__NEXT_FRAME
				       : RINGSTEP__NEXT_TOO_LONG;
		}
		/* The end of a line needs up to two bytes more than the line. */
		if (partial + take > (lines ? most + 2 : most) || partial + take > RINGSTEP__CHUNK_SIZE)
			return RINGSTEP__NEXT_TOO_LONG;
		ringstep__frame_copy(state, (__u64)own << 32 | partial, id, at, at + take);
		if (!partial)
			link->partial_since = state->server.now;
		link->partial = partial + (__u32)take;
		if (held->at >= end)
			ringstep__server_give_back(state, ringstep__server_unhold(state, link));
		if (!lines && !whole) {
			total = ringstep__frame_total(state, own, 0, link->partial);
			if (total > most)
				return RINGSTEP__NEXT_TOO_LONG;
			whole = total == link->partial;
		}
		if (whole) {
			const __u32 length = link->partial;

			link->partial = 0;
			return ringstep__frame_is(state, own, 0, ringstep__line_end(state, own, 0, length))
				       ? RINGSTEP__NEXT_FRAME
				       : RINGSTEP__NEXT_TOO_LONG;
		}
	}
	return link->held_first ? RINGSTEP__NEXT_AGAIN : RINGSTEP__NEXT_NONE;
}

/* Returns what the author's function gets. */
static __always_inline struct ringstep_frame ringstep__server_frame(ringstep_server_state *state, __u32 slot, __u32 too_long)
{
	struct ringstep_frame frame;

	frame.bytes = &state->buffers.bytes[state->server.frame_place & RINGSTEP__CHUNK_MASK];
	frame.place = state->server.frame_place;
	frame.at = state->server.frame_at;
	frame.end = too_long ? frame.at : state->server.frame_end;
	frame.length = frame.end - frame.at;
	frame.too_long = too_long;
	frame.slot = slot;
	return frame;
}

/* Tells the application something about a connection. */
static __always_inline void ringstep__server_tell(ringstep_server_state *state, __u32 slot, __u32 generation, __u32 event)
{
	ringstep_mailbox_deliver(&state->mailbox, state->outbox,
				 event << RINGSTEP_SERVER_KIND_SHIFT |
					 (generation & RINGSTEP_SERVER_GENERATION) << RINGSTEP_SERVER_GENERATION_SHIFT |
					 (slot & RINGSTEP_SERVER_SLOT));
}

/* Goes on after the author's function has returned. */
ringstep_apart int ringstep__server_handled(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, int verdict)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const __u32 give = state->server.frame_give;

	ringstep__server_count(state, frames, 1);
	link->frames++;
	if (verdict == RINGSTEP_LATER && ringstep__server_options.later) {
		struct ringstep_server_frame *frame = &state->frames[slot & RINGSTEP__SERVER_MASK];

		link->flags |= RINGSTEP_CONNECTION_LATER;
		link->kept = give;
		frame->place = state->server.frame_place;
		frame->at = state->server.frame_at;
		frame->end = state->server.frame_end;
		ringstep_store(&frame->handed, (link->generation & RINGSTEP_SERVER_GENERATION) + 1);
		ringstep__server_tell(state, slot, link->generation, RINGSTEP_SERVER_FRAME);
		return 0;
	}
	if (give)
		ringstep__server_give_back(state, give - 1);
	if (likely(verdict == RINGSTEP_KEEP))
		return 0;
	if (verdict == RINGSTEP_CLOSE)
		link->flags |= RINGSTEP_CONNECTION_CLOSING;
	else if (verdict == RINGSTEP_FINISH)
		link->flags |= RINGSTEP_CONNECTION_FINISHING;
	else
		ringstep__server_fail(link, -RINGSTEP__ECANCELED);
	return 0;
}

/* --- What a connection needs ----------------------------------------------------------------------------------------------- */

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
	const __u32 open =
		link->in_flight & (RINGSTEP__PART_BIT(RECEIVE) | RINGSTEP__PART_BIT(SEND) | RINGSTEP__PART_BIT(SHUTDOWN));
	bool now = RINGSTEP__IS(link, FAILED) || RINGSTEP__IS(link, EOF) || !state->server.limits.linger;

	if (link->held || link->partial) {
		if (link->partial && RINGSTEP__IS(link, EOF) && !RINGSTEP__IS(link, CLOSING))
			ringstep__server_count(state, cut, 1);
		if (ringstep__server_drop(state, slot))
			return 0;
	}
	if (!now) {
		link->flags |= RINGSTEP_CONNECTION_DISCARDING;
		if (RINGSTEP__IS(link, SHUT))
			return 0;
		link->flags |= RINGSTEP_CONNECTION_SHUT;
		link->shut_since = state->server.now;
		ringstep__server_expect(state, slot, state->server.now, state->server.limits.linger);
		return RINGSTEP__DO_SHUTDOWN;
	}
	if (link->in_flight & (RINGSTEP__PART_BIT(CANCEL) | RINGSTEP__PART_BIT(CLOSE)))
		return 0;
	if (open)
		return RINGSTEP__IS(link, CANCELLED) ? 0 : RINGSTEP__DO_CANCEL;
	/* While the application has a frame, it may write to the output. */
	return RINGSTEP__IS(link, LATER) ? 0 : RINGSTEP__DO_CLOSE;
}

/* Decides which requests a connection needs now. */
ringstep_apart int ringstep__server_decide(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const struct ringstep_server_limits *limits = &state->server.limits;
	const __u32 sending = link->in_flight & RINGSTEP__PART_BIT(SEND);
	const bool pending = ringstep_load(&link->out_end) != link->out_begin;
	int todo = 0;

	if (!link->identity || link->in_flight & RINGSTEP__PART_BIT(CLOSE))
		return 0;
	if (!RINGSTEP__IS(link, FAILED)) {
		if (pending && !sending) {
			todo |= RINGSTEP__DO_SEND;
			link->output_since = state->server.now;
			if (limits->write)
				ringstep__server_expect(state, slot, state->server.now, limits->write);
		}
		if (state->server.draining && !link->held && !link->partial && !RINGSTEP__IS(link, LATER))
			link->flags |= RINGSTEP_CONNECTION_CLOSING;
		if (link->partial && limits->read)
			ringstep__server_expect(state, slot, link->partial_since, limits->read);
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

/* --- Requests -------------------------------------------------------------------------------------------------------------- */

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

static __always_inline void ringstep__server_send(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const __u32 begin = conn->link.out_begin;
	struct io_uring_sqe *sqe = ringstep__server_claim(turn, state, &conn->link, SEND);

	ringstep_prep_send(sqe, (__s32)(state->server.first_slot + slot), ringstep_address(turn, conn->output) + begin,
			   ringstep_load(&conn->link.out_end) - begin, RINGSTEP__MSG_NOSIGNAL);
	ringstep__server_name(sqe, &conn->link, RINGSTEP_CONNECTION_SEND);
}

/* Makes a request that is rare: one of `todo`. */
static __noinline int ringstep__server_do(struct ringstep_turn *turn, ringstep_server_state *state, __u32 slot, int todo)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const __s32 file = (__s32)(state->server.first_slot + (slot & RINGSTEP__SERVER_MASK));
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);
	__u32 part = RINGSTEP_CONNECTION_CANCEL, kind = RINGSTEP_IDENTITY_HELPER;

	if (todo & RINGSTEP__DO_SHUTDOWN) {
		ringstep_prep_shutdown(sqe, file, RINGSTEP__SHUT_WR);
		sqe->flags = IOSQE_FIXED_FILE;
		part = RINGSTEP_CONNECTION_SHUTDOWN;
	} else if (todo & RINGSTEP__DO_CLOSE) {
		ringstep_prep_close_direct(sqe, (__u32)file);
		part = RINGSTEP_CONNECTION_CLOSE;
	} else if (todo & RINGSTEP__DO_CANCEL) {
		ringstep_prep_cancel_fd(sqe, file, IORING_ASYNC_CANCEL_FD_FIXED | IORING_ASYNC_CANCEL_ALL);
	} else {
		ringstep_prep_cancel64(sqe, ringstep__part_data(link, RINGSTEP_IDENTITY_REQUEST, RINGSTEP_CONNECTION_RECEIVE),
				       0);
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

/* --- Completions ----------------------------------------------------------------------------------------------------------- */

/* Begins a connection whose socket is in this slot. */
ringstep_apart int ringstep__server_open(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const __u32 generation = conn->link.generation + 1;
	__u64 *word = (__u64 *)&conn->link;
	__u32 i;

	_Static_assert(__builtin_offsetof(ringstep_server_connection, output) % 8 == 0, "cleared by words");
	if (conn->link.identity)
		return 0; /* the kernel gives out no slot twice */
	bpf_for(i, 0, __builtin_offsetof(ringstep_server_connection, output) / 8) {
		if (i < __builtin_offsetof(ringstep_server_connection, output) / 8)
			word[i] = 0;
	}
	conn->link.generation = generation;
	conn->link.active = state->server.now;
	conn->link.identity = state->server.identity | ringstep_identity_of_slot(slot & RINGSTEP__SERVER_MASK, generation);
	ringstep__server_count(state, accepted, 1);
	ringstep_store(&state->server.open, state->server.open + 1);
	if (ringstep__server_options.later)
		ringstep__server_tell(state, slot, generation, RINGSTEP_SERVER_OPENED);
	if (state->server.draining)
		ringstep__server_fail(&conn->link, -RINGSTEP__ECANCELED);
	else if (state->server.limits.idle)
		ringstep__server_expect(state, slot, state->server.now, state->server.limits.idle);
	ringstep__server_ready(state, slot);
	return 0;
}

/* Frees the slot of a connection whose socket has been closed. */
ringstep_apart int ringstep__server_closed(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;

	ringstep_wheel_cancel(&state->wheel, state->timers, slot);
	if (RINGSTEP__IS(link, READY))
		ringstep_list_remove_by(&state->server.ready, state->connections, slot, link.ready);
	if (RINGSTEP__IS(link, STARVED))
		ringstep_list_remove_by(&state->server.starved, state->connections, slot, link.starved);
	if (RINGSTEP__IS(link, WAITING))
		ringstep_list_remove_by(&state->server.waiting, state->connections, slot, link.waiting);
	link->flags = 0;
	link->identity = 0;
	ringstep__server_count(state, closed, 1);
	ringstep_store(&state->server.open, state->server.open - 1);
	if (ringstep__server_options.later)
		ringstep__server_tell(state, slot, link->generation, RINGSTEP_SERVER_CLOSED);
	return 0;
}

/* Handles the completion of an accept. */
ringstep_apart int ringstep__server_accepted(ringstep_server_state *state ringstep_arg_nonnull, __s32 result, __u32 flags)
{
	struct ringstep_server *server = &state->server;

	if (!(flags & IORING_CQE_F_MORE)) {
		server->accepting = 0;
		server->counts -= RINGSTEP__IN_FLIGHT;
	}
	if (result >= 0) {
		ringstep__server_open(state, (__u32)result - server->first_slot);
	} else if (result == -RINGSTEP__ENFILE && server->open >= RINGSTEP__SERVER_MOST) {
		ringstep__server_count(state, refused, 1);
	} else if (result == -RINGSTEP__EBADF || result == -RINGSTEP__EINVAL || result == -RINGSTEP__ENOTSOCK ||
		   result == -RINGSTEP__EOPNOTSUPP_SOCKET) {
		server->listen_error = result;
	} else if (result != -RINGSTEP__ECANCELED) {
		server->accept_again = ringstep_later(bpf_ktime_get_ns(), RINGSTEP__ACCEPT_PAUSE);
	}
	return 0;
}

/* Handles a completion that is neither that of a receive nor that of a send. */
ringstep_apart int ringstep__server_odd(ringstep_server_state *state ringstep_arg_nonnull, __u64 user_data, __s32 result,
					__u32 flags)
{
	const __u32 slot = (__u32)user_data & RINGSTEP__SERVER_MASK;
	struct ringstep_connection *link = &state->connections[slot].link;
	const __u32 part = (__u32)(user_data >> RINGSTEP_IDENTITY_PART_SHIFT) & RINGSTEP_IDENTITY_PART;
	const __u32 kind = ringstep_identity_kind_of(user_data);

	if (user_data ==
		    (state->server.identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_SERVER_ACCEPT)) &&
	    state->server.accepting)
		return ringstep__server_accepted(state, result, flags);
	if (kind == RINGSTEP_IDENTITY_HELPER && ringstep_identity_is_of(user_data, state->server.identity) &&
	    state->server.cancels) {
		state->server.cancels--;
		if (part != RINGSTEP_CONNECTION_CANCEL || (user_data ^ link->identity) & ~RINGSTEP__SERVER_PARTS)
			return 0; /* of the accept */
		link->in_flight &= ~RINGSTEP__PART_BIT(CANCEL);
		/* There was nothing to cancel any more, so the connection may need another request now. */
		if (result != -RINGSTEP__EALREADY)
			link->flags &= ~RINGSTEP_CONNECTION_CANCELLED;
		ringstep__server_ready(state, slot);
		return 0;
	}
	if ((user_data ^ link->identity) & ~RINGSTEP__SERVER_PARTS || kind != RINGSTEP_IDENTITY_REQUEST ||
	    part > RINGSTEP_CONNECTION_CLOSE || !(link->in_flight & 1U << (part & 31))) {
		ringstep__server_count(state, foreign, 1);
		return 0;
	}
	state->server.counts -= RINGSTEP__IN_FLIGHT;
	link->in_flight &= ~(1U << (part & 31));
	link->flags &= ~RINGSTEP_CONNECTION_CANCELLED;
	if (part == RINGSTEP_CONNECTION_CLOSE)
		return ringstep__server_closed(state, slot);
	if (part == RINGSTEP_CONNECTION_SHUTDOWN && result < 0) {
		ringstep__server_count(state, failed, 1);
		ringstep__server_fail(link, result);
	}
	ringstep__server_ready(state, slot);
	return 0;
}

/* Handles a receive that has ended without bytes. */
ringstep_apart int ringstep__server_received_none(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __s32 result)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;

	if (result == 0) {
		link->flags |= RINGSTEP_CONNECTION_EOF;
	} else if (result == -RINGSTEP__ENOBUFS) {
		ringstep__server_count(state, starved, 1);
		/* One that has taken the last buffers itself begins again when it has looked at them. */
		if (!RINGSTEP__IS(link, STARVED) && link->held < RINGSTEP_SERVER_HOLDS) {
			link->flags |= RINGSTEP_CONNECTION_STARVED;
			ringstep_list_push_back_by(&state->server.starved, state->connections, slot, link.starved);
		}
	} else if (result != -RINGSTEP__ECANCELED && !RINGSTEP__IS(link, FAILED)) {
		ringstep__server_count(state, failed, 1);
		ringstep__server_fail(link, result);
	}
	return 0;
}

static __always_inline void ringstep__server_received(ringstep_server_state *state, struct ringstep_connection *link,
						      __s32 result, __u32 flags)
{
	if (unlikely(!(flags & IORING_CQE_F_MORE))) {
		state->server.counts -= RINGSTEP__IN_FLIGHT;
		link->in_flight &= ~RINGSTEP__PART_BIT(RECEIVE);
		link->flags &= ~RINGSTEP_CONNECTION_CANCELLED;
	}
	if (likely(flags & IORING_CQE_F_BUFFER)) {
		const __u32 id = flags >> IORING_CQE_BUFFER_SHIFT & RINGSTEP__CHUNK_MASK;

		state->buffers.ring.available--;
		if (likely(result > 0 && !(link->flags & (RINGSTEP_CONNECTION_DISCARDING | RINGSTEP_CONNECTION_FAILED |
							  RINGSTEP_CONNECTION_CLOSING)))) {
			struct ringstep_server_held *held = &state->held[id];

			held->next = 0;
			held->at = 0;
			held->end = (__u32)result;
			if (link->held_last)
				state->held[(link->held_last - 1) & RINGSTEP__CHUNK_MASK].next = id + 1;
			else
				link->held_first = id + 1;
			link->held_last = id + 1;
			link->held++;
		} else {
			ringstep__server_give_back(state, id);
		}
	}
	if (likely(result > 0)) {
		link->active = state->server.now;
		link->received += (__u32)result;
		ringstep__server_count(state, received, (__u32)result);
	} else {
		ringstep__server_received_none(state, (__u32)link->identity, result);
	}
}

static __always_inline void ringstep__server_sent(ringstep_server_state *state, struct ringstep_connection *link, __s32 result)
{
	state->server.counts -= RINGSTEP__IN_FLIGHT;
	link->in_flight &= ~RINGSTEP__PART_BIT(SEND);
	if (likely(result > 0)) {
		link->flags &= ~RINGSTEP_CONNECTION_CANCELLED;
		link->out_begin += (__u32)result;
		link->active = state->server.now;
		link->sent += (__u32)result;
		ringstep__server_count(state, sent, (__u32)result);
		/* While the application answers a frame, it appends to the output. */
		if (!RINGSTEP__IS(link, LATER) && link->out_begin == link->out_end) {
			link->out_begin = 0;
			link->out_end = 0;
			link->flags &= ~RINGSTEP_CONNECTION_BLOCKED;
		}
	} else if (!RINGSTEP__IS(link, FAILED)) {
		ringstep__server_count(state, failed, 1);
		ringstep__server_fail(link, result ? result : -RINGSTEP__ECANCELED);
	}
}

ringstep_apart int ringstep__server_completed(ringstep_server_state *state ringstep_arg_nonnull, __u64 user_data, __s32 result,
					      __u32 flags)
{
	const __u32 slot = (__u32)user_data & RINGSTEP__SERVER_MASK;
	struct ringstep_connection *link = &state->connections[slot].link;
	const __u64 part = user_data ^ link->identity;

	if (part == (__u64)RINGSTEP_CONNECTION_RECEIVE << RINGSTEP_IDENTITY_PART_SHIFT &&
	    link->in_flight & RINGSTEP__PART_BIT(RECEIVE)) {
		ringstep__server_received(state, link, result, flags);
	} else if (part == (__u64)RINGSTEP_CONNECTION_SEND << RINGSTEP_IDENTITY_PART_SHIFT &&
		   link->in_flight & RINGSTEP__PART_BIT(SEND)) {
		ringstep__server_sent(state, link, result);
	} else {
		return ringstep__server_odd(state, user_data, result, flags);
	}
	ringstep__server_ready(state, slot);
	return 0;
}

/* --- Times ----------------------------------------------------------------------------------------------------------------- */

static __always_inline __u64 ringstep__server_earlier(__u64 deadline, __u64 since, __u64 limit)
{
	const __u64 other = limit ? ringstep_later(since, limit) : RINGSTEP_NO_DEADLINE;

	return other < deadline ? other : deadline;
}

/* Looks at a connection whose timer has expired: its limits may have moved since it was set. */
ringstep_apart int ringstep__server_timer(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const struct ringstep_server_limits *limits = &state->server.limits;
	__u64 deadline = RINGSTEP_NO_DEADLINE;

	if (!link->identity || RINGSTEP__IS(link, FAILED))
		return 0;
	if (RINGSTEP__IS(link, LATER))
		link->active = state->server.now;
	deadline = ringstep__server_earlier(deadline, link->active, limits->idle);
	if (link->partial)
		deadline = ringstep__server_earlier(deadline, link->partial_since, limits->read);
	if (link->in_flight & RINGSTEP__PART_BIT(SEND))
		deadline = ringstep__server_earlier(deadline, link->output_since, limits->write);
	if (RINGSTEP__IS(link, DISCARDING))
		deadline = ringstep__server_earlier(deadline, link->shut_since, limits->linger);
	if (deadline > state->server.now) {
		ringstep__server_expect(state, slot, deadline, 0);
		return 0;
	}
	if (!RINGSTEP__IS(link, DISCARDING))
		ringstep__server_count(state, timed_out, 1);
	ringstep__server_fail(link, -RINGSTEP__ETIMEDOUT);
	ringstep__server_ready(state, slot);
	return 0;
}

/* Looks at the timers that have expired. */
ringstep_apart int ringstep__server_timers(ringstep_server_state *state ringstep_arg_nonnull)
{
	__s64 limit = ringstep_limit(RINGSTEP_SERVER_BATCH);
	__u32 number;

	ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, state->server.now, &number, limit))
		ringstep__server_timer(state, number);
	return 0;
}

/* Returns the time until which the loop may wait for the first timer. */
ringstep_apart __u64 ringstep__server_deadline(ringstep_server_state *state ringstep_arg_nonnull)
{
	return ringstep_wheel_deadline(&state->wheel);
}

/* Looks at some of the connections because of a drain. Returns 1 if there are more of them. */
ringstep_apart int ringstep__server_drain(ringstep_server_state *state ringstep_arg_nonnull)
{
	struct ringstep_server *server = &state->server;
	__s64 limit = ringstep_limit(RINGSTEP_SERVER_BATCH);

	if (!server->draining) {
		server->draining = 1;
		server->walked = 0;
		server->drain_deadline = RINGSTEP_NO_DEADLINE;
		if (ringstep_load(&server->drain_limit))
			server->drain_deadline = ringstep_later(bpf_ktime_get_ns(), server->drain_limit);
	} else if (server->draining == 1 && server->drain_deadline != RINGSTEP_NO_DEADLINE &&
		   bpf_ktime_get_ns() >= server->drain_deadline) {
		server->draining = 2;
		server->walked = 0;
	}
	ringstep_while_at_most (limit, server->walked < RINGSTEP__SERVER_MOST) {
		const __u32 slot = server->walked++ & RINGSTEP__SERVER_MASK;
		struct ringstep_connection *link = &state->connections[slot].link;

		if (!link->identity)
			continue;
		if (server->draining == 2)
			ringstep__server_fail(link, -RINGSTEP__ETIMEDOUT);
		ringstep__server_ready(state, slot);
	}
	return server->walked < RINGSTEP__SERVER_MOST;
}

/* --- The application ------------------------------------------------------------------------------------------------------- */

/* Handles a message of the application. */
ringstep_apart int ringstep__server_message(ringstep_server_state *state ringstep_arg_nonnull, __u32 message)
{
	const __u32 slot = message & RINGSTEP__SERVER_MASK;
	const __u32 kind = message >> RINGSTEP_SERVER_KIND_SHIFT;
	struct ringstep_connection *link = &state->connections[slot].link;
	struct ringstep_server_wish *wish = &state->wishes[slot];

	if (kind == RINGSTEP_SERVER_WISH) {
		const __u32 wishes = (link->generation & RINGSTEP_SERVER_GENERATION) + 1;

		ringstep__store_fully(&wish->asked, 0);
		if (ringstep_load(&wish->close) == wishes)
			link->flags |= RINGSTEP_CONNECTION_CLOSING;
		if (ringstep_load(&wish->pause) == wishes)
			link->flags |= RINGSTEP_CONNECTION_PAUSED;
		else
			link->flags &= ~RINGSTEP_CONNECTION_PAUSED;
	} else {
		if (!RINGSTEP__IS(link, LATER) ||
		    ((message >> RINGSTEP_SERVER_GENERATION_SHIFT ^ link->generation) & RINGSTEP_SERVER_GENERATION))
			return 0;
		link->flags &= ~RINGSTEP_CONNECTION_LATER;
		if (kind == RINGSTEP_SERVER_ANSWERED_CLOSE)
			link->flags |= RINGSTEP_CONNECTION_CLOSING;
		if (link->kept)
			ringstep__server_give_back(state, link->kept - 1);
		link->kept = 0;
		if (link->out_begin == link->out_end && !(link->in_flight & RINGSTEP__PART_BIT(SEND))) {
			link->out_begin = 0;
			link->out_end = 0;
			link->flags &= ~RINGSTEP_CONNECTION_BLOCKED;
		}
	}
	if (link->identity)
		ringstep__server_ready(state, slot);
	else
		link->flags = 0;
	return 0;
}

/* --- The step -------------------------------------------------------------------------------------------------------------- */

/* The part of the step before the frames. */
static __always_inline void ringstep__server_begin(struct ringstep_turn *turn, ringstep_server_state *state)
{
	struct ringstep_server *server = &state->server;
	const struct ringstep_server_limits *limits = &server->limits;
	struct io_uring_cqe *cqe;

	server->now = 0;
	if (limits->idle | limits->read | limits->write | limits->linger)
		server->now = bpf_ktime_get_ns();
	ringstep_for_each_cqe(turn, cqe)
		ringstep__server_completed(state, cqe->user_data, cqe->res, cqe->flags);
	if (ringstep__server_options.later) {
		__s64 messages = ringstep_limit(RINGSTEP_SERVER_BATCH);
		__u32 number;

		ringstep_mailbox_wake(&state->mailbox);
		ringstep_while_at_most (messages, ringstep_mailbox_receive(&state->mailbox, state->inbox, &number))
			ringstep__server_message(state, number);
	}
	if (server->now)
		ringstep__server_timers(state);
}

/* Lets receives begin again that have found no buffer, as many as there are buffers now. */
static __always_inline void ringstep__server_feed(struct ringstep_turn *turn, ringstep_server_state *state)
{
	const __u32 available = state->buffers.ring.available;
	__s64 limit = ringstep_limit(available < RINGSTEP_SERVER_BATCH ? available : RINGSTEP_SERVER_BATCH);

	ringstep_while_at_most (limit, state->server.starved.count) {
		const __u32 slot = ringstep_list_first(&state->server.starved, state->connections);
		struct ringstep_connection *link = &state->connections[slot].link;

		ringstep_list_remove_by(&state->server.starved, state->connections, slot, link.starved);
		link->flags &= ~RINGSTEP_CONNECTION_STARVED;
		if (!(link->in_flight & (RINGSTEP__PART_BIT(RECEIVE) | RINGSTEP__PART_BIT(CLOSE))) && link->identity &&
		    !(link->flags & (RINGSTEP_CONNECTION_EOF | RINGSTEP_CONNECTION_FAILED)) &&
		    link->held < RINGSTEP_SERVER_HOLDS)
			ringstep__server_receive(turn, state, slot);
	}
}

/*
 * All buffers are held for connections whose peers do not read, and others starve. Closes the connection that has been blocked for longest, if
 * its time is up. Returns when that will be.
 */
ringstep_apart __u64 ringstep__server_evict(ringstep_server_state *state ringstep_arg_nonnull)
{
	const __u32 slot = ringstep_list_first(&state->server.waiting, state->connections);
	struct ringstep_connection *link = &state->connections[slot].link;
	const __u64 deadline = ringstep_later(link->waiting_since, state->server.limits.starve);

	if (!state->server.limits.starve ||
	    (state->server.starved.count == 1 && ringstep_list_first(&state->server.starved, state->connections) == slot))
		return RINGSTEP_NO_DEADLINE;
	if (!ringstep_expired(deadline))
		return deadline;
	ringstep__server_count(state, evicted, 1);
	ringstep__server_fail(link, -RINGSTEP__ENOBUFS);
	ringstep__server_ready(state, slot);
	return 0;
}

/* Begins to accept, or stops accepting. */
static __noinline int ringstep__server_accept(struct ringstep_turn *turn, ringstep_server_state *state, bool wanted)
{
	const __u64 name =
		state->server.identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_SERVER_ACCEPT);
	struct io_uring_sqe *sqe = ringstep_get_sqe(turn);

	if (wanted) {
		ringstep_prep_multishot_accept_direct(sqe, ringstep_load(&state->server.listener), 0, 0, 0);
		sqe->user_data = name;
		state->server.accepting = 1;
		state->server.accepts_from = sqe->fd;
		state->server.accept_again = 0;
		state->server.counts += RINGSTEP__IN_FLIGHT;
	} else {
		ringstep_prep_cancel64(sqe, name, 0);
		sqe->user_data = name | ringstep_identity_of_part(RINGSTEP_IDENTITY_HELPER, 0);
		state->server.accepting = 2;
		state->server.cancels++;
	}
	return 0;
}

/* The part of the step behind the frames. `again`: there are more of them. */
static __always_inline int ringstep__server_end(struct ringstep_turn *turn, ringstep_server_state *state, bool again)
{
	struct ringstep_server *server = &state->server;
	__u64 deadline = RINGSTEP_NO_DEADLINE;

	if (server->starved.count) {
		ringstep__server_feed(turn, state);
		if (server->starved.count && server->waiting.count && !state->buffers.ring.available)
			deadline = ringstep__server_evict(state);
	}
	if (unlikely(ringstep_load(&server->drain) || server->listen_error)) {
		if (ringstep__server_drain(state))
			again = true;
		if (server->accepting == 1)
			ringstep__server_accept(turn, state, false);
		if (!server->open && !server->counts && !server->cancels) {
			server->draining = 0;
			ringstep_submit(turn);
			return ringstep_stop(turn, server->listen_error);
		}
		if (server->draining == 1 && server->drain_deadline < deadline)
			deadline = server->drain_deadline;
	} else if (unlikely(server->accepting == 1 && ringstep_load(&server->listener) != server->accepts_from)) {
		ringstep__server_accept(turn, state, false);
	} else if (!server->accepting && ringstep_load(&server->listener) >= 0 && server->open < RINGSTEP__SERVER_MOST &&
		   (!ringstep__server_options.later ||
		    ringstep_mailbox_uncollected(&state->mailbox) < 2 * RINGSTEP__SERVER_MOST)) {
		if (!server->accept_again || ringstep_expired(server->accept_again))
			ringstep__server_accept(turn, state, true);
		else if (server->accept_again < deadline)
			deadline = server->accept_again;
	}
	if (server->now) {
		const __u64 next = ringstep__server_deadline(state);

		if (next < deadline)
			deadline = next;
	}
	if (ringstep__server_options.later) {
		const __u32 batch = ringstep_load(&server->batch);

		if (batch && ringstep_mailbox_uncollected(&state->mailbox) >= batch) {
			ringstep_submit(turn);
			return ringstep_stop(turn, RINGSTEP_SERVER_BATCH_READY);
		}
	}
	if (again) {
		/* Others have their turn, too. */
		const __u32 first = ringstep_list_first(&server->ready, state->connections);

		if (server->ready.count > 1) {
			ringstep_list_remove_by(&server->ready, state->connections, first, link.ready);
			ringstep_list_push_back_by(&server->ready, state->connections, first, link.ready);
		}
		return ringstep_submit_and_wait(turn, 0);
	}
	if (server->ready.count || (ringstep__server_options.later && !ringstep_mailbox_sleep(&state->mailbox, state->inbox)))
		return ringstep_submit_and_wait(turn, 0);
	return ringstep_submit_and_wait_until(turn, 1, deadline);
}

#endif /* RINGSTEP_NET_SERVER_STEP_BPF_H */
