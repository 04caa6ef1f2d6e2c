/* SPDX-License-Identifier: MIT */
/*
 * The loop's side of a timer wheel (ringstep/c/blocks/wheel.h): limits of time for thousands of connections, for example.
 *
 * Include this file after <ringstep/loop.bpf.h>. Pass the array of timers itself, not a pointer; its size must be a power of two. A timer is named by
 * its index. Objects with several timers use several indices, such as connection * 4 + KIND_OF_TIMER.
 *
 *	RINGSTEP_LOOP(server, struct server)
 *	{
 *		const __u64 now = bpf_ktime_get_ns();
 *		__s64 limit = ringstep_limit(64);
 *		struct io_uring_cqe *cqe;
 *		__u32 number;
 *
 *		ringstep_for_each_cqe(turn, cqe) {
 *			...
 *			ringstep_wheel_set(&state->wheel, state->timers, connection, ringstep_later(now, IDLE));
 *		}
 *		ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, now, &number, limit))
 *			close_connection(turn, state, number);
 *		return ringstep_submit_and_wait_until(turn, 1, ringstep_wheel_deadline(&state->wheel));
 *	}
 *
 * Deadlines are times of CLOCK_MONOTONIC in nanoseconds. A timer never expires before its deadline, and at most one tick (1.05 ms) after it, if
 * the loop takes a turn then. Timers whose deadlines have passed in the same turn expire in any order.
 *
 * - Setting, moving and cancelling a timer cost the same for any number of timers. Moving a timer to a later time only stores that time. The wheel
 *   puts the timer into its new bucket when it empties the old one. So a loop can restart an idle timer with every message.
 * - ringstep_wheel_expired() takes one from `limit` for each timer that it hands out and for each that it puts into another bucket. A timer
 *   moves to another bucket at most seven times, and once more for each time that it was moved to a later deadline in between. When the limit is
 *   used up, ringstep_wheel_deadline() returns a time that has passed, so the next turn follows at once.
 * - A wait may end before the first timer expires, to put timers into other buckets.
 * - If the clock stands still or goes back, nothing happens. It may jump ahead by any time.
 */
#ifndef RINGSTEP_WHEEL_BPF_H
#define RINGSTEP_WHEEL_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/c/blocks/wheel.h>
#include <ringstep/mailbox.bpf.h>
#include <ringstep/types.bpf.h>

#define RINGSTEP__WHEEL_BUCKETS (RINGSTEP_WHEEL_LEVELS * RINGSTEP_WHEEL_BUCKETS)

