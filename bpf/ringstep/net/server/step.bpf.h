/* SPDX-License-Identifier: MIT */
/*
 * The step of a server: its connections, from accept to close.
 *
 * A connection about which something has changed is put into the list `ready`. The step takes the connections out of the list one by one, handles
 * their frames, and then decides at one place which requests each of them needs: ringstep__server_decide(). The files beside this one have the
 * parts of that; in here are times, messages of the application, and the order in which a turn does it all.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_NET_SERVER_STEP_BPF_H
#define RINGSTEP_NET_SERVER_STEP_BPF_H

#include <ringstep/net/server/completions.bpf.h>

/* Returns the earlier one of two times: a deadline, and the end of a limit if there is one. */
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

	if (!link->identity)
		return 0;
	if (RINGSTEP__IS(link, MISSED))
		ringstep__server_cancel_again(state, link, slot);
	if (RINGSTEP__IS(link, FAILED))
		return 0;
	if (RINGSTEP__IS(link, LATER))
		link->active = state->server.now;
	deadline = ringstep__server_earlier(deadline, link->active, limits->idle);
	if (link->partial)
		deadline = ringstep__server_earlier(deadline, link->partial_since, limits->read);
	if (RINGSTEP__IS(link, SLOW))
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

/* --- The application --------------------------------------------------------------------------------------------------------- */

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
		if (ringstep_load(&wish->nudge) != wish->told) {
			wish->told = ringstep_load(&wish->nudge);
			ringstep__server_tell(state, slot, link->generation, RINGSTEP_SERVER_NUDGED);
		}
	} else {
		if (!RINGSTEP__IS(link, LATER) ||
		    ((message >> RINGSTEP_SERVER_GENERATION_SHIFT ^ link->generation) & RINGSTEP_SERVER_GENERATION))
			return 0;
		if (kind == RINGSTEP_SERVER_FLUSH) {
			link->flags |= RINGSTEP_CONNECTION_FLUSHING;
			ringstep__server_ready(state, slot);
			return 0;
		}
		link->flags &= ~(RINGSTEP_CONNECTION_LATER | RINGSTEP_CONNECTION_FLUSHING);
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

/* --- The step ---------------------------------------------------------------------------------------------------------------- */

/* The part of the step before the frames. */
static __always_inline void ringstep__server_begin(struct ringstep_turn *turn, ringstep_server_state *state)
{
	struct ringstep_server *server = &state->server;
	const struct ringstep_server_limits *limits = &server->limits;
	struct io_uring_cqe *cqe;

	server->now = 0;
	if (limits->idle | state->wheel.set)
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
	/* Completions that this turn did not come to may be those of sends. They are left for the next turns, as long as there is room. */
	if (!server->sends)
		server->begun_first = server->begun_last;
	else if (!turn->cut || server->begun_last - server->begun_first > RINGSTEP_SERVER_BEGUN - RINGSTEP_SERVER_BATCH)
		ringstep__server_slow_sends(state);
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
	/* A connection that has failed keeps its place until the step has looked at it. */
	if (!RINGSTEP__IS(link, FAILED))
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
	if (unlikely(server->accepting == 3)) {
		if (ringstep_expired(server->accept_again))
			server->accepting = 1;
		else
			deadline = server->accept_again < deadline ? server->accept_again : deadline;
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
	} else if (!server->accepting && ringstep_load(&server->listener) >= 0 && server->open < RINGSTEP__SERVER_MOST) {
		/* Nobody wakes the loop when the application takes events, so it looks again after a while. */
		if (ringstep__server_is_unheard(state))
			server->accept_again = ringstep_later(bpf_ktime_get_ns(), RINGSTEP__ACCEPT_PAUSE);
		if (!server->accept_again || ringstep_expired(server->accept_again))
			ringstep__server_accept(turn, state, true);
		else if (server->accept_again < deadline)
			deadline = server->accept_again;
	}
	if (server->now || state->wheel.set) {
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
	/* A send that is not over would not end a wait, and has no limit before the next turn has looked at it. */
	if (server->ready.count || server->begun_first != server->begun_last ||
	    (ringstep__server_options.later && !ringstep_mailbox_sleep(&state->mailbox, state->inbox)))
		return ringstep_submit_and_wait(turn, 0);
	return ringstep_submit_and_wait_until(turn, 1, deadline);
}

#endif /* RINGSTEP_NET_SERVER_STEP_BPF_H */
