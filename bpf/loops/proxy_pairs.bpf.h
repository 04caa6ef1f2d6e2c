/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The pairs of the loop proxy: their names for everything, the choice of an upstream, and how a pair begins and ends.
 */
#ifndef PROXY_PAIRS_BPF_H
#define PROXY_PAIRS_BPF_H

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

/* Marks a pair whose sockets must be closed without waiting for anything. */
static __always_inline void proxy_fail(struct ringstep_proxy_pair *pair, __s32 error)
{
	if (IS(pair, FAILED))
		return;
	pair->flags |= RINGSTEP_PROXY_FAILED | RINGSTEP_PROXY_BROKEN;
	pair->error = error;
}

/* Notes that a connection was cut after it had begun to move bytes. */
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
 * Chooses the upstream with the lowest score among those that this pair has not tried. An upstream that is left out is chosen only if there is no
 * other one. If scores come from the client's address, most clients keep their upstream when another upstream is added or removed.
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

/* Takes the pair away from its upstream. */
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

#endif /* PROXY_PAIRS_BPF_H */
