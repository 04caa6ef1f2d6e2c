/* SPDX-License-Identifier: MIT */
/*
 * The part of a server's step that handles completions: of accepts, receives, sends, and of the end of a connection.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_NET_SERVER_COMPLETIONS_BPF_H
#define RINGSTEP_NET_SERVER_COMPLETIONS_BPF_H

#include <ringstep/net/server/requests.bpf.h>

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
		/* The step ends an accept that is from another socket than the listener. */
		if (unlikely(ringstep__server_is_unheard(state)))
			server->accepts_from = RINGSTEP__SERVER_NOWHERE;
	} else if (result == -RINGSTEP__ENFILE && server->open >= RINGSTEP__SERVER_MOST) {
		ringstep__server_count(state, refused, 1);
	} else if (ringstep__accept_is_over(result)) {
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
		if (part != RINGSTEP_CONNECTION_CANCEL) {
			if (state->server.accepting == 2 && result == -RINGSTEP__ENOENT) {
				state->server.accepting = 3;
				state->server.accept_again = ringstep_later(bpf_ktime_get_ns(), RINGSTEP__CANCEL_PAUSE);
			}
			return 0;
		}
		if ((user_data ^ link->identity) & ~RINGSTEP__ALL_PARTS)
			return 0;
		ringstep__server_cancelled(state, link, slot, result);
		ringstep__server_ready(state, slot);
		return 0;
	}
	if ((user_data ^ link->identity) & ~RINGSTEP__ALL_PARTS || kind != RINGSTEP_IDENTITY_REQUEST ||
	    (part > RINGSTEP_CONNECTION_CLOSE && !(RINGSTEP__SENDS_FILES && part == RINGSTEP_CONNECTION_READ)) ||
	    !(link->in_flight & 1U << (part & 31))) {
		ringstep__server_count(state, foreign, 1);
		return 0;
	}
	state->server.counts -= RINGSTEP__IN_FLIGHT;
	link->in_flight &= ~(1U << (part & 31));
	link->flags &= ~RINGSTEP_CONNECTION_CANCELLED;
	if (part == RINGSTEP_CONNECTION_CLOSE)
		return ringstep__server_closed(state, slot);
	if (RINGSTEP__SENDS_FILES && part == RINGSTEP_CONNECTION_READ)
		ringstep__server_read_done(state, slot, result);
	if (part == RINGSTEP_CONNECTION_SHUTDOWN && result < 0 && !RINGSTEP__IS(link, FAILED)) {
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

/* Handles the end of a send. Returns true if the step has to look at the connection. */
static __always_inline bool ringstep__server_sent(ringstep_server_state *state, struct ringstep_connection *link, __s32 result)
{
	state->server.counts -= RINGSTEP__IN_FLIGHT;
	link->in_flight &= ~RINGSTEP__PART_BIT(SEND);
	if (unlikely(RINGSTEP__IS(link, SLOW)))
		link->flags &= ~RINGSTEP_CONNECTION_SLOW;
	else if (state->server.sends)
		state->server.sends--;
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
			if (ringstep__server_is_plain(state, link))
				return false;
			link->flags &= ~RINGSTEP_CONNECTION_BLOCKED;
		}
	} else if (!RINGSTEP__IS(link, FAILED)) {
		ringstep__server_count(state, failed, 1);
		ringstep__server_fail(link, result ? result : -RINGSTEP__ECANCELED);
	}
	return true;
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
		if (!ringstep__server_sent(state, link, result))
			return 0;
	} else {
		return ringstep__server_odd(state, user_data, result, flags);
	}
	ringstep__server_ready(state, slot);
	return 0;
}

#endif /* RINGSTEP_NET_SERVER_COMPLETIONS_BPF_H */
