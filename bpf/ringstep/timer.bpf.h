/* SPDX-License-Identifier: MIT */
/*
 * Waits with a deadline.
 *
 * Include this file after <ringstep/loop.bpf.h>, end the step with ringstep_submit_and_wait_until(), and check the clock in each turn.
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
 * A deadline is a time of CLOCK_MONOTONIC in nanoseconds, as bpf_ktime_get_ns() and clock_gettime() count it. It applies to one wait, so
 * each turn must set it again. A loop with several deadlines should wait until the earliest.
 *
 * The user engine passes the deadline to io_uring_enter(). In a kernel whose loops can wait with a timeout (kernel/next; the kit looks
 * for this in BTF), the step passes the deadline to the kernel. In other kernels, including all released ones (up to Linux 7.3), the kit
 * uses an IORING_OP_TIMEOUT request. That has these effects:
 * - The request costs about as much as a nop. One request is enough for many waits whose deadlines only grow. It stays in flight when a
 *   wait ends before its deadline, and fires in a later wait. When it fires, the loop gets one extra turn, and the kit makes a new
 *   request if the loop still needs one. A deadline earlier than that of the request in flight costs one more request, which moves it.
 * - The request's completions take room in the CQ, for two at most. ringstep_for_each_cqe() skips them, and Ring::cq() hides them. Neither
 *   LoopExit nor Ring::in_flight() counts them. A program that is destroyed cancels its request.
 * - A request with IOSQE_IO_DRAIN waits until the timer's request fires, as for every request before it.
 * - A request that cancels everything (IORING_ASYNC_CANCEL_ANY) also cancels the timer's request. The next wait makes another one.
 * - If the kernel refuses the request, because it has no memory, the wait ends at once and the next turn tries again. A loop never
 *   sleeps without the timer that it needs.
 */
#ifndef RINGSTEP_TIMER_BPF_H
#define RINGSTEP_TIMER_BPF_H

#include <ringstep/hidden.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>

/*
 * Returns the deadline that is `nanoseconds` later than `time`. Returns RINGSTEP_NO_DEADLINE if no clock ever gets there, so that a sum
 * that overflows does not become a deadline in the past.
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
 * Returns true if the deadline has passed. RINGSTEP_NO_DEADLINE never passes.
 *
 * Example: if (ringstep_expired(state->deadline)) return ringstep_stop(turn, TIMED_OUT);
 */
static __always_inline bool ringstep_expired(__u64 deadline)
{
	return deadline != RINGSTEP_NO_DEADLINE && bpf_ktime_get_ns() >= deadline;
}

/*
 * Sets the timer to fire at the deadline. Returns 1, or 0 if the kernel did not take the request or refused it. Out of line, because it is
 * rare.
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
	turn.head = ringstep__cq_word(&turn, ringstep__geometry(&turn).cq_head);
	turn.tail = ringstep__cq_word(&turn, ringstep__geometry(&turn).cq_tail);
	turn.rewinds = ringstep__geometry(&turn).flags & RINGSTEP_SQ_REWIND;
	turn.sqe_shift = ringstep__geometry(&turn).sqe_shift;
	if (turn.rewinds)
		ringstep__sq_set(&turn, (__u32)ringstep__unknown_zero()); /* no SQE is claimed */
	else
		ringstep__sq_load(&turn);
	before = turn.sq_at;
	timer->seconds = (__s64)(deadline / 1000000000);
	timer->nanoseconds = (__s64)(deadline % 1000000000);
	sqe = ringstep_get_sqe(&turn);
	ready = ringstep_cq_ready(&turn) + timer->armed; /* an update completes at once */
	if (timer->armed) {
		ringstep_prep_timeout_remove(sqe, ringstep__hidden_tag(control, armed),
					     IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS);
		sqe->addr2 = time;
		ringstep_sqe_set_data64(sqe, ringstep__hidden_tag(control, updates));
	} else {
		ringstep_prep_timeout(sqe, time, 0, IORING_TIMEOUT_ABS);
		ringstep_sqe_set_data64(sqe, ringstep__hidden_tag(control, armed));
	}
	taken = ringstep_submit(&turn);
	if (taken <= 0) {
		turn.sq_at = before;
		ringstep__sq_store(&turn);
		return 0;
	}
	ringstep__sq_store(&turn);
	control->submitted--; /* does not count as the loop's */
	if (timer->armed)
		timer->updates++;
	timer->armed = 1;
	/* An update that comes too late fails, but then the timeout's completion is about to arrive. */
	timer->deadline = deadline;
	/* A timeout that has already completed was refused. Its completion must not end the wait for the step's completions. */
	return ringstep_cq_ready(&turn) <= ready;
}

/*
 * Ends a step: submits all claimed SQEs, then waits for `count` completions, but no longer than until `deadline`. The next turn may begin
 * earlier, as after every wait, so the step must check the clock with ringstep_expired(). The next turn follows at once if the
 * deadline has passed, or if the kernel does not take all claimed SQEs.
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
	if (ringstep__sq_distance(turn))
		return ringstep_wait(turn, 0);
	if (deadline <= RINGSTEP__LAST_DEADLINE && (!control->timer.armed || deadline < control->timer.deadline) &&
	    !turn->cut && ringstep_cq_ready(turn) < count + control->timer.updates) {
		int armed;

		ringstep__sq_store(turn);
		armed = ringstep__arm(turn->engine.ring, control, turn->cq, turn->sq, deadline);
		if (!turn->rewinds) /* otherwise none is claimed, as before */
			ringstep__sq_load(turn);
		if (!armed)
			return ringstep_wait(turn, 0);
	}
	/* An update completes while it is submitted, so its completion is in the CQ now. */
	return ringstep_wait(turn, count + control->timer.updates);
}

/* Returns true if the current completion is the timer's. That completion does not count as reaped. */
static __always_inline bool ringstep__timer_took(struct ringstep_turn *turn, const struct io_uring_cqe *cqe)
{
	if (!RINGSTEP__TIMER_IS_A_REQUEST || likely(!ringstep__is_hidden(turn->control, cqe->user_data)))
		return false;
	ringstep__hidden_gone(turn->control, cqe->user_data);
	turn->cq_head++;
	return true;
}

#undef ringstep_for_each_cqe
#define ringstep_for_each_cqe(turn, cqe_var)                                                                                   \
	ringstep__for_each_cqe(turn, cqe_var)                                                                                  \
		if (ringstep__timer_took(turn, cqe_var)) {                                                                     \
		} else

#endif /* RINGSTEP_TIMER_BPF_H */
