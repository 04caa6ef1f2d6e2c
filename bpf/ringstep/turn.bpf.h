/* SPDX-License-Identifier: MIT */
/*
 * A turn: one call of the step, with the three regions in reach, and its end.
 */
#ifndef RINGSTEP_TURN_BPF_H
#define RINGSTEP_TURN_BPF_H

#include <ringstep/types.bpf.h>

/* Where things lie. Filled in by the application before the load, then frozen: constants to the verifier. */
extern const volatile struct ringstep_geometry ringstep_geometry;

/* One turn. Authors hand it on and look at nothing inside; it is good until the step returns. */
struct ringstep_turn {
	struct iou_ctx___ringstep *ctx;
	struct iou_loop_params___ringstep *params;
	struct ringstep_control *control;
	__u8 *cq; /* CQ region: headers and CQEs */
	__u8 *sq; /* SQ region: SQEs */
	__u32 *head;   /* the CQ's */
	__u32 cq_head; /* it, when the turn began */
	__u32 sq_at;   /* where the next SQE is claimed */
	__u32 sq_end;  /* where the SQ is full */
	bool rewinds;    /* IORING_SETUP_SQ_REWIND */
	__u32 sqe_shift; /* log2 of an SQE's size */
	__u32 cqe_shift; /* log2 of a CQE's size */
	bool cut;      /* the walk over completions ended at the batch, with more of them there */
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
		turn->sq_at = *ringstep__cq_word(turn, ringstep_geometry.sq_tail);
		turn->sq_end = *ringstep__cq_word(turn, ringstep_geometry.sq_head) + ringstep_geometry.sq_mask + 1;
	}
}

static __always_inline void ringstep__sq_store(struct ringstep_turn *turn)
{
	if (turn->rewinds)
		turn->control->claimed = turn->sq_at;
	else
		*ringstep__cq_word(turn, ringstep_geometry.sq_tail) = turn->sq_at;
}

/*
 * Gets the regions; the pointers are good for this turn only, so every turn does. RINGSTEP_CONTINUE: go on with the step,
 * anything else: return that.
 */
static __always_inline int ringstep__turn_begin(struct ringstep_turn *turn, const __u64 *args)
{
	__u32 stop;

	turn->ctx = (struct iou_ctx___ringstep *)args[0];
	turn->params = (struct iou_loop_params___ringstep *)args[1];
	turn->control = (struct ringstep_control *)bpf_io_uring_get_region___ringstep(turn->ctx, RINGSTEP__REGION_MEM,
										      ringstep_geometry.mem_size);
	if (!turn->control)
		return RINGSTEP__NO_REGION;
	stop = *(volatile __u32 *)&turn->control->stop;
	if (stop) {
		turn->control->stopped = stop;
		return RINGSTEP_STOP;
	}
	turn->cq = bpf_io_uring_get_region___ringstep(turn->ctx, RINGSTEP__REGION_CQ, ringstep_geometry.cq_size);
	turn->sq = bpf_io_uring_get_region___ringstep(turn->ctx, RINGSTEP__REGION_SQ, ringstep_geometry.sq_size);
	if (!turn->cq || !turn->sq) {
		turn->control->fault = RINGSTEP_FAULT_RINGS;
		return RINGSTEP_STOP;
	}
	turn->cut = false;
	turn->head = ringstep__cq_word(turn, ringstep_geometry.cq_head);
	turn->cq_head = *turn->head;
	turn->control->turns++;
	return RINGSTEP_CONTINUE;
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
