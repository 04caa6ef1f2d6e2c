/* SPDX-License-Identifier: MIT */
/*
 * Loops that do what io_uring_enter(2) does, with hooks. The application puts requests into the SQ and finds completions in the CQ, as on
 * a ring without a loop. The hooks see the requests and completions pass.
 *
 * The loop's state must have a struct ringstep_enter as the member "enter", and its step must end with ringstep_enter(). The hooks
 * come before that. Each hook is the body of a walk:
 *
 *	#include <ringstep/hooks.bpf.h>
 *	#include "again.h"	// struct again { struct ringstep_enter enter; __u64 swallowed; };
 *
 *	RINGSTEP_LOOP(again, struct again)
 *	{
 *		struct io_uring_sqe *sqe;
 *		struct io_uring_cqe *cqe;
 *
 *		ringstep_for_each_submission(turn, &state->enter, sqe)
 *			ringstep_sqe_set_flags(sqe, IOSQE_ASYNC);
 *
 *		ringstep_for_each_completion(turn, &state->enter, cqe)
 *			if (cqe->res == -ECANCELED) {
 *				ringstep_swallow(turn, &state->enter, cqe);
 *				state->swallowed++;
 *			}
 *		return ringstep_enter(turn, &state->enter);
 *	}
 *
 * A walk that is left out costs nothing. In C++, ringstep::EnterLoop<ringstep::loops::again> runs this loop; see
 * loops/enter_loop.hpp.
 *
 * A hook for submissions sees each SQE of the application once, before the kernel does. It may change the SQE in place, but must not
 * claim SQEs.
 *
 * A hook for completions sees each completion once, before the application does. This includes completions that were in the CQ
 * when the loop was attached to the ring. The hook may change the completion in place, remove it with ringstep_swallow(), and claim
 * SQEs. To try a request again, it claims an SQE, fills it in from the state, and swallows the first completion. SQEs that the hook
 * claims are submitted before the run ends, and the hook also sees their completions. Completions that the hook does not swallow
 * stay in the CQ, in order. A hook that keeps making requests forever keeps the run from ending.
 *
 * Leaving a walk early loses nothing: the next turn's walk goes on with the SQEs or completions that are left. A turn walks over at most
 * RINGSTEP_CQE_BATCH completions, which is 32 unless the loop defines it.
 */
#ifndef RINGSTEP_HOOKS_BPF_H
#define RINGSTEP_HOOKS_BPF_H

/*
 * A call of the program makes one turn. A turn that finds what the application waits for ends the run, so another one in the same call would
 * only be more work for the verifier.
 */
#ifndef RINGSTEP_CALL_TURNS
#define RINGSTEP_CALL_TURNS 1
#endif

#include <ringstep/loop.bpf.h>
#include <ringstep/timer.bpf.h>

#include <ringstep/c/loops/enter.h>
#include <ringstep/hidden.bpf.h>

/* Notes, after the submit, whether the kernel took all of the application's SQEs. Call it before hooks claim more. */
static __always_inline void ringstep__enter_look(struct ringstep_turn *turn, struct ringstep_enter *enter)
{
	if (enter->phase != RINGSTEP_ENTER_SUBMITTED)
		return;
	enter->phase = ringstep_sq_claimed(turn) ? RINGSTEP_ENTER_REFUSED : RINGSTEP_ENTER_WAITING;
}

struct ringstep__submissions {
	__u32 at; /* index among the claimed SQEs */
	__u32 end;
	__u32 base; /* position of the first claimed SQE in the SQ */
};

static __always_inline struct ringstep__submissions ringstep__submissions_begin(struct ringstep_turn *turn,
										struct ringstep_enter *enter)
{
	const __u32 claimed = ringstep_sq_claimed(turn);
	const __u32 hooked = ringstep__read_once(&enter->hooked);
	struct ringstep__submissions walk;

	walk.base = turn->sq_at - claimed; /* 0 with IORING_SETUP_SQ_REWIND */
	walk.at = claimed;
	if (hooked < claimed && enter->phase == RINGSTEP_ENTER_BEGIN)
		walk.at = hooked;
	enter->hooked = walk.at;
	/* Without bounds that the verifier knows, it finds that the iterations look alike. */
	walk.at += (__u32)ringstep__unknown_zero();
	walk.end = claimed + (__u32)ringstep__unknown_zero();
	return walk;
}

static __always_inline struct io_uring_sqe *ringstep__submissions_next(struct ringstep_turn *turn, struct ringstep_enter *enter,
								       struct ringstep__submissions *walk)
{
	const __u32 position = walk->base + walk->at;

