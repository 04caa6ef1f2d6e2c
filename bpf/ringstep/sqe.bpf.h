/* SPDX-License-Identifier: MIT */
/*
 * Submissions: claiming SQEs and handing them to the kernel.
 *
 * How many are claimed is a variable while a turn lasts, but one that starts from region memory: what the verifier cannot
 * know, it does not have to follow through every iteration of a loop.
 */
#ifndef RINGSTEP_SQE_BPF_H
#define RINGSTEP_SQE_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

/* SQEs that are claimed and not yet submitted, those of earlier turns and of the application included. */
static __always_inline __u32 ringstep_sq_claimed(struct ringstep_turn *turn)
{
	return turn->rewinds ? turn->sq_at : turn->sq_at - turn->sq_end + ringstep__geometry(turn).sq_mask + 1;
}

/* SQEs that can still be claimed before the next submit. */
static __always_inline __u32 ringstep_sq_space_left(struct ringstep_turn *turn)
{
	return turn->rewinds ? ringstep__geometry(turn).sq_mask + 1 - turn->sq_at : turn->sq_end - turn->sq_at;
}

/* Bytes of an SQE: 64, or 128 with IORING_SETUP_SQE128. */
static __always_inline __u32 ringstep_sqe_size(struct ringstep_turn *turn)
{
	return 1U << turn->sqe_shift;
}

/* With SQ_REWIND the kernel always starts at entry 0: what it did not take has to move there. Out of line: it is rare. */
static __noinline int ringstep__sq_compact(ringstep__ring *ring, struct ringstep_control *control, __u8 *sq, __u32 taken,
					   __u32 left)
{
	const __u32 word_shift = ringstep__geometry_of(ring).sqe_shift - 3;
	const __u32 last_word = (ringstep__geometry_of(ring).sq_size >> 3) - 1;
	__u64 *sqes = (__u64 *)sq;
	__u32 i;

	(void)ring;
	bpf_for(i, 0, left << word_shift)
		sqes[i & last_word] = sqes[(i + (taken << word_shift)) & last_word];
	control->claimed = left;
	return 0;
}

/* Of the claimed SQEs, the kernel took the first so many. */
static __always_inline void ringstep__sq_taken(struct ringstep_turn *turn, __u32 claimed, __u32 taken)
{
	turn->control->submitted += taken;
	if (!turn->rewinds) {
		turn->sq_end += taken;
	} else if (taken == claimed) {
		turn->sq_at = 0;
	} else {
		ringstep__sq_compact(turn->engine.ring, turn->control, turn->sq, taken, claimed - taken);
		turn->sq_at = turn->control->claimed;
	}
}

/*
 * Hands all that is claimed to the kernel; requests that complete at once have their completions in the CQ when it returns.
 * Returns how many the kernel took, or a negative errno: -EAGAIN when it has no memory for requests. What it did not take
 * stays claimed, and the next submit tries again. (Without IORING_SETUP_SUBMIT_ALL, the kernel stops behind a request that it
 * refuses; that one counts as taken, its completion carries the error.)
 */
static __always_inline int ringstep_submit(struct ringstep_turn *turn)
{
	const __u32 claimed = ringstep_sq_claimed(turn);
	int taken;

	if (!claimed)
		return 0;
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
 * Submits all that is claimed and waits for count completions: the usual end of a step.
 *
 * Example: return ringstep_submit_and_wait(turn, 1);
 */
static __always_inline int ringstep_submit_and_wait(struct ringstep_turn *turn, __u32 count)
{
	if (ringstep__submits_at_end(&turn->engine))
		return ringstep_wait(turn, count);
	/* What the kernel did not take is not in flight, so waiting for it could be for ever: come round again at once. */
	ringstep_submit(turn);
	if (ringstep_sq_claimed(turn))
		return ringstep_wait(turn, 0);
	return ringstep_wait(turn, count);
}

/* Out of line: it is rare, and every ringstep_get_sqe() would carry a copy of it. */
static __noinline int ringstep__make_room(ringstep__ring *ring, struct ringstep_control *control, __u8 *cq, __u8 *sq)
{
	struct ringstep_turn turn = {.control = control, .cq = cq, .sq = sq};
	int taken;

	ringstep__engine_of(&turn.engine, ring);
	turn.rewinds = ringstep__geometry(&turn).flags & RINGSTEP_SQ_REWIND;
	ringstep__sq_load(&turn);
	taken = ringstep_submit(&turn);
	ringstep__sq_store(&turn);
	return taken;
}

/*
 * Sees to it that count SQEs can be claimed that go into one submission, as requests that are linked have to: submits what is claimed
 * where there are fewer left. False if the kernel took too little of it. In a ringstep_while, call this rather than
 * ringstep_submit(): behind that one the verifier knows how many are claimed, and follows all numbers up to a full SQ.
 *
 * Example: if (ringstep_sq_reserve(turn, 2)) { first = ringstep_get_sqe(turn); second = ringstep_get_sqe(turn); ... }
 */
static __always_inline bool ringstep_sq_reserve(struct ringstep_turn *turn, __u32 count)
{
	if (likely(ringstep_sq_space_left(turn) >= count))
		return true;
	ringstep__sq_store(turn);
	ringstep__make_room(turn->engine.ring, turn->control, turn->cq, turn->sq);
	ringstep__sq_load(turn);
	return ringstep_sq_space_left(turn) >= count;
}

/*
 * Claims the next SQE; fill it in with a ringstep_prep_ helper, which sets every field. Never NULL: a full SQ is submitted
 * first. If the kernel takes nothing even then, the SQE handed out is a dummy, nothing claimed is lost, and the loop ends after
 * this turn with RINGSTEP_FAULT_SQ_FULL.
 */
static __always_inline struct io_uring_sqe *ringstep_get_sqe(struct ringstep_turn *turn)
{
	__u64 *sqe;

	if (turn->rewinds ? turn->sq_at > ringstep__geometry(turn).sq_mask : turn->sq_at == turn->sq_end) {
		int taken;

		ringstep__sq_store(turn);
		taken = ringstep__make_room(turn->engine.ring, turn->control, turn->cq, turn->sq);
		ringstep__sq_load(turn);
		if (taken <= 0) {
			struct ringstep_control *control = turn->control;

			ringstep__not_in_advance(control);
			control->fault = RINGSTEP_FAULT_SQ_FULL;
			return (struct io_uring_sqe *)control->scratch_sqe;
		}
	}
	sqe = (__u64 *)(turn->sq + ((__u64)(turn->sq_at & ringstep__geometry(turn).sq_mask) << turn->sqe_shift));
	turn->sq_at++;
	if (turn->sqe_shift == 7) {
		/* The second half of a long SQE belongs to the command that uses it; the others must find zeroes. */
		for (int i = 8; i < 16; i++)
			sqe[i] = 0;
	}
	return (struct io_uring_sqe *)sqe;
}

#endif /* RINGSTEP_SQE_BPF_H */
