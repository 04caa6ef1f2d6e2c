/* SPDX-License-Identifier: MIT */
/*
 * The definition of a loop for user space, and what the kernel does between the turns of its own: submitting, waiting, waking.
 */
#ifndef RINGSTEP_TARGET_USER_LOOP_BPF_H
#define RINGSTEP_TARGET_USER_LOOP_BPF_H

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

/*
 * Takes the completions that only were to wake the loop up out of the CQ: the others move together towards its tail, where the
 * kernel does not write before the head has passed.
 */
static __noinline void ringstep__drop_wakes(struct ringstep_user *user)
{
	const struct ringstep_geometry *geometry = &user->geometry;
	__u32 *const head_word = (__u32 *)(user->cq + geometry->cq_head);
	const __u32 head = *head_word;
	const __u32 tail = ringstep__ring_load((__u32 *)(user->cq + geometry->cq_tail));
	const __u32 words = (1U << geometry->cqe_shift) / sizeof(__u64);
	__u64 *const cqes = (__u64 *)(user->cq + geometry->cqes);
	__u32 from = tail, to = tail, i;

	if (tail - head > geometry->cq_mask + 1)
		return; /* not a state that a kernel leaves behind */
	while (from != head) {
		const __u64 *cqe = cqes + (__u64)(--from & geometry->cq_mask) * words;

		if (cqe[0] == user->wake_tag)
			continue;
		to--;
		if (to != from) {
			for (i = 0; i < words; i++)
				cqes[(__u64)(to & geometry->cq_mask) * words + i] = cqe[i];
		}
	}
	user->wakes_seen += to - head;
	ringstep__ring_store(head_word, to);
}

/* What stays the same for all turns of a run, and where the SQ stands: nobody else writes to it meanwhile. */
static __always_inline void ringstep__run_begin(struct ringstep_turn *turn, struct ringstep_user *user, bool special, bool rewinds,
						__u32 sqe_shift, __u32 cqe_shift)
{
	ringstep__engine_of(&turn->engine, user);
	turn->engine.special = special;
	turn->control = user->control;
	turn->cq = user->cq;
	turn->sq = user->sq;
	turn->rewinds = rewinds;
	turn->sqe_shift = sqe_shift;
	turn->cqe_shift = cqe_shift;
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
	ringstep__turn_start(turn);
	RINGSTEP__TRACE(turn, RINGSTEP_TRACE_TURN, turn->cq_head, ringstep_cq_ready(turn), 0);
	return RINGSTEP_CONTINUE;
}

/*
 * Sleeps until so many completions are there, after a look at whether somebody wants the loop awake. Whoever does first writes that
 * down and then reads our announcement, with a barrier on both sides in between.
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
 * Whether a signal has cut a wait short that io_uring_enter() calls a success: it does so if it has submitted something, or if there is
 * any completion, that of an earlier turn included. Completions too few are no sign of it, timeouts wake up early, too. But none at all
 * since the tail stood at `tail` are, unless something else has ended the wait. A timeout may even wake up before its completion is
 * there, and so the kernel gets another chance to post it.
 */
static __always_inline bool ringstep__cut_short(struct ringstep_turn *turn, __u32 wait, __u32 tail)
{
	const struct ringstep_user *user = turn->engine.ring;

	if (likely(ringstep_cq_ready(turn) >= wait || ringstep_cq_ready(turn) + *turn->head != tail))
		return false;
	return !ringstep_load(&turn->control->stop) &&
	       (turn->engine.deadline == RINGSTEP_NO_DEADLINE || bpf_ktime_get_ns() < turn->engine.deadline) &&
	       ringstep_load(&user->wanted) == turn->engine.wanted && ringstep_load(&user->wakes_sent) == user->wakes_seen &&
	       ringstep__enter_and_wait(turn, 0, 0) != -EBADR && ringstep_cq_ready(turn) + *turn->head == tail;
}

