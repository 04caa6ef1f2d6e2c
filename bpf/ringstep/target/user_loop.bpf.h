/* SPDX-License-Identifier: MIT */
/*
 * Defines a loop for user space. Between two turns, the user engine submits, waits and handles wake-ups, as the kernel does for its loops.
 */
#ifndef RINGSTEP_TARGET_USER_LOOP_BPF_H
#define RINGSTEP_TARGET_USER_LOOP_BPF_H

#include <ringstep/hidden.bpf.h>
#include <ringstep/sqe.bpf.h>
#include <ringstep/turn.bpf.h>

#ifndef __VMLINUX_H__
#include <linux/errno.h>
#else
#define EINTR 4
#define EAGAIN 11
#define EBUSY 16
#define EBADR 53
#define EINVAL 22
#define ETIME 62
#endif
#ifndef IORING_ENTER_GETEVENTS
#define IORING_ENTER_GETEVENTS (1U << 0)
#endif

/* Removes the wake-ups from the CQ. */
static __noinline void ringstep__drop_wakes(struct ringstep_user *user)
{
	const __u32 tail = ringstep__ring_load((__u32 *)(user->cq + user->geometry.cq_tail));

	(void)ringstep__drop_from_cq(user, user->control, user->cq, tail, false);
}

/* Sets what is constant in a run, and reads the cursor of the SQ, which only the loop changes during the run. */
static __always_inline void ringstep__run_begin(struct ringstep_turn *turn, struct ringstep_user *user, bool special,
						bool rewinds, __u32 sqe_shift, __u32 cqe_shift)
{
	ringstep__engine_of(&turn->engine, user);
	turn->engine.special = special;
	turn->control = user->control;
	turn->cq = user->cq;
	turn->sq = user->sq;
	turn->usual = !special;
	turn->rewinds = rewinds;
	turn->sqe_shift = sqe_shift;
	turn->cqe_shift = cqe_shift;
	ringstep__turns_look(turn);
	/* Otherwise the compiler would add them up again at each use. */
	barrier_var(turn->head);
	barrier_var(turn->tail);
	barrier_var(turn->cqes);
	ringstep__sq_load(turn);
}

static __always_inline int ringstep__turn_begin(struct ringstep_turn *turn)
{
	struct ringstep_user *user = turn->engine.ring;
	const __u32 stop = ringstep_load(&turn->control->stop);

	if (unlikely(stop)) {
		turn->control->stopped = stop;
		return RINGSTEP_STOP;
	}
	if (unlikely(__atomic_load_n(&user->wakes_sent, __ATOMIC_RELAXED) != user->wakes_seen))
		ringstep__drop_wakes(user);
	turn->engine.wanted = ringstep_load(&user->wanted);
	turn->engine.owes = false;
	turn->engine.deadline = RINGSTEP_NO_DEADLINE;
	RINGSTEP__STEP_BEGINS();
	turn->cut = false;
	ringstep__turns_start(turn);
	RINGSTEP__TRACE(turn, RINGSTEP_TRACE_TURN, turn->cq_head, ringstep_cq_ready(turn), 0);
	return RINGSTEP_CONTINUE;
}

/*
 * Submits `owed` SQEs and sleeps until `wait` completions are in the CQ, unless another thread wants the loop awake. That thread first
 * writes `wanted` or `stop` and then reads `waiting`. The loop writes `waiting` first and then reads them. Both have a barrier in between.
 * Returns the result of io_uring_enter(2).
 */
static __always_inline int ringstep__enter_and_wait(struct ringstep_turn *turn, __u32 owed, __u32 wait)
{
	struct ringstep_user *user = turn->engine.ring;
	__u64 time_left = 0;
	int result;

	if (unlikely(wait && turn->engine.deadline != RINGSTEP_NO_DEADLINE)) {
		const __u64 now = bpf_ktime_get_ns();

		if (turn->engine.deadline > now)
			time_left = turn->engine.deadline - now;
		else
			wait = 0;
	}
	if (wait) {
		__atomic_store_n(&user->waiting, wait, __ATOMIC_RELAXED);
		if (turn->engine.special && user->wait_fences)
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
		else
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (unlikely(__atomic_load_n(&turn->control->stop, __ATOMIC_RELAXED)) ||
		    unlikely(__atomic_load_n(&user->wanted, __ATOMIC_RELAXED) != turn->engine.wanted))
			wait = 0;
	}
	if (owed)
		RINGSTEP__TRACE(turn, RINGSTEP_TRACE_SUBMIT, turn->sq_at - owed, owed, 0);
	if (wait)
		RINGSTEP__TRACE(turn, RINGSTEP_TRACE_WAIT, *turn->head, wait, 0);
	if (unlikely(wait && time_left))
		result = ringstep__enter_for(user, owed, wait, IORING_ENTER_GETEVENTS, time_left);
	else
		result = ringstep__enter(user, owed, wait, IORING_ENTER_GETEVENTS);
	__atomic_store_n(&user->waiting, 0, __ATOMIC_RELAXED);
	if (owed)
		RINGSTEP__TRACE(turn, RINGSTEP_TRACE_SUBMITTED, 0, owed, result);
	return result;
}

