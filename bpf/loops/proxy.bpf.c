// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts clients, connects each to an upstream, and passes the bytes on in both directions.
 *
 * A client and its upstream form a pair, which has one slot. A pair has two halves, one for each direction. A half receives into its buffer, sends
 * all of it, and then receives again. So a half has at most one request in flight, bytes keep their order, and a half does not receive while the
 * other side does not read. After each completion, proxy_decide() returns the requests that the pair needs. A clean end of a stream is passed on
 * as an end. If a stream was cut, the other side gets a reset.
 *
 * The longest step handles 32 completions, each of which may look for an upstream among 16. It looks at 64 pairs because of timers or a drain, and
 * looks for each of them at 16 timers. A look at a pair makes 4 requests at most. That makes 1,632 iterations, with 387 submits at most.
 */
#include "proxy_pairs.bpf.h"
#include "proxy_requests.bpf.h"

/* --- Which requests a pair needs --------------------------------------------------------------------------------------------- */

/* Returns the requests that one direction needs. */
static __always_inline __u32 proxy_decide_half(struct ringstep_proxy_pair *pair, __u32 half)
{
	struct ringstep_proxy_half *const it = &pair->halves[half];
	const bool sink = half == 1 || IS(pair, CONNECTED); /* there is somebody to send to */
	const bool source = half == 0 || IS(pair, CONNECTED);

	if (pair->in_flight & (RECEIVE(half) | SEND(half) | SHUTDOWN(half)))
		return 0;
	if (it->begin != it->end)
		return sink ? SEND(half) : 0;
	if (!it->eof)
		return source ? RECEIVE(half) : 0;
	if (it->shut || !sink)
		return 0;
	it->shut = 1;
	return SHUTDOWN(half);
}

/* Returns true if nothing is left to do for one direction but to close both sockets, which ends the stream. */
static __always_inline bool proxy_half_is_over(const struct ringstep_proxy *state, const struct ringstep_proxy_pair *pair,
					       __u32 half)
{
	const struct ringstep_proxy_half *const it = &pair->halves[half];

	return it->eof && it->begin == it->end && (it->shut || !state->closes_late);
}

/* Returns the requests that end a pair. */
static __always_inline __u32 proxy_decide_end(struct ringstep_proxy_pair *pair)
{
	const __u32 at_client = RECEIVE(0) | SEND(1), at_upstream = RECEIVE(1) | SEND(0) | CONNECT | PROMPT;
	const __u32 open = pair->in_flight;

	if (open & (CANCEL(CLIENT) | CANCEL(UPSTREAM)))
		return 0;
	if (open) {
		/* A shutdown, which a worker thread runs, and the making of a socket end by themselves. */
		if (IS(pair, CANCELLED) || !IS(pair, FAILED) || !(open & (at_client | at_upstream)))
			return 0;
		pair->flags |= RINGSTEP_PROXY_CANCELLED;
		return (open & at_client ? CANCEL(CLIENT) : 0) | (open & at_upstream ? CANCEL(UPSTREAM) : 0);
	}
	if (IS(pair, BROKEN) && !IS(pair, RESETTING)) {
		pair->flags |= RINGSTEP_PROXY_RESETTING;
		return RESET(CLIENT) | (IS(pair, MADE) ? RESET(UPSTREAM) : 0);
	}
	pair->flags |= RINGSTEP_PROXY_CLOSING;
	return CLOSE(CLIENT) | (IS(pair, MADE) ? CLOSE(UPSTREAM) : 0);
}

/* Decides which requests a pair needs now. Returns a bit for each. */
ringstep_apart __u32 proxy_decide(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	__u32 todo;

	if (!pair->identity || IS(pair, CLOSING))
		return 0;
	if (IS(pair, FAILED) || (proxy_half_is_over(state, pair, 0) && proxy_half_is_over(state, pair, 1)))
		return proxy_decide_end(pair);
	todo = proxy_decide_half(pair, 0) | proxy_decide_half(pair, 1);
	if (unlikely(!IS(pair, CONNECTED) && !(pair->in_flight & (SOCKET | CONNECT | PROMPT)))) {
		todo |= IS(pair, READY) ? CONNECT : SOCKET;
		if (todo & CONNECT && state->prompt && proxy_upstream(state, pair)->address.family != RINGSTEP_AF_UNIX)
			todo |= PROMPT;
	}
	return todo;
}

