// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts clients, connects each to an upstream, and passes the bytes on in both directions.
 *
 * A client and its upstream are a pair, which has one slot. Each direction is a half: it receives into its buffer, sends all of that, and then
 * receives again. So a half has one request in flight at most, bytes keep their order, and a half stops receiving while the other side does not
 * read. After each completion of a pair, proxy_decide() says at one place which requests the pair needs. An end of a stream is passed on only if
 * it was one. If a stream was cut, the other side gets a reset.
 *
 * The longest step handles 32 completions, each of which may look for an upstream among 16. It looks at 64 pairs because of timers or a drain, and
 * looks for each of them at 16 timers. A look at a pair makes 4 requests at most. That makes 1,632 iterations, with 387 submits at most.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/timer.bpf.h>

#include <ringstep/c/loops/proxy.h>
#include <ringstep/net/constants.bpf.h>
#include <ringstep/wheel.bpf.h>

#define PROXY ((struct ringstep_proxy *)0)
#define PROXY_MASK ringstep_mask(PROXY->pairs)
#define PROXY_BUFFER_MASK ringstep_mask(PROXY->buffers)
#define PROXY_UPSTREAM_MASK ringstep_mask(PROXY->upstreams)

/* The most expired timers, and pairs that a drain ends, in one turn; and for each, the most timers that are put elsewhere. */
#define PROXY_BATCH 64
#define PROXY_MOVES 16
/* How long a connection may not have begun to connect although its time is over, before it is looked at again. In nanoseconds. */
#define PROXY_PATIENCE 10000000

/* The two sides of a pair. Half 0 has the client as its source. */
enum {
	CLIENT = 0,
	UPSTREAM = 1,
};

#define BIT(part) (1U << (part))
#define RECEIVE(half) BIT(RINGSTEP_PROXY_RECEIVE + (half))
#define SEND(half) BIT(RINGSTEP_PROXY_SEND + (half))
#define SHUTDOWN(half) BIT(RINGSTEP_PROXY_SHUTDOWN + (half))
#define RESET(side) BIT(RINGSTEP_PROXY_RESET + (side))
#define CLOSE(side) BIT(RINGSTEP_PROXY_CLOSE + (side))
#define CANCEL(side) BIT(RINGSTEP_PROXY_CANCEL + (side))
#define SOCKET BIT(RINGSTEP_PROXY_SOCKET)
#define CONNECT BIT(RINGSTEP_PROXY_CONNECT)
#define PROMPT BIT(RINGSTEP_PROXY_PROMPT)
#define TRANSFERS (RECEIVE(0) | RECEIVE(1) | SEND(0) | SEND(1))

#define IS(pair, flag) ((pair)->flags & RINGSTEP_PROXY_##flag)
/* The application may read a counter at any time. */
#define proxy_count(counters, what, number) ringstep_store(&(counters)->what, (counters)->what + (number))

static __always_inline struct ringstep_proxy_pair *proxy_pair(struct ringstep_proxy *state, __u32 slot)
{
	return &state->pairs[slot & PROXY_MASK];
}

static __always_inline struct ringstep_proxy_upstream *proxy_upstream(struct ringstep_proxy *state,
								      const struct ringstep_proxy_pair *pair)
{
	return &state->upstreams[(pair->upstream - 1) & PROXY_UPSTREAM_MASK];
}

static __always_inline __u64 proxy_data(const struct ringstep_proxy_pair *pair, __u32 part)
{
	const __u32 kind = part >= RINGSTEP_PROXY_CANCEL && part <= RINGSTEP_PROXY_CANCEL + UPSTREAM
				   ? RINGSTEP_IDENTITY_HELPER
				   : RINGSTEP_IDENTITY_REQUEST;

	return pair->identity | ringstep_identity_of_part(kind, part);
}

