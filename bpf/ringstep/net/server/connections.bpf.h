/* SPDX-License-Identifier: MIT */
/*
 * The part of a server's step that all others use: the connections that it has to look at, their buffers and timers.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_NET_SERVER_CONNECTIONS_BPF_H
#define RINGSTEP_NET_SERVER_CONNECTIONS_BPF_H

#include <ringstep/net/constants.bpf.h>

#define RINGSTEP__MSG_NOSIGNAL 0x4000
#define RINGSTEP__SHUT_WR 1
#define RINGSTEP__SHUT_RDWR 2

#define RINGSTEP__NEXT_BUFFERS 2 /* the most buffers that are looked at for one frame, before others have their turn */

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
	RINGSTEP__DO_READ = 1 << 6,
};

/* A verdict of servers that send files: the answer is not complete, and RINGSTEP_CONNECTION_LATER is cleared when it is. */
#define RINGSTEP__READING 5

#ifdef RINGSTEP__SERVER_FILES /* the server sends files, by these three functions */
/* Returns true if a read for a connection should begin. */
static __always_inline bool ringstep__server_wants_read(const ringstep_server_connection *conn, bool pending);
/* Fills in the request for the read. */
static __always_inline void ringstep__server_prep_read(struct ringstep_turn *turn, struct io_uring_sqe *sqe,
						       ringstep_server_state *state, __u32 slot);
/* Handles the end of the read. */
ringstep_apart int ringstep__server_read_done(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __s32 result);
#define RINGSTEP__SENDS_FILES 1
#else
#define RINGSTEP__SENDS_FILES 0
#define ringstep__server_wants_read(conn, pending) false
#define ringstep__server_prep_read(turn, sqe, state, slot) ((void)(sqe))
#define ringstep__server_read_done(state, slot, result) 0
#endif

#define RINGSTEP__PART_BIT(part) (1U << RINGSTEP_CONNECTION_##part)
/* The application may read a counter at any time. */
#define ringstep__server_count(state, counter, number)                                                                         \
	ringstep_store(&(state)->server.counters.counter, (state)->server.counters.counter + (number))
#define RINGSTEP__IS(link, flag) ((link)->flags & RINGSTEP_CONNECTION_##flag)

static __always_inline __u64 ringstep__part_data(const struct ringstep_connection *link, __u32 kind, __u32 part)
{
	return link->identity | ringstep_identity_of_part(kind, part);
}

/* Returns the time of this turn. Most turns of a server without limits of time need none, so the clock is read when somebody asks. */
static __always_inline __u64 ringstep__server_now(ringstep_server_state *state)
{
	if (!state->server.now)
		state->server.now = bpf_ktime_get_ns();
	return state->server.now;
}

/* Notes when a frame has begun that is not complete, if frames have a limit of time. */
static __always_inline void ringstep__server_partial(ringstep_server_state *state, struct ringstep_connection *link)
{
	if (state->server.limits.read)
		link->partial_since = ringstep__server_now(state);
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
	if (ringstep_wheel_is_idle(&state->wheel))
		ringstep_wheel_catch_up(&state->wheel, ringstep__server_now(state));
	ringstep_wheel_set(&state->wheel, state->timers, slot, deadline);
	return 0;
}

/*
 * A cancellation of requests of a connection has completed. If it has found none, they are on their way to a worker thread, or back into the
 * kernel's list of requests that wait. It is tried again a little later, and not at once: a worker thread may need the ring's lock, which a loop that
 * does not wait keeps.
 */
static __always_inline void ringstep__server_cancelled(ringstep_server_state *state, struct ringstep_connection *link,
						       __u32 slot, __s32 result)
{
	link->in_flight &= ~RINGSTEP__PART_BIT(CANCEL);
	/* What was found, or is running, completes and lets the step look at the connection again. */
	if (result > 0 || result == -RINGSTEP__EALREADY || !RINGSTEP__IS(link, CANCELLED) || RINGSTEP__IS(link, MISSED))
		return;
	link->flags |= RINGSTEP_CONNECTION_MISSED;
	ringstep__server_expect(state, slot, ringstep__server_now(state), RINGSTEP__CANCEL_PAUSE);
}

/* The pause after a cancellation that has found nothing is over. */
static __always_inline void ringstep__server_cancel_again(ringstep_server_state *state, struct ringstep_connection *link,
							  __u32 slot)
{
	link->flags &= ~(RINGSTEP_CONNECTION_MISSED | RINGSTEP_CONNECTION_CANCELLED);
	ringstep__server_ready(state, slot);
}

static __always_inline void ringstep__server_fail(struct ringstep_connection *link, __s32 error)
{
	if (RINGSTEP__IS(link, FAILED))
		return;
	link->flags |= RINGSTEP_CONNECTION_FAILED;
	link->error = error;
}

#endif /* RINGSTEP_NET_SERVER_CONNECTIONS_BPF_H */