	walk->at++;
	enter->hooked = walk->at;
	return (struct io_uring_sqe *)(turn->sq + ((__u64)(position & ringstep__geometry(turn).sq_mask) << turn->sqe_shift));
}

/*
 * Walks over the SQEs that the application has put into the SQ since the last run. With IORING_SETUP_SQE128, the second half of each SQE
 * follows the first in memory.
 *
 * Example:
 *	ringstep_for_each_submission(turn, &state->enter, sqe)
 *		state->submitted[sqe->opcode & 63]++;
 */
#define ringstep_for_each_submission(turn, enter, sqe_var)                                                                     \
	for (struct ringstep__submissions ringstep__submissions = ringstep__submissions_begin(turn, enter);                    \
	     ringstep__submissions.at != ringstep__submissions.end && ringstep__may_loop &&                                    \
	     (sqe_var = ringstep__submissions_next(turn, enter, &ringstep__submissions), true);)

struct ringstep__completions {
	__u32 at; /* index of the CQ, like its head */
	__u32 end;
};

static __always_inline struct ringstep__completions ringstep__completions_begin(struct ringstep_turn *turn,
										struct ringstep_enter *enter)
{
	const __u32 ready = ringstep_cq_ready(turn);
	const __u32 head = ringstep__read_once(turn->head);
	const __u32 tail = head + ready;
	struct ringstep__completions walk;
	__u32 seen = ringstep__read_once(&enter->seen);
	__u32 count;

	ringstep__enter_look(turn, enter);
	enter->walks = 1;
	/* `seen` is out of range: the application has taken completions, or this is the first run. */
	if (tail - seen > ready)
		seen = enter->seen = head;
	walk.at = seen;
	count = tail - seen;
	/* Before the wait, the kernel gets the requests first. */
	if (enter->phase == RINGSTEP_ENTER_BEGIN || !ringstep__cq_holds(turn, ready))
		count = 0;
	if (count > RINGSTEP_CQE_BATCH)
		count = RINGSTEP_CQE_BATCH;
	walk.end = walk.at + count;
	barrier_var(walk.end); /* as in ringstep__walk_begin() */
	walk.end += (__u32)ringstep__unknown_zero();
	return walk;
}

static __always_inline struct io_uring_cqe *ringstep__completions_next(struct ringstep_turn *turn, struct ringstep_enter *enter,
								       struct ringstep__completions *walk)
{
	__u8 *cqe = turn->cqes + ((__u64)(walk->at & ringstep__geometry(turn).cq_mask) << turn->cqe_shift);

	walk->at++;
	enter->seen = walk->at;
	return (struct io_uring_cqe *)cqe;
}

/* Returns true if the current completion is the kit's own, and notes that it must be dropped. */
static __always_inline bool ringstep__completions_skip(struct ringstep_turn *turn, struct ringstep_enter *enter,
						       struct io_uring_cqe *cqe)
{
	if (ringstep__swallow_wake(&turn->engine, (const __u8 *)cqe))
		cqe->user_data = ringstep__hidden_tag(turn->control, dead); /* it was counted, and must not be counted again */
	else if (likely(!ringstep__is_hidden(turn->control, cqe->user_data)))
		return false;
	enter->dropping = 1;
	return true;
}

/*
 * Walks over the completions that have arrived since the last turn, at most RINGSTEP_CQE_BATCH of them. They stay in the CQ, and cqe
 * points to the current one there.
 *
 * Example:
 *	ringstep_for_each_completion(turn, &state->enter, cqe)
 *		if (cqe->res < 0)
 *			state->errors++;
 */
#define ringstep_for_each_completion(turn, enter, cqe_var)                                                                     \
	for (struct ringstep__completions ringstep__completions = ringstep__completions_begin(turn, enter);                    \
	     ringstep__completions.at != ringstep__completions.end && ringstep__may_loop &&                                    \
	     (cqe_var = ringstep__completions_next(turn, enter, &ringstep__completions), true);)                               \
		if (ringstep__completions_skip(turn, enter, cqe_var)) {                                                        \
		} else

/*
 * Removes the current completion from the CQ. The application does not see it, and it does not count as one that the run waits for;
 * LoopExit::completions does count it. Read the completion before this call, because its contents are invalid afterwards.
 *
 * Example: ringstep_swallow(turn, &state->enter, cqe);
 */