/* Both sockets are to be closed without waiting for anything. */
static __always_inline void proxy_fail(struct ringstep_proxy_pair *pair, __s32 error)
{
	if (IS(pair, FAILED))
		return;
	pair->flags |= RINGSTEP_PROXY_FAILED | RINGSTEP_PROXY_BROKEN;
	pair->error = error;
}

/* A connection that has moved bytes was cut. */
static __always_inline void proxy_break(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __s32 error)
{
	if (IS(pair, BROKEN))
		return;
	pair->flags |= RINGSTEP_PROXY_BROKEN;
	pair->error = error;
	proxy_count(&state->counters, failed, 1);
	if (pair->upstream)
		proxy_count(&proxy_upstream(state, pair)->counters, broken, 1);
}

/* --- Upstreams --------------------------------------------------------------------------------------------------------------- */

/* Mixes the bits of a number. */
static __always_inline __u32 proxy_mix(__u32 number)
{
	number = (number ^ number >> 16) * 0x85ebca6bU;
	number = (number ^ number >> 13) * 0xc2b2ae35U;
	return number ^ number >> 16;
}

/*
 * Chooses an upstream that this pair has not tried. Upstreams that are left out are chosen only if there is no other one. The one with the
 * lowest score wins. With scores by the client's address, most clients keep their upstream if another one comes or goes.
 */
ringstep_apart int proxy_choose(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	const __u32 most = ringstep_load(&state->upstream_count);
	const __u32 count = most < RINGSTEP_PROXY_UPSTREAMS ? most : RINGSTEP_PROXY_UPSTREAMS;
	__u32 i;

	state->best = 0;
	if (pair->attempts >= state->attempts)
		return 0;
	bpf_for(i, 0, count) {
		const struct ringstep_proxy_upstream *upstream = &state->upstreams[i & PROXY_UPSTREAM_MASK];
		__u64 score = (i + RINGSTEP_PROXY_UPSTREAMS - state->next) & (RINGSTEP_PROXY_UPSTREAMS - 1);

		if (pair->tried >> (i & 31) & 1 || ringstep_load(&upstream->off) ||
		    (upstream->most && upstream->counters.open >= upstream->most))
			continue;
		if (state->balance == RINGSTEP_PROXY_LEAST_CONNECTIONS)
			score |= upstream->counters.open << 8;
		else if (state->balance == RINGSTEP_PROXY_CLIENT_ADDRESS)
			score = proxy_mix(pair->hash + i * 0x9e3779b9U);
		if (upstream->out_until > state->now)
			score |= 1ULL << 63;
		if (!state->best || score < state->best_score) {
			state->best = i + 1;
			state->best_score = score;
		}
	}
	if (!state->best)
		return 0;
	pair->upstream = state->best;
	pair->tried |= 1U << ((state->best - 1) & 31);
	pair->attempts++;
	state->next = state->best < count ? state->best : 0;
	proxy_count(&proxy_upstream(state, pair)->counters, open, 1);
	return 1;
}

/* The pair has no connection to its upstream any more. */
static __always_inline void proxy_leave(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair)
{
	if (pair->upstream)
		proxy_count(&proxy_upstream(state, pair)->counters, open, -1ULL);
	pair->upstream = 0;
}

/* Chooses an upstream and begins to connect, or gives the pair up. `error`: why the upstream before it has failed, negative, or 0. */
ringstep_apart int proxy_start(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot, __s32 error)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);

	pair->flags &= ~(RINGSTEP_PROXY_READY | RINGSTEP_PROXY_LATE);
	if (!proxy_choose(state, slot)) {
		proxy_count(&state->counters, unserved, 1);
		proxy_fail(pair, error ? error : -RINGSTEP__EHOSTUNREACH);
		return 0;
	}
	if (error)
		proxy_count(&state->counters, retried, 1);
	pair->deadline = ringstep_later(state->now, state->connect_time);
	ringstep_wheel_set(&state->wheel, state->timers, slot, pair->deadline);
	return 0;
}

