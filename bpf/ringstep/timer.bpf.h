/* SPDX-License-Identifier: MIT */
/*
 * Waiting with a deadline.
 *
 * Include it after <ringstep/loop.bpf.h>, end the step with ringstep_submit_and_wait_until(), and look at the clock: that is all.
 *
 *	#include <ringstep/loop.bpf.h>
 *	#include <ringstep/timer.bpf.h>
 *
 *	RINGSTEP_LOOP(beat, struct beat)	// struct beat { __u64 next, period, beats; __u64 completed; };
 *	{
 *		struct io_uring_cqe *cqe;
 *
 *		ringstep_for_each_cqe(turn, cqe)
 *			state->completed++;
 *		if (ringstep_expired(state->next)) {
 *			state->beats++;
 *			state->next += state->period;
 *		}
 *		return ringstep_submit_and_wait_until(turn, 32, state->next);
 *	}
 *
 * A deadline is a time of CLOCK_MONOTONIC in nanoseconds, as bpf_ktime_get_ns() and clock_gettime() count it. It holds for one wait;
 * each turn says anew until when it waits. A loop with several deadlines waits until the first of them.
 *
 * How it is done is the kit's business. The user engine hands the deadline to io_uring_enter(). In a kernel whose loops can wait with a
 * timeout (kernel/next; the kit looks for it in BTF), the step hands it to the kernel. In others, as in all that have been released
 * (Linux 7.3), it is an IORING_OP_TIMEOUT request, and what follows from that is:
 * - The request costs about a nop. One is enough for many waits whose deadlines only grow: it is left in flight when a wait ends
 *   before its deadline, fires in some later wait, which is one turn for nothing, and is made anew if need be. A deadline that is
 *   earlier than that of the request in flight costs one more request, which moves it.
 * - Its completions take room in the CQ, two at most. ringstep_for_each_cqe() does not hand them out, Ring::cq() hides them, and
 *   neither LoopExit nor Ring::in_flight() counts them. A program that is destroyed takes its request back.
 * - A request with IOSQE_IO_DRAIN waits for it as for every request before it: until it fires.
 * - A request that cancels everything (IORING_ASYNC_CANCEL_ANY) cancels it, too. The next wait makes another.
 * - Where the kernel refuses the request, for want of memory, the wait ends at once, and the next turn tries again. No wait is
 *   without the timer that it needs.
 */
#ifndef RINGSTEP_TIMER_BPF_H
#define RINGSTEP_TIMER_BPF_H

#include <ringstep/own.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>

/*
 * The deadline that is so many nanoseconds later than a time. Where no clock will ever show it, RINGSTEP_NO_DEADLINE: a sum that is
 * too large must not become a deadline that has passed.
 *
 * Example: state->deadline = ringstep_later(bpf_ktime_get_ns(), state->patience);
 */
static __always_inline __u64 ringstep_later(__u64 time, __u64 nanoseconds)
{
	if (time > RINGSTEP__LAST_DEADLINE || nanoseconds > RINGSTEP__LAST_DEADLINE - time)
		return RINGSTEP_NO_DEADLINE;
	return time + nanoseconds;
}

/*
 * Whether the deadline has come. RINGSTEP_NO_DEADLINE never does.
 *
 * Example: if (ringstep_expired(state->deadline)) return ringstep_stop(turn, TIMED_OUT);
 */
static __always_inline bool ringstep_expired(__u64 deadline)
{
	return deadline != RINGSTEP_NO_DEADLINE && bpf_ktime_get_ns() >= deadline;
}

/*
 * Has the timer fire at the deadline. 1, or 0 if there is no such timer: the kernel did not take the request, or refused it. Out of
 * line: it is rare.
 */
