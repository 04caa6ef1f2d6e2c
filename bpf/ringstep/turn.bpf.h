/* SPDX-License-Identifier: MIT */
/*
 * A turn: one call of the step, with the three regions in reach, and its end.
 */
#ifndef RINGSTEP_TURN_BPF_H
#define RINGSTEP_TURN_BPF_H

#include <ringstep/target.bpf.h>
#include <ringstep/types.bpf.h>

/*
 * One turn. Authors hand it on and look at nothing inside; it is good until the step returns.
 *
 * The compiler may leave a function that takes the turn out of line, and then the turn is on the stack, where the verifier keeps what it
 * knows of a number only if the number has eight bytes for itself. So those that it has to know are that wide.
 */
struct ringstep_turn {
	struct ringstep__engine engine;
	struct ringstep_control *control;
	__u8 *cq; /* CQ region: headers and CQEs */
	__u8 *sq; /* SQ region: SQEs */
	__u32 *head;   /* the CQ's */
	__u32 cq_head; /* it, when the turn began */
	__u32 sq_at;   /* where the next SQE is claimed */
	__u32 sq_end;  /* where the SQ is full */
	__u64 rewinds;   /* IORING_SETUP_SQ_REWIND */
	__u64 sqe_shift; /* log2 of an SQE's size */
	__u64 cqe_shift; /* log2 of a CQE's size */
	__u64 cut;       /* the walk over completions ended at the batch, with more of them there */
};

static __always_inline __u32 *ringstep__cq_word(const struct ringstep_turn *turn, __u32 offset)
{
	return (__u32 *)(turn->cq + offset);
}

/*
 * While a turn lasts, the cursor of the SQ is a local variable. It starts as a word of memory, so what it is the verifier never
 * knows, and does not follow it through the iterations of a loop.
 */
static __always_inline void ringstep__sq_load(struct ringstep_turn *turn)
{
	if (turn->rewinds) {
		turn->sq_at = turn->control->claimed;
		turn->sq_end = 0;
	} else {
		turn->sq_at = *ringstep__cq_word(turn, ringstep__geometry(turn).sq_tail);
		turn->sq_end = ringstep__ring_load(ringstep__cq_word(turn, ringstep__geometry(turn).sq_head)) +
			       ringstep__geometry(turn).sq_mask + 1;
	}
}

static __always_inline void ringstep__sq_store(struct ringstep_turn *turn)
{
	if (turn->rewinds)
		turn->control->claimed = turn->sq_at;
	else
		ringstep__ring_store(ringstep__cq_word(turn, ringstep__geometry(turn).sq_tail), turn->sq_at);
}

/* With the regions at hand. */
static __always_inline void ringstep__turn_start(struct ringstep_turn *turn)
{
	turn->cut = false;
	turn->head = ringstep__cq_word(turn, ringstep__geometry(turn).cq_head);
	turn->cq_head = *turn->head;
	ringstep_store(&turn->control->turns, turn->control->turns + 1);
}

static __always_inline int ringstep__turn_end(struct ringstep_turn *turn, int result)
{
	struct ringstep_control *control = turn->control;

	ringstep__sq_store(turn);
	control->reaped += *turn->head - turn->cq_head;
	if (control->fault)
		return RINGSTEP_STOP;
	if (result != RINGSTEP_CONTINUE && result != RINGSTEP_STOP)
		control->returned = result;
	return result;
}

/*
 * The address that a request uses for something in the MEM region: the state, or anything in it or behind it.
 *
 * Example: ringstep_prep_read(sqe, fd, ringstep_address(turn, &state->header), sizeof(state->header), 0);
 */
static __always_inline __u64 ringstep_address(const struct ringstep_turn *turn, const void *pointer)
{
	return turn->control->address + (__u64)((const __u8 *)pointer - (const __u8 *)turn->control);
}

/*
 * Ends the loop: io_uring_enter() returns, and the application finds code in LoopExit::code. Requests in flight stay in
 * flight, completions not yet reaped stay in the CQ.
 *
 * Example: return ringstep_stop(turn, 0);
 */
static __always_inline int ringstep_stop(struct ringstep_turn *turn, __s64 code)
{
	turn->control->code = code;
	return RINGSTEP_STOP;
}

#endif /* RINGSTEP_TURN_BPF_H */