/* Notes that an upstream has not accepted. */
ringstep_apart int proxy_refused(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot, __s32 error)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	struct ringstep_proxy_upstream *upstream = proxy_upstream(state, pair);

	if (IS(pair, FAILED))
		return 0;
	proxy_count(&upstream->counters, failures, 1);
	if (IS(pair, LATE)) {
		proxy_count(&upstream->counters, timed_out, 1);
		error = -RINGSTEP__ETIMEDOUT;
	}
	/* When its time is over, one more failure is enough. */
	if (upstream->fails < state->failures)
		upstream->fails++;
	if (state->failures && upstream->fails >= state->failures && upstream->out_until <= state->now) {
		upstream->out_until = ringstep_later(state->now, state->out_time);
		proxy_count(&upstream->counters, left_out, 1);
	}
	proxy_leave(state, pair);
	return proxy_start(state, slot, error);
}

static __always_inline void proxy_connected(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 slot)
{
	struct ringstep_proxy_upstream *upstream = proxy_upstream(state, pair);

	pair->flags |= RINGSTEP_PROXY_CONNECTED;
	pair->active = state->now;
	upstream->fails = 0;
	upstream->out_until = 0;
	proxy_count(&upstream->counters, connections, 1);
	ringstep_wheel_set(&state->wheel, state->timers, slot,
			   state->idle_time ? ringstep_later(state->now, state->idle_time) : RINGSTEP_NO_DEADLINE);
}

/* --- Clients ----------------------------------------------------------------------------------------------------------------- */

/* Returns a hash of the address of the client that was accepted. */
static __always_inline __u32 proxy_hash(const struct ringstep_proxy *state)
{
	const __u64 *words = (const __u64 *)state->client.ipv6.address;
	__u64 both;

	if (state->client.family == RINGSTEP_AF_INET)
		return proxy_mix(state->client.ipv4.address);
	if (state->client.family != RINGSTEP_AF_INET6)
		return 0;
	both = words[0] ^ words[1] * 31;
	return proxy_mix((__u32)both ^ (__u32)(both >> 32));
}

/* Writes a header of the PROXY protocol, version 2, in front of what the client sends. */
static __always_inline void proxy_write_header(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 slot)
{
	__u8 *to = state->buffers[2 * slot & PROXY_BUFFER_MASK];
	const union ringstep_socket_address *client = &state->client, *listener = &state->listener_address;

	__builtin_memcpy(to, "\r\n\r\n\0\r\nQUIT\n\x21\0\0\0", 16);
	pair->halves[0].end = 16;
	if (client->family == RINGSTEP_AF_INET && listener->family == RINGSTEP_AF_INET) {
		to[13] = 0x11; /* TCP over IPv4 */
		to[15] = 12;
		__builtin_memcpy(to + 16, &client->ipv4.address, 4);
		__builtin_memcpy(to + 20, &listener->ipv4.address, 4);
		__builtin_memcpy(to + 24, &client->ipv4.port, 2);
		__builtin_memcpy(to + 26, &listener->ipv4.port, 2);
		pair->halves[0].end = 28;
	} else if (client->family == RINGSTEP_AF_INET6 && listener->family == RINGSTEP_AF_INET6) {
		to[13] = 0x21; /* TCP over IPv6 */
		to[15] = 36;
		__builtin_memcpy(to + 16, client->ipv6.address, 16);
		__builtin_memcpy(to + 32, listener->ipv6.address, 16);
		__builtin_memcpy(to + 48, &client->ipv6.port, 2);
		__builtin_memcpy(to + 50, &listener->ipv6.port, 2);
		pair->halves[0].end = 52;
	}
}