static __noinline int ringstep__arm(ringstep__ring *ring, struct ringstep_control *control, __u8 *cq, __u8 *sq, __u64 deadline)
{
	struct ringstep_turn turn = {.control = control, .cq = cq, .sq = sq};
	struct ringstep_timer *timer = &control->timer;
	const __u64 time = control->address + offsetof(struct ringstep_control, timer.seconds);
	struct io_uring_sqe *sqe;
	__u32 before, ready;
	int taken;

	ringstep__engine_of(&turn.engine, ring);
	turn.rewinds = ringstep__geometry(&turn).flags & RINGSTEP_SQ_REWIND;
	turn.sqe_shift = ringstep__geometry(&turn).sqe_shift;
	ringstep__sq_load(&turn);
	before = turn.sq_at;
	timer->seconds = (__s64)(deadline / 1000000000);
	timer->nanoseconds = (__s64)(deadline % 1000000000);
	sqe = ringstep_get_sqe(&turn); /* nothing is claimed, so there is room */
	ready = ringstep_cq_ready(&turn) + timer->armed; /* an update completes at once */
	if (timer->armed) {
		ringstep_prep_timeout_remove(sqe, ringstep__own_tag(control, armed), IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS);
		sqe->addr2 = time;
		ringstep_sqe_set_data64(sqe, ringstep__own_tag(control, updates));
	} else {
		ringstep_prep_timeout(sqe, time, 0, IORING_TIMEOUT_ABS);
		ringstep_sqe_set_data64(sqe, ringstep__own_tag(control, armed));
	}
	taken = ringstep_submit(&turn);
	if (taken <= 0) {
		turn.sq_at = before;
		ringstep__sq_store(&turn);
		return 0;
	}
	ringstep__sq_store(&turn);
	control->submitted--; /* not the loop's */
	if (timer->armed)
		timer->updates++;
	timer->armed = 1;
	/* An update that comes too late fails, and then the timeout's completion is on its way. */
	timer->deadline = deadline;
	/* A timeout that has completed already was refused. Its completion must not count as one of those that the step waits for. */
	return ringstep_cq_ready(&turn) <= ready;
}

/*
 * Submits all that is claimed and waits for count completions, like ringstep_submit_and_wait(), but until the deadline at most: then
 * the step is called, whatever has completed. It is a hint like every wait: the step looks at the clock (ringstep_expired()), for it
 * may be called earlier. A deadline that has passed lets the next turn follow at once. The submit has priority: if the
 * kernel does not take all that is claimed, the next turn follows at once, too.
 *
 * Example: return ringstep_submit_and_wait_until(turn, 32, state->flush_at);
 */
static __always_inline int ringstep_submit_and_wait_until(struct ringstep_turn *turn, __u32 count, __u64 deadline)
{
	struct ringstep_control *control = turn->control;

	if (!RINGSTEP__TIMER_IS_A_REQUEST) {
		ringstep__set_deadline(&turn->engine, deadline);
		return ringstep_submit_and_wait(turn, count);
	}
	ringstep_submit(turn);
	if (ringstep_sq_claimed(turn))
		return ringstep_wait(turn, 0);
	if (deadline <= RINGSTEP__LAST_DEADLINE && (!control->timer.armed || deadline < control->timer.deadline) && !turn->cut &&
	    ringstep_cq_ready(turn) < count + control->timer.updates) {
		int armed;

		ringstep__sq_store(turn);
		armed = ringstep__arm(turn->engine.ring, control, turn->cq, turn->sq, deadline);
		ringstep__sq_load(turn);
		if (!armed)
			return ringstep_wait(turn, 0);
	}
	/* An update completes while it is submitted, and lies in the CQ now. */
	return ringstep_wait(turn, count + control->timer.updates);
}

/* Whether the completion at hand is the timer's. Then it was not reaped. */
static __always_inline bool ringstep__timer_took(struct ringstep_turn *turn, const struct io_uring_cqe *cqe)
{
	if (!RINGSTEP__TIMER_IS_A_REQUEST || likely(!ringstep__is_own(turn->control, cqe->user_data)))
		return false;
	ringstep__own_gone(turn->control, cqe->user_data);
	turn->cq_head++;
	return true;
}

#undef ringstep_for_each_cqe
#define ringstep_for_each_cqe(turn, cqe_var)                                                                                   \
	ringstep__for_each_cqe(turn, cqe_var) if (ringstep__timer_took(turn, cqe_var))                                         \
	{                                                                                                                      \
	}                                                                                                                      \
	else

#endif /* RINGSTEP_TIMER_BPF_H */