/* --- Completions ------------------------------------------------------------------------------------------------------------- */

/* Handles the completion of a receive. */
static __always_inline void proxy_received(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 half,
					   __s32 result, __u32 flags)
{
	struct ringstep_proxy_half *const it = &pair->halves[half & 1];

	if (likely(result > 0)) {
		it->begin = 0;
		it->end = (__u32)result < RINGSTEP_PROXY_BUFFER ? (__u32)result : RINGSTEP_PROXY_BUFFER;
		it->dry = it->end < RINGSTEP_PROXY_BUFFER && !(flags & IORING_CQE_F_SOCK_NONEMPTY);
		pair->active = state->now;
	} else if (result == 0) {
		it->eof = 1;
		if (IS(pair, BROKEN))
			it->shut = 1;
	} else if (!IS(pair, FAILED)) {
		proxy_break(state, pair, result);
		/* Nothing can be sent there any more, either. */
		pair->flags |= RINGSTEP_PROXY_FAILED;
	}
}

/* Handles the completion of a send. */
static __always_inline void proxy_sent(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 half, __s32 result)
{
	struct ringstep_proxy_half *const it = &pair->halves[half & 1];

	if (likely(result > 0)) {
		struct ringstep_proxy_upstream *upstream = proxy_upstream(state, pair);

		it->begin += (__u32)result;
		pair->active = state->now;
		if (half)
			proxy_count(&upstream->counters, received, (__u32)result);
		else
			proxy_count(&upstream->counters, sent, (__u32)result);
	} else if (!IS(pair, FAILED)) {
		/* That side reads no more. What it has sent before is still passed on. */
		proxy_break(state, pair, result ? result : -RINGSTEP__ECANCELED);
		it->begin = it->end;
		it->eof = 1;
		it->shut = 1;
	}
}

/* Handles the completion of a request that each connection makes once. */
ringstep_apart int proxy_odd(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot, __u32 part, __s32 result)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);

	if (part == RINGSTEP_PROXY_SOCKET) {
		if (result >= 0)
			pair->flags |= RINGSTEP_PROXY_MADE | RINGSTEP_PROXY_READY;
		else if (!IS(pair, FAILED)) /* this process lacks descriptors or memory, and no other upstream would help */
			proxy_fail(pair, result);
	} else if (part == RINGSTEP_PROXY_CONNECT) {
		if (result < 0)
			proxy_refused(state, slot, result);
		else
			proxy_connected(state, pair, slot);
	} else if (part >= RINGSTEP_PROXY_SHUTDOWN && part <= RINGSTEP_PROXY_SHUTDOWN + 1) {
		if (result < 0)
			proxy_break(state, pair, result);
	} else if (IS(pair, CLOSING) && !pair->in_flight) {
		proxy_closed(state, pair, slot);
	}
	return 0;
}

/* Handles the completion of the accept. Returns one more than the slot of a new pair, or 0. */
ringstep_apart __u32 proxy_accepted(struct ringstep_proxy *state ringstep_arg_nonnull, __s32 result)
{
	state->accepting = 0;
	state->counts -= RINGSTEP__IN_FLIGHT;
	if (result >= 0) {
		const __u32 slot = ((__u32)result - state->first_slot) & PROXY_MASK;

		return proxy_open(state, slot) ? slot + 1 : 0;
	}
	if (result == -RINGSTEP__ENFILE && state->open >= state->most)
		proxy_count(&state->counters, refused, 1);
	else if (ringstep__accept_is_over(result))
		state->listen_error = result;
	else if (result != -RINGSTEP__ECANCELED)
		state->accept_again = ringstep_later(state->now, RINGSTEP__ACCEPT_PAUSE);
	return 0;
}

/*
 * A cancellation has completed. If it has found nothing, what it was for is on its way to a worker thread, or back into the kernel's list of requests
 * that wait. It is tried again a little later, and not at once: a worker thread may need the ring's lock, which a loop that does not wait keeps.
 */
