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
	__u32 cq_head;
	bool cut; /* the walk over completions ended at the batch, with more of them there */
};

static __always_inline __u32 *ringstep__cq_word(const struct ringstep_turn *turn, __u32 offset)
{
	return (__u32 *)(turn->cq + offset);
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
	turn->cq_head = *ringstep__cq_word(turn, ringstep_geometry.cq_head);
	turn->control->turns++;
	return RINGSTEP_CONTINUE;
}

static __always_inline int ringstep__turn_end(struct ringstep_turn *turn, int result)
{
	struct ringstep_control *control = turn->control;

	control->reaped += *ringstep__cq_word(turn, ringstep_geometry.cq_head) - turn->cq_head;
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
