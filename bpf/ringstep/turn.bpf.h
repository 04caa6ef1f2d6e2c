/* SPDX-License-Identifier: MIT */
/*
 * A turn, which is one run of the step, and its end.
 */
#ifndef RINGSTEP_TURN_BPF_H
#define RINGSTEP_TURN_BPF_H

#include <ringstep/target.bpf.h>
#include <ringstep/types.bpf.h>

/*
 * One turn. Authors pass it to the kit's functions and must not use its members. It is valid until the step returns.
 *
 * If the compiler leaves a function that takes the turn out of line, the turn is on the stack. The verifier tracks a number on the stack
 * only if the number has eight bytes of its own. So the numbers that the verifier must know are eight bytes wide.
 */
struct ringstep_turn {
	struct ringstep__engine engine;
	struct ringstep_control *control;
	__u8 *cq;	 /* CQ region: headers and CQEs */
	__u8 *sq;	 /* SQ region: SQEs */
	__u32 *head;	 /* the head of the CQ */
	__u32 *tail;	 /* the tail of the CQ */
	__u8 *cqes;	 /* the CQEs */
	__u32 cq_head;	 /* the head when the call or turn began, plus completions that do not count as reaped */
	__u32 sq_at;	 /* position at which the next SQE is claimed */
	__u32 sq_end;	 /* position at which the SQ is full */
	__u64 usual;	 /* RINGSTEP_USUAL, in the compiler's eyes: it may be false in the usual case, too */
	__u64 rewinds;	 /* IORING_SETUP_SQ_REWIND */
	__u64 sqe_shift; /* log2 of an SQE's size */
	__u64 cqe_shift; /* log2 of a CQE's size */
	__u64 cut;	 /* the walk over completions ended at RINGSTEP_CQE_BATCH, with more of them in the CQ */
};

static __always_inline __u32 *ringstep__cq_word(const struct ringstep_turn *turn, __u32 offset)
{
	return (__u32 *)(turn->cq + offset);
}

/*
 * Sets the cursor of the SQ. More claimed SQEs than the SQ has entries are not a state of any ring. Then none counts as claimed, so that
 * entries of earlier submits are not submitted again.
 */
static __always_inline void ringstep__sq_set(struct ringstep_turn *turn, __u32 at)
{
	const __u32 mask = ringstep__geometry(turn).sq_mask;

	if (turn->rewinds) {
		turn->sq_at = at > mask + 1 ? (__u32)ringstep__unknown_zero() : at;
		turn->sq_end = 0;
	} else {
		const __u32 head = ringstep__ring_load(ringstep__cq_word(turn, ringstep__geometry(turn).sq_head));

		if (at - head > mask + 1)
			at = head +
			     (__u32)ringstep__unknown_zero(); /* otherwise the verifier would know how far it is to the end */
		turn->sq_at = ringstep__forget(at);
		turn->sq_end = head + mask + 1;
	}
}

/*
 * Reads the cursor of the SQ into the turn. During a turn, the cursor is a local variable. It is first read from memory, so the verifier
 * does not know its value, and does not follow each value through the iterations of a loop. It would know something after a comparison, so
 * in the kernel, with IORING_SETUP_SQ_REWIND, whatever uses the cursor compares it (ringstep__sq_is_wrong()).
 */
static __always_inline void ringstep__sq_load(struct ringstep_turn *turn)
{
	if (turn->rewinds && RINGSTEP__IS_VERIFIED) {
		turn->sq_at = ringstep__forget(ringstep__read_once(&turn->control->claimed));
		turn->sq_end = 0;
	} else if (turn->rewinds) {
		ringstep__sq_set(turn, ringstep__read_once(&turn->control->claimed));
	} else {
		ringstep__sq_set(turn, ringstep__read_once(ringstep__cq_word(turn, ringstep__geometry(turn).sq_tail)));
	}
}

/* Returns true if something else than the loop and the library has written a number of claimed SQEs that no SQ holds. */
static __always_inline bool ringstep__sq_is_wrong(const struct ringstep_turn *turn)
{
	/* Two comparisons, because the first one is the only one in most turns. */
	return RINGSTEP__IS_VERIFIED && turn->rewinds && unlikely(turn->sq_at > ringstep__geometry(turn).sq_mask) &&
	       turn->sq_at != ringstep__geometry(turn).sq_mask + 1;
}

static __always_inline void ringstep__sq_store(struct ringstep_turn *turn)
{
	if (turn->rewinds)
		turn->control->claimed = turn->sq_at;
	else
		ringstep__ring_store(ringstep__cq_word(turn, ringstep__geometry(turn).sq_tail), turn->sq_at);
}

/*
 * Sets the pointers into the regions, which the caller has set. Local variables cost less than adding up base and offset at each use.
 */
static __always_inline void ringstep__turns_look(struct ringstep_turn *turn)
{
	turn->head = ringstep__cq_word(turn, ringstep__geometry(turn).cq_head);
	turn->tail = ringstep__cq_word(turn, ringstep__geometry(turn).cq_tail);
	turn->cqes = turn->cq + ringstep__geometry(turn).cqes;
}

/* Begins one or several turns, after ringstep__turns_look(). */
static __always_inline void ringstep__turns_start(struct ringstep_turn *turn)
{
	turn->cq_head = ringstep__read_once(turn->head);
}

/* Ends and counts `turns` turns, the last of which has returned `result`. Returns what the engine has to know. */
static __always_inline int ringstep__turns_end(struct ringstep_turn *turn, int result, __u64 turns)
{
	struct ringstep_control *control = turn->control;

	ringstep__sq_store(turn);
	ringstep_store(&control->turns, control->turns + turns);
	control->reaped += *turn->head - turn->cq_head;
	if (control->fault)
		return RINGSTEP_STOP;
	if (result != RINGSTEP_CONTINUE && result != RINGSTEP_STOP)
		control->returned = result;
	return result;
}

/*
 * Returns the user space address of an object in the memory region, for use in a request. `pointer` may point to the state, into it, or
 * behind it.
 *
 * Example: ringstep_prep_read(sqe, fd, ringstep_address(turn, &state->header), sizeof(state->header), 0);
 */
static __always_inline __u64 ringstep_address(const struct ringstep_turn *turn, const void *pointer)
{
	return turn->control->address + (__u64)((const __u8 *)pointer - (const __u8 *)turn->control);
}

/*
 * Returns how many bytes are behind the state, up to the end of the memory region: LoopOptions::extra_bytes, and what rounds the region up to
 * whole pages. To the verifier, it is a constant. So a step that compares it with what it needs loads for every region, and accesses nothing
 * behind one that is too small.
 *
 * Example: if (ringstep_extra_bytes(turn, state) < sizeof(struct my_table)) return ringstep_stop(turn, TOO_SMALL);
 */
#define ringstep_extra_bytes(turn, state)                                                                                      \
	((__u64)ringstep__geometry(turn).mem_size - sizeof(struct ringstep_control) - sizeof(*(state)))

/*
 * Stops the loop: run() returns, and LoopExit::code is `code`. Requests in flight stay in flight, and completions that the loop has not
 * taken stay in the CQ.
 *
 * Example: return ringstep_stop(turn, 0);
 */
static __always_inline int ringstep_stop(struct ringstep_turn *turn, __s64 code)
{
	turn->control->code = code;
	return RINGSTEP_STOP;
}

#endif /* RINGSTEP_TURN_BPF_H */