static __always_inline void proxy_cancelled(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 slot,
					    __s32 result)
{
	/* What was found, or is running, completes and lets the step look at the pair again. */
	if (result > 0 || result == -RINGSTEP__EALREADY || !(IS(pair, CANCELLED) || IS(pair, LATE)))
		return;
	pair->flags |= RINGSTEP_PROXY_MISSED;
	ringstep_wheel_set(&state->wheel, state->timers, slot, ringstep_later(state->now, RINGSTEP__CANCEL_PAUSE));
}

/* Handles a completion. Returns one more than the number of the pair that has to be looked at, or 0. */
ringstep_apart __u32 proxy_completed(struct ringstep_proxy *state ringstep_arg_nonnull, __u64 user_data, __s32 result,
				     __u32 flags)
{
	const __u32 slot = (__u32)user_data & PROXY_MASK;
	const __u32 part = (__u32)(user_data >> RINGSTEP_IDENTITY_PART_SHIFT) & RINGSTEP_IDENTITY_PART;
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);

	if (unlikely(user_data != proxy_data(pair, part) || !(pair->in_flight >> (part & 31) & 1) || part > 31)) {
		if (user_data ==
			    (state->identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_PROXY_ACCEPT)) &&
		    state->accepting)
			return proxy_accepted(state, result);
		if (user_data ==
			    (state->identity | ringstep_identity_of_part(RINGSTEP_IDENTITY_HELPER, RINGSTEP_PROXY_ACCEPT)) &&
		    state->cancels) {
			state->cancels--;
			if (state->accepting == 2 && result == -RINGSTEP__ENOENT) {
				state->accepting = 3;
				state->accept_again = ringstep_later(state->now, RINGSTEP__CANCEL_PAUSE);
			}
		} else {
			proxy_count(&state->counters, foreign, 1);
		}
		return 0;
	}
	pair->in_flight &= ~BIT(part & 31);
	if (unlikely(BIT(part & 31) & (CANCEL(CLIENT) | CANCEL(UPSTREAM)))) {
		state->cancels--;
		proxy_cancelled(state, pair, slot, result);
		return slot + 1;
	}
	pair->flags &= ~RINGSTEP_PROXY_CANCELLED;
	state->counts -= RINGSTEP__IN_FLIGHT;
	if (part < RINGSTEP_PROXY_SEND) {
		proxy_received(state, pair, part, result, flags);
	} else if (part < RINGSTEP_PROXY_SHUTDOWN) {
		proxy_sent(state, pair, part & 1, result);
	} else {
		proxy_odd(state, slot, part, result);
	}
	return slot + 1;
}

/* Returns the request that ends an attempt to connect whose time is over. */
static __always_inline __u32 proxy_cancel_connect(const struct ringstep_proxy_pair *pair)
{
	return pair->in_flight & CONNECT && !(pair->in_flight & CANCEL(UPSTREAM)) ? CANCEL(UPSTREAM) : 0;
}

/* Looks at a pair whose timer has expired. Its limits may have moved since it was set. */
ringstep_apart __u32 proxy_expired(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	__u64 deadline = pair->deadline;

	if (!pair->identity || IS(pair, CLOSING))
		return 0;
	if (IS(pair, MISSED)) {
		pair->flags &= ~(RINGSTEP_PROXY_MISSED | RINGSTEP_PROXY_CANCELLED);
		if (IS(pair, FAILED))
			return proxy_decide(state, slot);
		if (IS(pair, LATE))
			return proxy_cancel_connect(pair);
	}
	if (pair->flags & (RINGSTEP_PROXY_FAILED | RINGSTEP_PROXY_LATE))
		return 0;
	if (IS(pair, CONNECTED)) {
		if (!state->idle_time)
			return 0;
		deadline = ringstep_later(pair->active, state->idle_time);
	}
	if (deadline > state->now) {
		ringstep_wheel_set(&state->wheel, state->timers, slot, deadline);
		return 0;
	}
	if (IS(pair, CONNECTED)) {
		proxy_count(&state->counters, timed_out, 1);
		proxy_fail(pair, -RINGSTEP__ETIMEDOUT);
		return proxy_decide(state, slot);
	}
	if (!(pair->in_flight & CONNECT)) {
		ringstep_wheel_set(&state->wheel, state->timers, slot, ringstep_later(state->now, PROXY_PATIENCE));
		return 0;
	}
	pair->flags |= RINGSTEP_PROXY_LATE;
	return proxy_cancel_connect(pair);
}