static __always_inline void ringstep_swallow(struct ringstep_turn *turn, struct ringstep_enter *enter, struct io_uring_cqe *cqe)
{
	struct ringstep_control *control = turn->control;

	control->reaped++;
	if (cqe->flags & IORING_CQE_F_MORE)
		control->unfinished++;
	cqe->user_data = ringstep__hidden_tag(control, dead);
	enter->dropping = 1;
}

/*
 * Returns the number of completions in the CQ for the application. It first removes swallowed completions and the kit's own from the
 * CQ, so it must not be called inside a walk.
 */
static __always_inline __u32 ringstep_enter_ready(struct ringstep_turn *turn, struct ringstep_enter *enter)
{
	const __u32 ready = ringstep_cq_ready(turn);

	if (likely(!enter->dropping && !turn->control->timer.armed && !turn->control->timer.updates &&
		   !ringstep__wakes_pending(&turn->engine)))
		return ready;
	enter->dropping = 0;
	/* Completions that the hook has not seen must stay in place, because the next walk looks for them there. */
	ringstep__drop_hidden(turn, enter->walks ? enter->seen : *turn->head + ready);
	return ringstep_cq_ready(turn);
}

/* Ends the run, or first submits SQEs that hooks have claimed. */
static __always_inline int ringstep__enter_stop(struct ringstep_turn *turn, struct ringstep_enter *enter, __s64 code)
{
	if (enter->phase == RINGSTEP_ENTER_WAITING && ringstep_sq_claimed(turn))
		return ringstep_submit_and_wait(turn, 0);
	return ringstep_stop(turn, code);
}

/*
 * Ends a step like ringstep_enter(), but lets the next turn begin when `early` completions are in the CQ. The step may then wait on, or ask for
 * fewer.
 *
 * Example: return ringstep_enter_early(turn, &state->enter, 1);
 */
static __always_inline int ringstep_enter_early(struct ringstep_turn *turn, struct ringstep_enter *enter, __u32 early)
{
	const __u64 wake_at = enter->wake_at < enter->deadline ? enter->wake_at : enter->deadline;
	__u32 wanted = enter->min_complete, ready;

	if (wanted > ringstep__geometry(turn).cq_mask + 1)
		wanted = ringstep__geometry(turn).cq_mask + 1;
	if (early > wanted)
		early = wanted;
	if (enter->phase == RINGSTEP_ENTER_BEGIN) {
		const __u32 claimed = ringstep_sq_claimed(turn);

		enter->phase = RINGSTEP_ENTER_SUBMITTED;
		enter->begun = claimed - enter->added;
		enter->hooked = claimed;
		if (ringstep__submits_at_end(&turn->engine) || enter->walks)
			return ringstep_submit_and_wait_until(turn, early, wake_at);
		ringstep_submit(turn);
		if (ringstep__sq_distance(turn))
			return ringstep_wait(turn, 0);
		/* A second turn is needed, even without a wait, only for the kernel's deferred work, which it does between two turns. */
		if (ringstep_enter_ready(turn, enter) >= wanted && !ringstep__kernel_owes_work(&turn->engine)) {
			enter->phase = RINGSTEP_ENTER_WAITING;
			return ringstep_stop(turn, RINGSTEP_ENTER_COMPLETE);
		}
		return ringstep_submit_and_wait_until(turn, early, wake_at);
	}
	ringstep__enter_look(turn, enter);
	ready = ringstep_enter_ready(turn, enter);
	/* The hook must see every completion: those that it has not seen are for the next turn. */
	if (enter->walks && *turn->head + ready != enter->seen) {
		turn->cut = true;
		if (enter->phase == RINGSTEP_ENTER_WAITING)
			return ringstep_submit_and_wait(turn, 0);
		return ringstep_wait(turn, 0);
	}
	if (enter->phase == RINGSTEP_ENTER_REFUSED)
		return ringstep_stop(turn, RINGSTEP_ENTER_PARTIAL);
	if (enter->phase == RINGSTEP_ENTER_FINISH || ready >= wanted)
		return ringstep__enter_stop(turn, enter, RINGSTEP_ENTER_COMPLETE);
	if (ringstep_expired(enter->deadline))
		return ringstep__enter_stop(turn, enter, RINGSTEP_ENTER_TIMED_OUT);
	return ringstep_submit_and_wait_until(turn, early, wake_at);
}

/*
 * Ends a step: submits the application's SQEs and waits for as many completions as the application asked for.
 *
 * Example: return ringstep_enter(turn, &state->enter);
 */
static __always_inline int ringstep_enter(struct ringstep_turn *turn, struct ringstep_enter *enter)
{
	return ringstep_enter_early(turn, enter, ~0U);
}

#endif /* RINGSTEP_HOOKS_BPF_H */
