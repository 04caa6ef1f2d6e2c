/* SPDX-License-Identifier: MIT */
/*
 * Submissions: claims SQEs and submits them to the kernel.
 *
 * During a turn, the number of claimed SQEs is in a local variable that is first read from region memory. So the verifier does not know
 * its value, and does not follow each value through every iteration of a loop. It is read once a turn: what another thread writes to the
 * count during the turn has no effect, and a count beyond the SQ's entries counts as none. So a step submits at most the SQ's entries and
 * the SQEs that it claims itself, whatever happens to the memory.
 */
#ifndef RINGSTEP_SQE_BPF_H
#define RINGSTEP_SQE_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

static __always_inline __u32 ringstep__sq_distance(const struct ringstep_turn *turn)
{
	return turn->rewinds ? turn->sq_at : turn->sq_at - turn->sq_end + ringstep__geometry(turn).sq_mask + 1;
}

/* Returns the number of claimed SQEs that are not yet submitted, including those of earlier turns and of the application. */
static __always_inline __u32 ringstep_sq_claimed(struct ringstep_turn *turn)
{
	if (ringstep__sq_is_wrong(turn))
		return 0;
	return ringstep__sq_distance(turn);
}

/* Returns the number of SQEs that can be claimed before the next submit. */
static __always_inline __u32 ringstep_sq_space_left(struct ringstep_turn *turn)
{
	if (!turn->rewinds)
		return turn->sq_end - turn->sq_at;
	return turn->sq_at > ringstep__geometry(turn).sq_mask ? 0 : ringstep__geometry(turn).sq_mask + 1 - turn->sq_at;
}

/* Returns the size of an SQE in bytes: 64, or 128 with IORING_SETUP_SQE128. */
static __always_inline __u32 ringstep_sqe_size(struct ringstep_turn *turn)
{
	return 1U << turn->sqe_shift;
}

/* Moves the SQEs that the kernel did not take to entry 0, where it always starts with SQ_REWIND. Out of line, because it is rare. */
static __noinline int ringstep__sq_compact(ringstep__ring *ring, __u8 *sq, __u32 taken, __u32 left)
{
	const __u32 word_shift = ringstep__geometry_of(ring).sqe_shift - 3;
	const __u32 last_word = (ringstep__geometry_of(ring).sq_size >> 3) - 1;
	__u64 *sqes = (__u64 *)sq;
	__u32 i;

	(void)ring;
	bpf_for(i, 0, left << word_shift)
		sqes[i & last_word] = sqes[(i + (taken << word_shift)) & last_word];
	return 0;
}

/* Notes that the kernel took the first `taken` of the `claimed` SQEs. */
static __always_inline void ringstep__sq_taken(struct ringstep_turn *turn, __u32 claimed, __u32 taken)
{
	turn->control->submitted += taken;
	if (!turn->rewinds) {
		turn->sq_end += taken;
	} else if (taken == claimed) {
		turn->sq_at = 0;
	} else {
		ringstep__sq_compact(turn->engine.ring, turn->sq, taken, claimed - taken);
		turn->sq_at = claimed - taken + (__u32)ringstep__unknown_zero();
	}
}

/*
 * Submits all claimed SQEs to the kernel. Returns how many the kernel took, or a negative errno: -EAGAIN if it has no memory for requests.
 * SQEs that it did not take stay claimed, and the next submit tries them again. Requests that complete at once have their completions in
 * the CQ when this returns. Without IORING_SETUP_SUBMIT_ALL, the kernel stops after a request that it refuses. The refused request counts
 * as taken, and its completion carries the error.
 */
static __always_inline int ringstep_submit(struct ringstep_turn *turn)
{
	const __u32 claimed = ringstep__sq_distance(turn);
	int taken;

	if (!claimed)
		return 0;
	if (ringstep__sq_is_wrong(turn)) {
		turn->sq_at = (__u32)ringstep__unknown_zero();
		return 0;
	}
	if (!turn->rewinds)
		ringstep__sq_store(turn);
	RINGSTEP__TRACE(turn, RINGSTEP_TRACE_SUBMIT, turn->sq_at - claimed, claimed, 0);
	taken = ringstep__submit_sqes(&turn->engine, claimed);
	RINGSTEP__TRACE(turn, RINGSTEP_TRACE_SUBMITTED, 0, claimed, taken);
	if (taken < 0)
		return taken;
	ringstep__sq_taken(turn, claimed, (__u32)taken);
	return taken;
}

/*
 * Ends a step: submits all claimed SQEs, then waits for `count` completions. If the kernel did not take all SQEs, the next turn follows at
 * once.
 *
 * Example: return ringstep_submit_and_wait(turn, 1);
 */
static __always_inline int ringstep_submit_and_wait(struct ringstep_turn *turn, __u32 count)
{
	if (ringstep__submits_at_end(&turn->engine))
		return ringstep_wait(turn, count);
	/* SQEs that the kernel did not take are not in flight, so a wait for them might never end. The next turn must follow at once. */
	ringstep_submit(turn);
	if (ringstep__sq_distance(turn))
		return ringstep_wait(turn, 0);
	return ringstep_wait(turn, count);
}