/* Returns the time until which the loop may wait for the first timer. */
ringstep_apart __u64 proxy_first_deadline(struct ringstep_proxy *state ringstep_arg_nonnull)
{
	return ringstep_wheel_deadline(&state->wheel);
}

/* --- The step ---------------------------------------------------------------------------------------------------------------- */

/* Begins a drain, and notes when its time is up. */
ringstep_apart int proxy_drain(struct ringstep_proxy *state ringstep_arg_nonnull)
{
	if (!state->draining) {
		state->draining = 1;
		state->drain_deadline = RINGSTEP_NO_DEADLINE;
		if (ringstep_load(&state->drain_limit))
			state->drain_deadline = ringstep_later(state->now, state->drain_limit);
	}
	if (state->draining == 1 && state->drain_deadline <= state->now) {
		state->draining = 2;
		state->walked = 0;
	}
	return 0;
}

/* Ends a pair because the time of the drain is up. Returns the requests that this needs. */
ringstep_apart __u32 proxy_drained(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	if (!proxy_pair(state, slot)->identity)
		return 0;
	proxy_fail(proxy_pair(state, slot), -RINGSTEP__ETIMEDOUT);
	return proxy_decide(state, slot);
}

/*
 * Looks at the next pair whose timer has expired, or that a drain has to end. Returns one more than its slot, and in the upper half the requests that
 * it needs. Returns 0 if there is none.
 */
ringstep_apart __u64 proxy_due(struct ringstep_proxy *state ringstep_arg_nonnull)
{
	__s64 limit = ringstep_limit(PROXY_MOVES);
	__u32 slot = 0;
	__u64 todo = 0;

	if (ringstep_wheel_expired(&state->wheel, state->timers, state->now, &slot, limit)) {
		todo = proxy_expired(state, slot);
	} else if (state->draining == 2 && state->walked < RINGSTEP_PROXY_CONNECTIONS) {
		slot = state->walked++;
		todo = proxy_drained(state, slot);
	} else {
		return 0;
	}
	return todo << 32 | (slot + 1);
}

RINGSTEP_LOOP(proxy, struct ringstep_proxy)
{
	__s64 limit = ringstep_limit(PROXY_BATCH);
	__u64 deadline = RINGSTEP_NO_DEADLINE, due = 1;
	struct io_uring_cqe *cqe;

	state->now = bpf_ktime_get_ns();
	ringstep_for_each_cqe(turn, cqe) {
		const __u32 pair = proxy_completed(state, cqe->user_data, cqe->res, cqe->flags);

		if (likely(pair))
			proxy_do(turn, state, pair - 1, proxy_decide(state, pair - 1));
	}
	ringstep_while_at_most (limit, due) {
		due = proxy_due(state);
		if (unlikely(due))
			proxy_do(turn, state, (__u32)due - 1, (__u32)(due >> 32));
	}
	if (unlikely(state->accepting == 3)) {
		if (state->accept_again <= state->now)
			state->accepting = 1;
		else
			deadline = state->accept_again;
	}
	if (unlikely(ringstep_load(&state->drain) || state->listen_error)) {
		proxy_drain(state);
		if (state->accepting == 1)
			proxy_accept(turn, state, false);
		if (!state->open && !state->counts && !state->cancels) {
			state->draining = 0;
			ringstep_submit(turn);
			return ringstep_stop(turn, state->listen_error);
		}
		if (state->draining == 1 && state->drain_deadline < deadline)
			deadline = state->drain_deadline;
	} else if (unlikely(state->accepting == 1 && ringstep_load(&state->listener) != state->accepts_from)) {
		proxy_accept(turn, state, false);
	} else if (!state->accepting && ringstep_load(&state->listener) >= 0 && (state->open < state->most || state->refuse)) {
		if (state->accept_again <= state->now)
			proxy_accept(turn, state, true);
		else
			deadline = state->accept_again;
	}
	if (unlikely(state->draining == 2 && state->walked < RINGSTEP_PROXY_CONNECTIONS))
		return ringstep_submit_and_wait(turn, 0);
	due = proxy_first_deadline(state);
	if (due < deadline)
		deadline = due;
	return ringstep_submit_and_wait_until(turn, 1, deadline);
}