/* Returns the number of the lowest bit. `bits` must not be 0. It has no branch, because the verifier would follow each of its results. */
static __always_inline __u64 ringstep__wheel_lowest(__u64 bits)
{
#ifdef __bpf__
	bits = (bits & -bits) - 1;
	bits -= bits >> 1 & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
	return ((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL) * 0x0101010101010101ULL >> 56;
#else
	return (__u64)__builtin_ctzll(bits);
#endif
}

/* Returns the lowest level whose buckets tell two ticks apart. */
static __always_inline __u64 ringstep__wheel_level(__u64 tick, __u64 other)
{
	__u64 different = tick ^ other, level = 0;

	if (different >> 4 * RINGSTEP_WHEEL_LEVEL_SHIFT) {
		different >>= 4 * RINGSTEP_WHEEL_LEVEL_SHIFT;
		level = 4;
	}
	if (different >> 2 * RINGSTEP_WHEEL_LEVEL_SHIFT) {
		different >>= 2 * RINGSTEP_WHEEL_LEVEL_SHIFT;
		level += 2;
	}
	if (different >> RINGSTEP_WHEEL_LEVEL_SHIFT)
		level++;
	return (level + ringstep__unknown_zero()) & (RINGSTEP_WHEEL_LEVELS - 1);
}

/* Puts a timer into the bucket of its tick. */
static __always_inline void ringstep__wheel_put(struct ringstep_wheel *wheel, struct ringstep_wheel_timer *timers, __u32 mask,
						__u32 number)
{
	struct ringstep_wheel_timer *const timer = &timers[number & mask];
	const __u64 due = timer->due;
	const __u64 level = ringstep__wheel_level(due, wheel->tick);
	const __u64 place = due >> level * RINGSTEP_WHEEL_LEVEL_SHIFT & (RINGSTEP_WHEEL_BUCKETS - 1);
	const __u32 bucket = (__u32)(level * RINGSTEP_WHEEL_BUCKETS + place) & (RINGSTEP__WHEEL_BUCKETS - 1);
	const __u32 first = wheel->first[bucket];

	timer->next = first;
	timer->previous = 0;
	timer->bucket = bucket + 1;
	if (first)
		timers[(first - 1) & mask].previous = (number & mask) + 1;
	wheel->first[bucket] = (number & mask) + 1;
	wheel->filled[level] |= 1ULL << place;
}

/* Takes a timer out of its bucket. */
static __always_inline void ringstep__wheel_take(struct ringstep_wheel *wheel, struct ringstep_wheel_timer *timers, __u32 mask,
						 __u32 number)
{
	struct ringstep_wheel_timer *const timer = &timers[number & mask];
	const __u32 bucket = (timer->bucket - 1) & (RINGSTEP__WHEEL_BUCKETS - 1);
	const __u32 next = timer->next, previous = timer->previous;

	timer->bucket = 0;
	if (next)
		timers[(next - 1) & mask].previous = previous;
	if (previous)
		timers[(previous - 1) & mask].next = next;
	else
		wheel->first[bucket] = next;
	if (!next && !previous)
		wheel->filled[bucket / RINGSTEP_WHEEL_BUCKETS] &= ~(1ULL << bucket % RINGSTEP_WHEEL_BUCKETS);
}

static __always_inline void ringstep__wheel_cancel(struct ringstep_wheel *wheel, struct ringstep_wheel_timer *timers,
						   __u32 mask, __u32 number)
{
	if (!timers[number & mask].bucket)
		return;
	ringstep__wheel_take(wheel, timers, mask, number);
	wheel->set--;
}

static __always_inline void ringstep__wheel_set(struct ringstep_wheel *wheel, struct ringstep_wheel_timer *timers, __u32 mask,
						__u32 number, __u64 deadline)
{
	struct ringstep_wheel_timer *const timer = &timers[number & mask];
	const __u64 tick = wheel->tick;
	__u64 due;

	if (deadline > RINGSTEP__LAST_DEADLINE) {
		ringstep__wheel_cancel(wheel, timers, mask, number);
		return;
	}
	due = (deadline + (1ULL << RINGSTEP_WHEEL_TICK_SHIFT) - 1) >> RINGSTEP_WHEEL_TICK_SHIFT;
	if (due < tick)
		due = tick;
	if (!timer->bucket) {
		wheel->set++;
	} else {
		if (due >= timer->due) {
			timer->due = due;
			return;
		}
		ringstep__wheel_take(wheel, timers, mask, number);
	}
	timer->due = due;
	ringstep__wheel_put(wheel, timers, mask, number);
}

/*
 * Finds the first bucket that has timers. Returns the tick with which it begins, and stores one more than its number. Returns RINGSTEP_NO_DEADLINE
 * if there is none. In each level, all timers are in buckets behind that of the current tick, and before any timer of the levels above. Only
 * the lowest level has timers in the bucket of the current tick.
 */
static __always_inline __u64 ringstep__wheel_next(const struct ringstep_wheel *wheel, __u32 *bucket)
{
	__u64 level = 0, place, shift;

	while (level < RINGSTEP_WHEEL_LEVELS && !wheel->filled[level])
		level++;
	if (level == RINGSTEP_WHEEL_LEVELS)
		return RINGSTEP_NO_DEADLINE;
	level = (level + ringstep__unknown_zero()) & (RINGSTEP_WHEEL_LEVELS - 1);
	place = ringstep__wheel_lowest(wheel->filled[level] | 1ULL << (RINGSTEP_WHEEL_BUCKETS - 1));
	shift = level * RINGSTEP_WHEEL_LEVEL_SHIFT;
	*bucket = (__u32)(level * RINGSTEP_WHEEL_BUCKETS + place) + 1;
	return ((wheel->tick >> shift & ~(RINGSTEP_WHEEL_BUCKETS - 1ULL)) | place) << shift;
}

/* Does one piece of work. Returns 0: nothing to do, 1: there may be more, 2: timer `number` has expired. */
static __always_inline int ringstep__wheel_turn(struct ringstep_wheel *wheel, struct ringstep_wheel_timer *timers, __u32 mask,
						__u64 now, __u32 *number)
{
	__u64 tick = now >> RINGSTEP_WHEEL_TICK_SHIFT;
	__u32 bucket = wheel->emptied, first;

	if (tick < wheel->tick)
		tick = wheel->tick;
	if (!bucket) {
		const __u64 begin = ringstep__wheel_next(wheel, &bucket);

		if (begin > tick) {
			wheel->tick = tick;
			return 0;
		}
		if (begin > wheel->tick)
			wheel->tick = begin;
		wheel->emptied = bucket;
	}
	bucket = (bucket - 1) & (RINGSTEP__WHEEL_BUCKETS - 1);
	first = wheel->first[bucket];
	if (!first) {
		wheel->emptied = 0;
		wheel->filled[bucket / RINGSTEP_WHEEL_BUCKETS] &= ~(1ULL << bucket % RINGSTEP_WHEEL_BUCKETS);
		return 1;
	}
	first = (first - 1) & mask;
	/* As it is, unless somebody else has written there: so that the bucket has one timer less in any case. */
	timers[first].bucket = bucket + 1;
	timers[first].previous = 0;
	ringstep__wheel_take(wheel, timers, mask, first);
	if (timers[first].due > tick) {
		ringstep__wheel_put(wheel, timers, mask, first);
		return 1;
	}
	wheel->set--;
	*number = first;
	return 2;
}

/* Returns true if no timer is set, and none is being moved to another bucket. */
static __always_inline bool ringstep_wheel_is_idle(const struct ringstep_wheel *wheel)
{
	return !wheel->set && !wheel->emptied;
}

/*
 * Moves an idle wheel to the present. A loop that calls ringstep_wheel_expired() only while timers are set calls this before it sets the first one.
 * Otherwise the wheel would move that timer through several buckets, and the loop would wake up for that.
 *
 * Example: if (ringstep_wheel_is_idle(&state->wheel)) ringstep_wheel_catch_up(&state->wheel, bpf_ktime_get_ns());
 */
static __always_inline void ringstep_wheel_catch_up(struct ringstep_wheel *wheel, __u64 now)
{
	const __u64 tick = now >> RINGSTEP_WHEEL_TICK_SHIFT;

	if (tick > wheel->tick)
		wheel->tick = tick;
}

/*
 * Sets a timer to a deadline, or moves it there if it is set. A deadline that no clock reaches (RINGSTEP_NO_DEADLINE) cancels it. A timer whose
 * deadline has passed expires with the next call of ringstep_wheel_expired().
 *
 * Example: ringstep_wheel_set(&state->wheel, state->timers, connection, ringstep_later(now, state->idle));
 */
#define ringstep_wheel_set(wheel, timers, number, deadline)                                                                    \
	ringstep__wheel_set(wheel, timers, ringstep_mask(timers), number, deadline)

/* Cancels a timer, if it is set. */
#define ringstep_wheel_cancel(wheel, timers, number) ringstep__wheel_cancel(wheel, timers, ringstep_mask(timers), number)

/* Returns true if a timer is set. */
#define ringstep_wheel_is_set(timers, number) ((timers)[(number) & ringstep_mask(timers)].bucket != 0)

/*
 * Takes the next timer whose deadline is `now` or earlier: stores its number and returns true. The timer is then no longer set. Returns false
 * if there is none, or if the limit is used up. `limit` is a local variable: see ringstep_limit().
 *
 * Example: ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, now, &number, limit)) { … }
 */
#define ringstep_wheel_expired(wheel, timers, now, number, limit)                                                              \
	({                                                                                                                     \
		int ringstep__work = 1;                                                                                        \
                                                                                                                               \
		ringstep_while_at_most (limit, ringstep__work == 1)                                                            \
			ringstep__work = ringstep__wheel_turn(wheel, timers, ringstep_mask(timers), now, number);              \
		ringstep__work == 2;                                                                                           \
	})

/*
 * Returns the time until which the loop may wait: RINGSTEP_NO_DEADLINE if no timer is set, and a time that has passed if there is more to do.
 *
 * Example: return ringstep_submit_and_wait_until(turn, 1, ringstep_wheel_deadline(&state->wheel));
 */
static __always_inline __u64 ringstep_wheel_deadline(const struct ringstep_wheel *wheel)
{
	__u32 bucket;
	__u64 tick;

	if (wheel->emptied)
		return 0;
	tick = ringstep__wheel_next(wheel, &bucket);
	return tick > RINGSTEP__LAST_DEADLINE >> RINGSTEP_WHEEL_TICK_SHIFT ? RINGSTEP_NO_DEADLINE
									   : tick << RINGSTEP_WHEEL_TICK_SHIFT;
}

#endif /* RINGSTEP_WHEEL_BPF_H */