/*
 * Submits the claimed SQEs of a full SQ. Returns how many are claimed afterwards. Out of line, because it is rare and every
 * ringstep_get_sqe() would have a copy of it.
 */
static __noinline __u32 ringstep__submit_claimed(ringstep__ring *ring, struct ringstep_control *control, __u8 *cq, __u8 *sq,
						 __u32 at)
{
	struct ringstep_turn turn = {.control = control, .cq = cq, .sq = sq};

	ringstep__engine_of(&turn.engine, ring);
	turn.rewinds = ringstep__geometry(&turn).flags & RINGSTEP_SQ_REWIND;
	ringstep__sq_set(&turn, at);
	ringstep_submit(&turn);
	return ringstep_sq_claimed(&turn);
}

static __always_inline void ringstep__make_room(struct ringstep_turn *turn)
{
	const __u32 left = ringstep__submit_claimed(turn->engine.ring, turn->control, turn->cq, turn->sq, turn->sq_at);

	/* Otherwise the verifier would know how many are left, or how far head and tail are apart. */
	if (turn->rewinds)
		turn->sq_at = left + (__u32)ringstep__unknown_zero();
	else
		ringstep__sq_set(turn, turn->sq_at + (__u32)ringstep__unknown_zero());
}

/*
 * Makes room for `count` SQEs in one submission, as linked requests need. If fewer are free, it submits the claimed SQEs first. Returns
 * false if the kernel took too few of them. In a ringstep_while, call this function and not ringstep_submit(). After ringstep_submit(),
 * the verifier knows how many SQEs are claimed, and follows all numbers up to a full SQ.
 *
 * Example: if (ringstep_sq_reserve(turn, 2)) { first = ringstep_get_sqe(turn); second = ringstep_get_sqe(turn); ... }
 */
static __always_inline bool ringstep_sq_reserve(struct ringstep_turn *turn, __u32 count)
{
	if (likely(ringstep_sq_space_left(turn) >= count))
		return true;
	ringstep__make_room(turn);
	return ringstep_sq_space_left(turn) >= count;
}

/* Returns how many SQEs ringstep__claim() may claim. */
static __always_inline __u32 ringstep__sq_room(struct ringstep_turn *turn)
{
	const __u32 room = ringstep_sq_space_left(turn);

	/* Otherwise the verifier would know something about the cursor, and would follow each of its values through a loop. */
	turn->sq_at += (__u32)ringstep__unknown_zero();
	return room;
}

static __always_inline bool ringstep__sq_is_full(const struct ringstep_turn *turn)
{
	return turn->rewinds ? turn->sq_at > ringstep__geometry(turn).sq_mask : turn->sq_at == turn->sq_end;
}

/* Returns true if an SQE can be claimed. If the SQ is full, submits its SQEs first. */
static __always_inline bool ringstep__has_room(struct ringstep_turn *turn)
{
	if (!ringstep__sq_is_full(turn))
		return true;
	ringstep__make_room(turn);
	return ringstep_sq_space_left(turn);
}

/* Returns the SQE that the next claim gets, for which there must be room. */
static __always_inline struct io_uring_sqe *ringstep__sqe_at_cursor(struct ringstep_turn *turn)
{
	__u64 *sqe = (__u64 *)(turn->sq + ((__u64)(turn->sq_at & ringstep__geometry(turn).sq_mask) << turn->sqe_shift));

	if (turn->sqe_shift == 7) {
		/* Only some commands use the second half of a long SQE; all others need zeros there. */
		for (int i = 8; i < 16; i++)
			sqe[i] = 0;
	}
	return (struct io_uring_sqe *)sqe;
}

/* Notes that the step needs an SQE, and none is free. The run ends after this turn. Returns a dummy to hand out in its place. */
static __always_inline struct io_uring_sqe *ringstep__sq_fault(struct ringstep_turn *turn)
{
	struct ringstep_control *control = turn->control;

	ringstep__not_in_advance(control);
	control->fault = RINGSTEP_FAULT_SQ_FULL;
	return (struct io_uring_sqe *)control->scratch_sqe;
}

/* Claims the next SQE, for which there must be room. */
static __always_inline struct io_uring_sqe *ringstep__claim(struct ringstep_turn *turn)
{
	struct io_uring_sqe *sqe = ringstep__sqe_at_cursor(turn);

	/* The verifier of Linux 6.12 would tell paths with a claim from those without, and follow each of them. */
	turn->sq_at = ringstep__forget(turn->sq_at + 1);
	return sqe;
}

/*
 * Returns the SQE that the next claim gets, for a step that fills it in before it knows whether it will submit anything. It then calls
 * ringstep_claim_sqe(), or leaves the SQE where it is. If no SQE is free, returns a dummy, like ringstep_get_sqe(). That ends the loop only if
 * the step claims the dummy.
 *
 * Example: if (fill_in(state, ringstep_next_sqe(turn))) ringstep_claim_sqe(turn);
 */