/*
 * Returns true if a signal has cut a wait short for which io_uring_enter() reported success. It does so if it has submitted something, or
 * if the CQ contains any completion, even of an earlier turn. Too few completions do not prove a signal, because timeouts also wake up
 * early. No completion at all since the tail was at `tail` does prove one, unless something else has ended the wait. A timeout may
 * even wake up before its completion is posted, so the kernel gets another chance to post it.
 */
static __attribute__((cold, noinline, unused)) bool ringstep__cut_short(struct ringstep_user *user, __u32 tail, __u32 wanted,
									__u64 deadline)
{
	const __u32 *const word = (const __u32 *)(user->cq + user->geometry.cq_tail);

	return ringstep__ring_load(word) == tail && !ringstep_load(&user->control->stop) &&
	       (deadline == RINGSTEP_NO_DEADLINE || bpf_ktime_get_ns() < deadline) && ringstep_load(&user->wanted) == wanted &&
	       ringstep_load(&user->wakes_sent) == user->wakes_seen &&
	       ringstep__enter(user, 0, 0, IORING_ENTER_GETEVENTS) != -EBADR && ringstep__ring_load(word) == tail;
}

/*
 * Enters the kernel once more after an io_uring_enter() that has returned `result` and taken less than all of the `owed` SQEs. A wait for
 * requests that are not in flight might never end, so the next turn follows at once. If the kernel had no memory for requests, those that have
 * completed give theirs back in this call. Returns 0, or a negative errno that ends the run.
 */
static __attribute__((cold, noinline, unused)) int ringstep__enter_again(struct ringstep_user *user, __u32 owed, int result)
{
	if (owed && (result >= 0 || result == -EAGAIN || result == -EBUSY))
		result = ringstep__enter(user, 0, 0, IORING_ENTER_GETEVENTS);
	/* -EBADR: completions were dropped, which the CQ's overflow counter shows. -ETIME: the deadline has passed, which the step sees. */
	return result < 0 && result != -EBADR && result != -ETIME ? result : 0;
}

/*
 * The most times in a row that the engine begins the next turn without entering the kernel. The kernel does its deferred work, and moves
 * completions from the overflow list into the CQ, only during io_uring_enter(2).
 */
#define RINGSTEP__SPARED_ENTERS 64

/*
 * Does the work between two turns: submits if the step left that to the engine, waits, and lets the kernel do its deferred work. One
 * io_uring_enter() does it all if the kernel takes all SQEs. Returns 0, or a negative errno that ends the run.
 */
static __always_inline int ringstep__between_turns(struct ringstep_turn *turn)
{
	const __u32 owed = turn->engine.owes ? ringstep_sq_claimed(turn) : 0;
	const __s32 ahead = (__s32)(turn->engine.cq_wait_idx - *turn->head);
	const __u32 wait = ahead > 0 ? (__u32)ahead : 0;
	const __u32 tail = ringstep__ring_load(turn->tail);
	int result;

	if (!owed && turn->cut)
		return 0;
	/* Nothing is to be submitted, and what the step wants to wait for is there. A run's first pause is never spared. */
	if (!owed && wait && turn->engine.may_spare && tail - *turn->head >= wait) {
		turn->engine.may_spare--;
		return 0;
	}
	turn->engine.may_spare = RINGSTEP__SPARED_ENTERS;
	result = ringstep__enter_and_wait(turn, owed, wait);
	if (likely(result == (int)owed)) {
		/* Else SQEs may be claimed all the same: those of an earlier submit that the kernel did not take. */
		if (owed) {
			ringstep__sq_taken(turn, owed, owed);
			if (turn->rewinds)
				turn->control->claimed = 0;
		}
		if (likely(ringstep_cq_ready(turn) >= wait))
			return 0;
		return ringstep__cut_short(turn->engine.ring, tail, turn->engine.wanted, turn->engine.deadline) ? -EINTR : 0;
	}
	if (result > 0) {
		ringstep__sq_taken(turn, owed, (__u32)result);
		if (turn->rewinds)
			turn->control->claimed = turn->sq_at;
	}
	return ringstep__enter_again(turn->engine.ring, owed, result);
}

/* Ends a turn after the step has returned `result`. Returns 1 for another turn, or the result of the run: 0 or a negative errno. */
static __always_inline int ringstep__after_step(struct ringstep_turn *turn, int result)
{
	/* A step that submits and then stops is unusual, but its requests must still be submitted. */
	if (unlikely(turn->engine.owes && result != RINGSTEP_CONTINUE))
		ringstep_submit(turn);
	result = ringstep__turns_end(turn, result, 1);
	if (unlikely(result != RINGSTEP_CONTINUE))
		return result == RINGSTEP_STOP ? 0 : -EINVAL;
	result = ringstep__between_turns(turn);
	return unlikely(result < 0) ? result : 1;
}

