/* SPDX-License-Identifier: MIT */
/*
 * Submissions: claiming SQEs and handing them to the kernel.
 *
 * How many are claimed is kept in region memory, never in a variable: what the verifier cannot know, it does not have to
 * follow through every iteration of a loop.
 */
#ifndef RINGSTEP_SQE_BPF_H
#define RINGSTEP_SQE_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

static __always_inline bool ringstep__rewinds(void)
{
	return ringstep_geometry.flags & RINGSTEP_SQ_REWIND;
}

/* SQEs that are claimed and not yet submitted, those of earlier turns and of the application included. */
static __always_inline __u32 ringstep_sq_claimed(struct ringstep_turn *turn)
{
	if (ringstep__rewinds())
		return turn->control->claimed;
	return *ringstep__cq_word(turn, ringstep_geometry.sq_tail) - *ringstep__cq_word(turn, ringstep_geometry.sq_head);
}

/* SQEs that can still be claimed before the next submit. */
static __always_inline __u32 ringstep_sq_space_left(struct ringstep_turn *turn)
{
	return ringstep_geometry.sq_mask + 1 - ringstep_sq_claimed(turn);
}

/* With SQ_REWIND the kernel always starts at entry 0: what it did not take has to move there. */
static __always_inline void ringstep__sq_compact(struct ringstep_turn *turn, __u32 taken, __u32 left)
{
	const __u32 word_shift = ringstep_geometry.sqe_shift - 3;
	const __u32 last_word = (ringstep_geometry.sq_size >> 3) - 1;
	__u64 *sqes = (__u64 *)turn->sq;
	__u32 i;

	bpf_for(i, 0, left << word_shift)
		sqes[i & last_word] = sqes[(i + (taken << word_shift)) & last_word];
	turn->control->claimed = left;
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
	taken = bpf_io_uring_submit_sqes___ringstep(turn->ctx, claimed);
	if (taken < 0)
		return taken;
	turn->control->submitted += (__u32)taken;
	if (ringstep__rewinds()) {
		turn->control->claimed = 0;
		if ((__u32)taken < claimed)
			ringstep__sq_compact(turn, (__u32)taken, claimed - (__u32)taken);
	}
	return taken;
}

/*
 * Submits all that is claimed and waits for count completions: the usual end of a step.
 *
 * Example: return ringstep_submit_and_wait(turn, 1);
 */
static __always_inline int ringstep_submit_and_wait(struct ringstep_turn *turn, __u32 count)
{
	/* While the kernel still owes a submit, waiting could be for ever: come round again at once. */
	if (ringstep_submit(turn) < 0)
		count = 0;
	return ringstep_wait(turn, count);
}

/* Out of line: it is rare, and every ringstep_get_sqe() would carry a copy of it. */
static __noinline int ringstep__make_room(struct iou_ctx___ringstep *ctx, struct ringstep_control *control, __u8 *cq, __u8 *sq)
{
	struct ringstep_turn turn = {.ctx = ctx, .control = control, .cq = cq, .sq = sq};

	return ringstep_submit(&turn);
}

/*
 * Claims the next SQE; fill it in with a ringstep_prep_ helper, which sets every field. Never NULL: a full SQ is submitted
 * first. If the kernel takes nothing even then, the SQE handed out is a dummy, nothing claimed is lost, and the loop ends after
 * this turn with RINGSTEP_FAULT_SQ_FULL.
 */
static __always_inline struct io_uring_sqe *ringstep_get_sqe(struct ringstep_turn *turn)
{
	__u32 *claimed = ringstep__rewinds() ? &turn->control->claimed : ringstep__cq_word(turn, ringstep_geometry.sq_tail);
	__u64 *sqe;

	if (ringstep_sq_claimed(turn) > ringstep_geometry.sq_mask &&
	    ringstep__make_room(turn->ctx, turn->control, turn->cq, turn->sq) <= 0) {
		turn->control->fault = RINGSTEP_FAULT_SQ_FULL;
		return (struct io_uring_sqe *)turn->control->scratch_sqe;
	}
	sqe = (__u64 *)(turn->sq + ((__u64)(*claimed & ringstep_geometry.sq_mask) << ringstep_geometry.sqe_shift));
	++*claimed;
	if (ringstep_geometry.sqe_shift == 7) {
		/* The second half of a long SQE belongs to the command that uses it; the others must find zeroes. */
		for (int i = 8; i < 16; i++)
			sqe[i] = 0;
	}
	return (struct io_uring_sqe *)sqe;
}

#endif /* RINGSTEP_SQE_BPF_H */
