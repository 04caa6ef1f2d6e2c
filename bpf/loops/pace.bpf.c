// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Submits requests at the rates of their classes. Each class has two buckets of tokens, one for requests and one for bytes. The first
 * request of a class is submitted when both buckets have enough tokens. Classes do not wait for each other.
 *
 * A request that is larger than its bucket is submitted when the bucket is full, and leaves the level below zero. So over any period, the
 * class uses at most the burst (or the largest request, if that is more) plus the tokens that flow in during the period.
 *
 * Arithmetic: a level counts units of 10^-9 tokens, and `rate` of these flow in each nanosecond, so nothing is ever rounded. A full bucket
 * and a request have at most 2^32 * 10^9 units each, so 63 bits hold the level.
 *
 * The longest step: 32 completions, 64 messages, 16 classes and 64 submissions. That makes 176 iterations, with 128 submits at most.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/timer.bpf.h>

#include <ringstep/c/loops/pace.h>
#include <ringstep/requests.bpf.h>

#define PACE_CLASS (RINGSTEP_PACE_CLASSES - 1)
#define PACE_TOKEN 1000000000ULL

static __always_inline __u64 pace_full(const struct ringstep_pace_bucket *bucket)
{
	return bucket->is.burst * PACE_TOKEN;
}

static __always_inline void pace_fill(struct ringstep_pace_bucket *bucket, __u64 elapsed)
{
	const __u64 missing = pace_full(bucket) - (__u64)bucket->level;

	if (!bucket->is.rate)
		return;
	if (elapsed > missing / bucket->is.rate)
		bucket->level = (__s64)pace_full(bucket);
	else
		bucket->level = (__s64)((__u64)bucket->level + elapsed * bucket->is.rate);
}

static __always_inline void pace_adopt(struct ringstep_pace_bucket *bucket, const struct ringstep_pace_rate *wanted)
{
	const __u64 rate = bucket->is.rate;

	bucket->is = *wanted;
	if (bucket->is.rate > RINGSTEP_PACE_MOST_RATE)
		bucket->is.rate = RINGSTEP_PACE_MOST_RATE;
	if (bucket->is.burst > RINGSTEP_PACE_MOST_BURST)
		bucket->is.burst = RINGSTEP_PACE_MOST_BURST;
	/* If there was no limit until now, no tokens were saved or overdrawn, so the bucket starts full. */
	if (!rate || bucket->level > (__s64)pace_full(bucket))
		bucket->level = (__s64)pace_full(bucket);
}

/* Adopts new rates if they are complete. They apply from now on; the tokens until now have flowed in at the old rates. */
static __noinline int pace_change(struct ringstep_pace *state, __u32 index)
{
	struct ringstep_pace_class *class = &state->classes[index & PACE_CLASS];
	const __u32 version = ringstep_load(&class->version);
	struct ringstep_pace_rate operations, bytes;

	if (version & 1)
		return 0; /* the rates are being written; the writer wakes the loop afterwards */
	operations.rate = ringstep_load(&class->wanted[RINGSTEP_PACE_OPERATIONS].rate);
	operations.burst = ringstep_load(&class->wanted[RINGSTEP_PACE_OPERATIONS].burst);
	bytes.rate = ringstep_load(&class->wanted[RINGSTEP_PACE_BYTES].rate);
	bytes.burst = ringstep_load(&class->wanted[RINGSTEP_PACE_BYTES].burst);
	if (ringstep_load(&class->version) != version)
		return 0;
	pace_adopt(&class->buckets[RINGSTEP_PACE_OPERATIONS], &operations);
	pace_adopt(&class->buckets[RINGSTEP_PACE_BYTES], &bytes);
	class->seen = version;
	return 0;
}

/* Returns the nanoseconds until the bucket has enough tokens for a request, or 0 if it has them now. */
static __always_inline __u64 pace_wait(const struct ringstep_pace_bucket *bucket, __u64 tokens)
{
	__u64 needed = tokens * PACE_TOKEN;
	__u64 missing;

	if (!bucket->is.rate)
		return 0;
	if (needed > pace_full(bucket))
		needed = pace_full(bucket);
	if (bucket->level >= (__s64)needed)
		return 0;
	missing = needed - (__u64)bucket->level;
	return (missing - 1) / bucket->is.rate + 1;
}

