/* SPDX-License-Identifier: MIT */
/*
 * Completions: walks over the CQ, and waits.
 */
#ifndef RINGSTEP_CQE_BPF_H
#define RINGSTEP_CQE_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/turn.bpf.h>

/*
 * Returns the number of completions in the CQ. It is larger than the CQ if something else than the kernel and the loop has written to head or
 * tail.
 */
static __always_inline __u32 ringstep_cq_ready(struct ringstep_turn *turn)
{
	return ringstep__ring_load(turn->tail) - *turn->head;
}

/* Returns the size of a CQE in bytes: 16, or 32 with IORING_SETUP_CQE32. */
static __always_inline __u32 ringstep_cqe_size(struct ringstep_turn *turn)
{
	return 1U << turn->cqe_shift;
}

/*
 * A walk, with a copy of the current completion. It must be a copy, because the CQE's place is free as soon as the head has moved. A
 * submission in the body of the walk may then post another completion into it.
 */
struct ringstep__walk {
	__u32 at; /* the head */
	__u32 end; /* the head at which to stop. The verifier would know a count of completions left, and follow each value of it */
	__u32 last; /* the head at which a walk that submits has to stop */
	struct {
		__u64 user_data;
		__u32 res;
		__u32 flags;
		__u64 big_cqe[2];
	} cqe;
};

/*
 * Returns true if the CQ can hold so many completions. No kernel leaves more in it. Then something else has written to head or tail, and
 * nothing is taken until they fit together again.
 */
static __always_inline bool ringstep__cq_holds(const struct ringstep_turn *turn, __u32 count)
{
	(void)turn;
	return likely(count <= ringstep__geometry(turn).cq_mask + 1);
}

static __always_inline const __u8 *ringstep__cqe_at(const struct ringstep_turn *turn, const struct ringstep__walk *walk)
{
	return turn->cqes + ((__u64)(walk->at & ringstep__geometry(turn).cq_mask) << turn->cqe_shift);
}

/* Returns true if there is another completion. Drops those that only woke the loop up. */
static __always_inline bool ringstep__walk_more(struct ringstep_turn *turn, struct ringstep__walk *walk)
{
	while (RINGSTEP__WAKES_IN_CQ && walk->at != walk->end &&
	       ringstep__swallow_wake(&turn->engine, ringstep__cqe_at(turn, walk))) {
		++walk->at;
		ringstep__ring_store(turn->head, walk->at);
		turn->cq_head++; /* a wake-up does not count as reaped */
	}
	return walk->at != walk->end;
}

static __always_inline struct ringstep__walk ringstep__walk_begin(struct ringstep_turn *turn)
{
	struct ringstep__walk walk;
	__u32 ready;

	walk.at = ringstep__read_once(turn->head);
	ready = ringstep__ring_load(turn->tail) - walk.at;
	if (ready > RINGSTEP_CQE_BATCH) {
		turn->cut = ringstep__cq_holds(turn, ready);
		ready = turn->cut ? RINGSTEP_CQE_BATCH : 0;
	}
	/* The CQ may be smaller than a batch. In the usual case, it is not smaller than the usual batch. */
	if ((!turn->usual || RINGSTEP_CQE_BATCH > RINGSTEP_USUAL_CQ) && !ringstep__cq_holds(turn, ready))
		ready = 0;
	walk.end = walk.at + ready;
	/* Otherwise the compiler would count the completions left, which is a known number in a full batch. */
	barrier_var(walk.end);
	return walk;
}

/* Counts a completion that does not end its request. Ring::in_flight() needs to know. */
static __always_inline void ringstep__walk_count(struct ringstep_turn *turn, const struct io_uring_cqe *cqe)
{
	if (cqe->flags & IORING_CQE_F_MORE)
		turn->control->unfinished++;
}

/* Takes the next completion, without counting it. */
static __always_inline void ringstep__walk_take(struct ringstep_turn *turn, struct ringstep__walk *walk)
{
	const __u8 *cqe = ringstep__cqe_at(turn, walk);

	walk->cqe.user_data = *(const __u64 *)cqe;
	walk->cqe.res = *(const __u32 *)(cqe + 8);
	walk->cqe.flags = *(const __u32 *)(cqe + 12);
	if (turn->cqe_shift == 5) {
		walk->cqe.big_cqe[0] = *(const __u64 *)(cqe + 16);
		walk->cqe.big_cqe[1] = *(const __u64 *)(cqe + 24);
	}
	++walk->at;
	ringstep__ring_store(turn->head, walk->at);
}

static __always_inline void ringstep__walk_next(struct ringstep_turn *turn, struct ringstep__walk *walk)
{
	ringstep__walk_take(turn, walk);
	ringstep__walk_count(turn, (const struct io_uring_cqe *)&walk->cqe);
}

/*
 * Walks over the completions in the CQ, at most RINGSTEP_CQE_BATCH of them. If there are more, they stay in the CQ for the next turn, which
 * follows at once. A completion is taken when the body begins to run for it, so a break or a return loses no other completion.
 * A step may walk once a turn. With IORING_SETUP_CQE32, cqe->big_cqe is also valid.
 *
 * Example:
 *	struct io_uring_cqe *cqe;
 *
 *	ringstep_for_each_cqe(turn, cqe)
 *		state->bytes += cqe->res;
 */
#define ringstep_for_each_cqe(turn, cqe_var) ringstep__for_each_cqe(turn, cqe_var)
#define ringstep__for_each_cqe(turn, cqe_var)                                                                                  \
	for (struct ringstep__walk ringstep__walk = ringstep__walk_begin(turn);                                                \
	     ringstep__walk_more(turn, &ringstep__walk) && ringstep__may_loop &&                                               \
	     (ringstep__walk_next(turn, &ringstep__walk), cqe_var = (struct io_uring_cqe *)&ringstep__walk.cqe, (void)cqe_var, \
							  true);)

/*
 * Ends the turn and asks for the next one when `count` completions are in the CQ beyond those that this turn took, or at once if this
 * turn's walk stopped at RINGSTEP_CQE_BATCH. `count` is a hint: a signal, a timeout or the kernel's own work may start the next turn
 * earlier. So the step must look at the completions that have arrived, and not rely on their number. A `count` above the size of the CQ
 * means the size of the CQ.
 *
 * Example: return ringstep_wait(turn, 1);
 */
static __always_inline int ringstep_wait(struct ringstep_turn *turn, __u32 count)
{
	if (!(__builtin_constant_p(count) && count <= 1)) {
		if (turn->cut)
			count = 0;
		if (count > ringstep__geometry(turn).cq_mask + 1)
			count = ringstep__geometry(turn).cq_mask + 1;
	}
	ringstep__set_wait(&turn->engine, *turn->head + count);
	return RINGSTEP_CONTINUE;
}

#endif /* RINGSTEP_CQE_BPF_H */