static __always_inline struct io_uring_sqe *ringstep_next_sqe(struct ringstep_turn *turn)
{
	if (!ringstep__has_room(turn))
		return (struct io_uring_sqe *)turn->control->scratch_sqe;
	return ringstep__sqe_at_cursor(turn);
}

/* Claims the SQE that ringstep_next_sqe() has returned. If that is a dummy, the loop ends after this turn with RINGSTEP_FAULT_SQ_FULL. */
static __always_inline void ringstep_claim_sqe(struct ringstep_turn *turn)
{
	if (likely(!ringstep__sq_is_full(turn)))
		turn->sq_at = ringstep__forget(turn->sq_at + 1);
	else
		ringstep__sq_fault(turn);
}

/*
 * Returns true if an SQE is free. If the SQ is full, submits the claimed SQEs first. A step that can also leave a request for the next turn asks
 * this, and then fills in ringstep_next_sqe() and calls ringstep_claim_sqe().
 */
static __always_inline bool ringstep_sq_has_room(struct ringstep_turn *turn)
{
	/* Not by way of ringstep__has_room(): with that order of branches, the verifier of Linux 6.12 reaches its limit in compiled graphs. */
	if (likely(!ringstep__sq_is_full(turn)))
		return true;
	ringstep__make_room(turn);
	return ringstep_sq_space_left(turn);
}

/*
 * Claims the next SQE and returns it; it never returns NULL. Fill the SQE in with a ringstep_prep_ helper, which sets every field. If the
 * SQ is full, its SQEs are submitted first. If the kernel then takes none, the returned SQE is a dummy, and the loop ends after this turn
 * with RINGSTEP_FAULT_SQ_FULL. No claimed SQE is lost.
 */
static __always_inline struct io_uring_sqe *ringstep_get_sqe(struct ringstep_turn *turn)
{
	if (!ringstep__has_room(turn))
		return ringstep__sq_fault(turn);
	return ringstep__claim(turn);
}

static __always_inline struct ringstep__walk ringstep__walk_begin_submitting(struct ringstep_turn *turn)
{
	struct ringstep__walk walk = ringstep__walk_begin(turn);

	/* Otherwise the verifier would know how far it is to the end of the walk. */
	walk.last = walk.at + (RINGSTEP_CQE_BATCH + (__u32)ringstep__unknown_zero());
	return walk;
}

/*
 * Returns true if there is another completion. If there is none, submits the claimed SQEs, and looks again for those that have completed at
 * once.
 */
static __always_inline bool ringstep__walk_submits(struct ringstep_turn *turn, struct ringstep__walk *walk)
{
	__u32 ready, most;

	if (ringstep__walk_more(turn, walk))
		return true;
	most = walk->last - walk->at;
	if (!RINGSTEP__WALK_MAY_SUBMIT(turn) || !most || !ringstep__sq_distance(turn))
		return false;
	ringstep_submit(turn);
	if (ringstep__sq_distance(turn))
		return false; /* the kernel has not taken all of them */
	/* Otherwise the verifier would know how many are claimed, and would follow each number through the walk. */
	turn->sq_at += (__u32)ringstep__unknown_zero();
	if (!turn->rewinds)
		turn->sq_end += (__u32)ringstep__unknown_zero();
	walk->at += (__u32)ringstep__unknown_zero();
	ready = ringstep__ring_load(turn->tail) - walk->at;
	if (ready > most) {
		turn->cut = ringstep__cq_holds(turn, ready);
		ready = turn->cut ? most : 0;
	}
	walk->end = walk->at + ready;
	barrier_var(walk->end);
	return ready;
}

/*
 * Walks over completions like ringstep_for_each_cqe(), for a body that claims SQEs as an answer to the completion at hand. In the kernel, the
 * walk goes on with the requests that complete at once: when no completion is left, it submits the claimed SQEs, and walks over what has
 * come since. In all, it takes RINGSTEP_CQE_BATCH completions. That costs less than a turn for each of those requests. The user engine submits
 * at the end of the turn, together with the wait.
 *
 * Example:
 *	ringstep_for_each_cqe_submitting(turn, cqe) {
 *		state->done++;
 *		if (state->left) {
 *			ringstep_prep_nop(ringstep_get_sqe(turn));
 *			state->left--;
 *		}
 *	}
 */
#define ringstep_for_each_cqe_submitting(turn, cqe_var)                                                                        \
	ringstep__for_each_cqe_submitting(turn, cqe_var) if (ringstep__walk_count(turn, cqe_var), true)
#define ringstep__for_each_cqe_submitting(turn, cqe_var)                                                                       \
	for (struct ringstep__walk ringstep__walk = ringstep__walk_begin_submitting(turn);                                     \
	     ringstep__walk_submits(turn, &ringstep__walk) && ringstep__may_loop &&                                            \
	     (ringstep__walk_take(turn, &ringstep__walk), cqe_var = (struct io_uring_cqe *)&ringstep__walk.cqe, (void)cqe_var, \
							  true);)

#endif /* RINGSTEP_SQE_BPF_H */