/*
 * What happens between two turns: submits if the step left that to us, waits, and has the kernel do its deferred work: all of it one
 * io_uring_enter(), if the kernel takes all SQEs. Returns 0, or a negative errno that ends the run.
 */
static __always_inline int ringstep__between_turns(struct ringstep_turn *turn)
{
	const __u32 owed = turn->engine.owes ? ringstep_sq_claimed(turn) : 0;
	const __s32 ahead = (__s32)(turn->engine.cq_wait_idx - *turn->head);
	const __u32 wait = ahead > 0 ? (__u32)ahead : 0;
	const __u32 tail = wait ? ringstep_cq_ready(turn) + *turn->head : 0;
	int result;

	if (!owed && turn->cut)
		return 0;
	result = ringstep__enter_and_wait(turn, owed, wait);
	if (owed && likely(result >= 0)) {
		ringstep__sq_taken(turn, owed, (__u32)result);
		if (turn->rewinds)
			turn->control->claimed = turn->sq_at;
		if (likely((__u32)result == owed))
			return ringstep__cut_short(turn, wait, tail) ? -EINTR : 0;
		/* Some are not in flight, so waiting for them could be for ever: the next turn follows, and submits them. */
		result = ringstep__enter_and_wait(turn, 0, 0);
	} else if (owed && (result == -EAGAIN || result == -EBUSY)) {
		/* Out of memory for requests: those that are done give theirs back in here. */
		result = ringstep__enter_and_wait(turn, 0, 0);
	} else if (!owed && likely(result >= 0)) {
		return ringstep__cut_short(turn, wait, tail) ? -EINTR : 0;
	}
	/* -EBADR: completions were dropped, which the CQ's overflow counter tells. -ETIME: the deadline, which the step sees. */
	if (unlikely(result < 0) && result != -EBADR && result != -ETIME)
		return result;
	return 0;
}

/* The step has returned: to what io_uring_enter() would return, or 1 to take the next turn. */
static __always_inline int ringstep__after_step(struct ringstep_turn *turn, int result)
{
	/* To submit and then not to go on is odd, but then the kernel has the requests all the same. */
	if (unlikely(turn->engine.owes && result != RINGSTEP_CONTINUE))
		ringstep_submit(turn);
	result = ringstep__turn_end(turn, result);
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
 * Wake-ups that are on their way when the loop has ended would come up in the application's CQ. They are only a moment away: whoever
 * announced them sends them at once. Half a second at most, should that thread be gone. Into a full CQ none can come: those are dropped
 * when the application takes completions out of it, or by the next run.
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
		       "the state has 512 MiB or more, and no loop in the kernel reaches that far: keep what the loop itself "  \
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
		/* What is usual is constant there. */                                                                         \
		if (geometry->sqe_shift != 6 || geometry->cqe_shift != 4 || user->trace || user->wait_fences)                  \
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
		ringstep__run_begin(&turn, user, true, user->geometry.flags & RINGSTEP_SQ_REWIND, user->geometry.sqe_shift,    \
				    user->geometry.cqe_shift);                                                                 \
		result = ringstep__turn_begin(&turn);                                                                          \
		if (result != RINGSTEP_CONTINUE)                                                                               \
			return result;                                                                                         \
		return ringstep__turn_end(&turn, loop##_step(&turn, (state_type *)(turn.control + 1)));                        \
	}                                                                                                                      \
	extern const struct ringstep_user_loop ringstep_user_##loop;                                                           \
	const struct ringstep_user_loop ringstep_user_##loop = {                                                               \
		.abi = RINGSTEP_ABI_VERSION,                                                                                   \
		.state_size = sizeof(state_type),                                                                              \
		.name = #loop,                                                                                                 \
		.run = loop##_run,                                                                                             \
		.settle = ringstep__settle,                                                                                    \
		.turn = loop##_turn,                                                                                           \
	};                                                                                                                     \
	static __always_inline int loop##_step(struct ringstep_turn *turn, state_type *state)

#endif /* RINGSTEP_TARGET_USER_LOOP_BPF_H */