static __always_inline bool ringstep__cq_full(const struct ringstep_user *user)
{
	const __u32 head = *(const __u32 *)(user->cq + user->geometry.cq_head);
	const __u32 tail = ringstep__ring_load((const __u32 *)(user->cq + user->geometry.cq_tail));

	return tail - head > user->geometry.cq_mask;
}

/*
 * Waits for wake-ups that are announced but have not arrived, and drops them, so that the application does not find them in its CQ. The
 * thread that has announced a wake-up sends it at once. The wait lasts at most half a second, in case that thread is gone. No wake-up
 * can arrive in a full CQ. It is dropped when the application takes completions, or by the next run.
 */
static __noinline void ringstep__settle(struct ringstep_user *user)
{
	const struct ringstep__timespec pause = {.nanoseconds = 20000};

	for (int tries = 0; tries < 25000; tries++) {
		int result;

		ringstep__drop_wakes(user);
		if (ringstep_load(&user->wakes_sent) == user->wakes_seen || ringstep__cq_full(user))
			return;
		result = ringstep__enter(user, 0, 0, IORING_ENTER_GETEVENTS);
		if (result < 0 && result != -EINTR && result != -EBADR)
			return;
		ringstep__nanosleep(&pause, (void *)0);
	}
}

#define RINGSTEP_LOOP(loop, state_type)                                                                                        \
	_Static_assert(sizeof(state_type) < (1ULL << 29),                                                                      \
		       "the state has 512 MiB or more, and no loop in the kernel reaches that far: keep what the loop itself " \
		       "does not look at elsewhere in the process");                                                           \
	static __always_inline int loop##_step(struct ringstep_turn *turn, state_type *state);                                 \
	static __always_inline int loop##_run_on(struct ringstep_user *user, bool special, bool rewinds, __u32 sqe_shift,      \
						 __u32 cqe_shift)                                                              \
	{                                                                                                                      \
		struct ringstep_turn turn;                                                                                     \
		int result;                                                                                                    \
                                                                                                                               \
		ringstep__run_begin(&turn, user, special, rewinds, sqe_shift, cqe_shift);                                      \
		do {                                                                                                           \
			if (ringstep__turn_begin(&turn) != RINGSTEP_CONTINUE)                                                  \
				return 0;                                                                                      \
			result = ringstep__after_step(&turn, loop##_step(&turn, (state_type *)(turn.control + 1)));            \
		} while (likely(result > 0));                                                                                  \
		return result;                                                                                                 \
	}                                                                                                                      \
	static int loop##_run(struct ringstep_user *user)                                                                      \
	{                                                                                                                      \
		const struct ringstep_geometry *geometry = &user->geometry;                                                    \
		const bool rewinds = geometry->flags & RINGSTEP_SQ_REWIND;                                                     \
                                                                                                                               \
		/* The usual values are constants in the other two calls. */                                                   \
		if (geometry->sqe_shift != 6 || geometry->cqe_shift != 4 || geometry->cq_mask < RINGSTEP_USUAL_CQ - 1 ||       \
		    user->trace || user->wait_fences)                                                                          \
			return loop##_run_on(user, true, rewinds, geometry->sqe_shift, geometry->cqe_shift);                   \
		if (rewinds)                                                                                                   \
			return loop##_run_on(user, false, true, 6, 4);                                                         \
		return loop##_run_on(user, false, false, 6, 4);                                                                \
	}                                                                                                                      \
	static int loop##_turn(struct ringstep_user *user)                                                                     \
	{                                                                                                                      \
		struct ringstep_turn turn;                                                                                     \
		int result;                                                                                                    \
                                                                                                                               \
		ringstep__run_begin(&turn, user, true, user->geometry.flags &RINGSTEP_SQ_REWIND, user->geometry.sqe_shift,     \
				    user->geometry.cqe_shift);                                                                 \
		result = ringstep__turn_begin(&turn);                                                                          \
		if (result != RINGSTEP_CONTINUE)                                                                               \
			return result;                                                                                         \
		return ringstep__turns_end(&turn, loop##_step(&turn, (state_type *)(turn.control + 1)), 1);                    \
	}                                                                                                                      \
	extern const struct ringstep_user_loop ringstep_user_##loop;                                                           \
	const struct ringstep_user_loop ringstep_user_##loop = {                                                               \
		.abi = RINGSTEP_ABI_VERSION,                                                                                   \
		.state_size = sizeof(state_type),                                                                              \
		.cqe_batch = RINGSTEP_CQE_BATCH,                                                                               \
		.name = #loop,                                                                                                 \
		.run = loop##_run,                                                                                             \
		.settle = ringstep__settle,                                                                                    \
		.turn = loop##_turn,                                                                                           \
	};                                                                                                                     \
	static __always_inline int loop##_step(struct ringstep_turn *turn, state_type *state)

#endif /* RINGSTEP_TARGET_USER_LOOP_BPF_H */