/* Begins a pair for the client whose socket is in this slot. */
ringstep_apart int proxy_open(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	const __u32 generation = pair->generation + 1;

	if (pair->identity)
		return 0; /* the kernel gives out no slot twice */
	__builtin_memset(pair, 0, sizeof(*pair));
	pair->generation = generation;
	pair->hash = proxy_hash(state);
	pair->active = state->now;
	pair->halves[1].dry = 1; /* an upstream that has just accepted has sent nothing yet */
	pair->identity = state->identity | ringstep_identity_of_slot(slot & PROXY_MASK, generation);
	proxy_count(&state->counters, accepted, 1);
	ringstep_store(&state->open, state->open + 1);
	if (state->header)
		proxy_write_header(state, pair, slot);
	if (state->draining)
		proxy_fail(pair, -RINGSTEP__ECANCELED);
	else
		proxy_start(state, slot, 0);
	return 1;
}

/* Frees the slot of a pair whose sockets are closed. */
static __always_inline void proxy_closed(struct ringstep_proxy *state, struct ringstep_proxy_pair *pair, __u32 slot)
{
	ringstep_wheel_cancel(&state->wheel, state->timers, slot);
	proxy_leave(state, pair);
	pair->flags = 0;
	pair->identity = 0;
	proxy_count(&state->counters, closed, 1);
	ringstep_store(&state->open, state->open - 1);
}

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
	const __u32 at_client = RECEIVE(0) | SEND(1) | SHUTDOWN(1),
		    at_upstream = RECEIVE(1) | SEND(0) | SHUTDOWN(0) | CONNECT | PROMPT;
	const __u32 open = pair->in_flight;

	if (open & (CANCEL(CLIENT) | CANCEL(UPSTREAM)))
		return 0;
	if (open) {
		/* A shutdown that a worker thread runs, and the making of a socket, end by themselves. */
		if (IS(pair, CANCELLED) || !IS(pair, FAILED))
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

/* A receive has completed. */
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

/* A send has completed. */
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

/* A request has completed that each connection has once. */
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

/* The accept has completed. Returns one more than the slot of a new pair, or 0. */
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
		    state->cancels)
			state->cancels--;
		else
			proxy_count(&state->counters, foreign, 1);
		return 0;
	}
	pair->in_flight &= ~BIT(part & 31);
	if (unlikely(BIT(part & 31) & (CANCEL(CLIENT) | CANCEL(UPSTREAM)))) {
		state->cancels--;
		/* There was nothing to cancel any more, so what is in flight now has to be cancelled again. */
		if (result != -RINGSTEP__EALREADY)
			pair->flags &= ~RINGSTEP_PROXY_CANCELLED;
		return slot + 1;
	}
	state->counts -= RINGSTEP__IN_FLIGHT;
	if (part < RINGSTEP_PROXY_SEND) {
		proxy_received(state, pair, part, result, flags);
	} else if (part < RINGSTEP_PROXY_SHUTDOWN) {
		proxy_sent(state, pair, part & 1, result);
	} else {
		pair->flags &= ~RINGSTEP_PROXY_CANCELLED;
		proxy_odd(state, slot, part, result);
	}
	return slot + 1;
}

/* Looks at a pair whose timer has expired. Its limits may have moved since it was set. */
ringstep_apart __u32 proxy_expired(struct ringstep_proxy *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_proxy_pair *pair = proxy_pair(state, slot);
	__u64 deadline = pair->deadline;

	if (!pair->identity || pair->flags & (RINGSTEP_PROXY_FAILED | RINGSTEP_PROXY_CLOSING | RINGSTEP_PROXY_LATE))
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
	return pair->in_flight & CANCEL(UPSTREAM) ? 0 : CANCEL(UPSTREAM);
}

/* Returns the time until which the loop may wait for the first timer. */
ringstep_apart __u64 proxy_first_deadline(struct ringstep_proxy *state ringstep_arg_nonnull)
{
	return ringstep_wheel_deadline(&state->wheel);
}

/* --- Requests ---------------------------------------------------------------------------------------------------------------- */

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

/* The time of a drain is up for a pair. Returns the requests that end it. */
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