static __always_inline void pace_take(struct ringstep_pace_bucket *bucket, __u64 tokens)
{
	if (bucket->is.rate)
		bucket->level = (__s64)((__u64)bucket->level - tokens * PACE_TOKEN);
}

/* Brings the buckets and rates of a class up to date. */
static __noinline int pace_look_at(struct ringstep_pace *state, __u32 index)
{
	struct ringstep_pace_class *class = &state->classes[index & PACE_CLASS];
	const __u64 elapsed = state->now - class->filled_at;

	class->filled_at = state->now;
	pace_fill(&class->buckets[RINGSTEP_PACE_OPERATIONS], elapsed);
	pace_fill(&class->buckets[RINGSTEP_PACE_BYTES], elapsed);
	if (ringstep_load(&class->version) != class->seen)
		pace_change(state, index);
	return 0;
}

/* Takes the tokens of the first request of a class and returns 1. If there are too few, it moves the deadline forward and returns 0. */
static __noinline int pace_may_go(struct ringstep_pace *state, __u32 index)
{
	struct ringstep_pace_class *class = &state->classes[index & PACE_CLASS];
	const __u32 slot = ringstep_list_first(&class->waiting, state->slots);
	const __u64 bytes = state->slots[slot].own.bytes;
	const __u64 wait_operations = pace_wait(&class->buckets[RINGSTEP_PACE_OPERATIONS], 1);
	const __u64 wait_bytes = pace_wait(&class->buckets[RINGSTEP_PACE_BYTES], bytes);
	const __u64 wait = wait_operations > wait_bytes ? wait_operations : wait_bytes;

	if (wait) {
		if (state->now + wait < state->deadline)
			state->deadline = state->now + wait;
		return 0;
	}
	pace_take(&class->buckets[RINGSTEP_PACE_OPERATIONS], 1);
	pace_take(&class->buckets[RINGSTEP_PACE_BYTES], bytes);
	ringstep_store(&class->operations, class->operations + 1);
	ringstep_store(&class->bytes, class->bytes + bytes);
	return 1;
}

/* Returns the list of the class that a waiting request belongs to. */
static __always_inline struct ringstep_list *pace_waiting(struct ringstep_pace *state, __u32 slot)
{
	return &state->classes[state->slots[slot & ringstep_mask(state->slots)].own.request_class & PACE_CLASS].waiting;
}

RINGSTEP_LOOP(pace, struct ringstep_pace)
{
	__s64 messages = ringstep_limit(RINGSTEP_REQUESTS_BATCH_IN);
	__s64 classes = ringstep_limit(RINGSTEP_PACE_CLASSES);
	__s64 submits;
	__u32 delivered = ringstep_requests_delivered(state);
	struct io_uring_cqe *cqe;
	enum ringstep_mail mail;
	__u32 slot;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot))
			ringstep_request_deliver_later(state, slot, delivered);
	}
	ringstep_requests_deliver(state, delivered);

	ringstep_while_at_most (messages, ringstep_requests_receive(state, &slot, &mail)) {
		if (mail == RINGSTEP_MAIL_REQUEST) {
			ringstep_list_push_back(pace_waiting(state, slot), state->slots, slot);
		} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
			ringstep_list_remove(pace_waiting(state, slot), state->slots, slot);
			ringstep_request_refuse(state, slot, -ECANCELED);
		} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
			ringstep_request_cancel(turn, state, slot);
		}
	}

	state->now = bpf_ktime_get_ns();
	state->deadline = RINGSTEP_NO_DEADLINE;
	submits = ringstep_limit(ringstep_requests_room(turn));
	/* If the submits run out, the next turn continues with the next class. */
	ringstep_while_at_most (classes, submits > 0) {
		const __u32 class = state->at++ & PACE_CLASS;

		pace_look_at(state, class);
		ringstep_while_at_most (submits, state->classes[class].waiting.count && pace_may_go(state, class)) {
			slot = ringstep_list_pop_front(&state->classes[class].waiting, state->slots);
			state->slots[slot].own.begun = state->now;
			ringstep_request_submit(turn, state, slot);
		}
	}
	return ringstep_requests_end_until(turn, state, 1, ringstep_limit_reached(messages) || ringstep_limit_reached(submits),
					   state->deadline);
}
