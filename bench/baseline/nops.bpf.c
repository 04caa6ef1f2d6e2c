// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Nops, depth at a time: reap, check, refill, submit, wait. As lean as it can be by hand: each offset is read once, cursors and
 * counts live in registers and are written back once, and SQ_REWIND does away with the SQ's head and tail.
 */
#include "interface.bpf.h"
#include "nops.h"

/* Most completions reaped, and most SQEs filled in, in one turn. */
#define BATCH 32

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile struct nops_geometry geometry;

SEC("struct_ops.s/nops_step")
int nops_step(unsigned long long *args)
{
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct nops_state *state;
	const struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	__u64 completed, submitted, end;
	__u32 head, left, nr;
	__u8 *cq, *sq;
	int i, ret;

	state = (struct nops_state *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*state));
	cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, geometry.cq_size);
	sq = bpf_io_uring_get_region(ring, IOU_REGION_SQ, geometry.sq_size);
	if (!state || !cq || !sq)
		return IOU_LOOP_STOP;

	state->turns++;
	completed = state->completed;
	head = *(__u32 *)(cq + geometry.cq_head);
	left = *(__u32 *)(cq + geometry.cq_tail) - head;
	for (i = 0; i < BATCH && left; i++, left--) {
		cqe = (const struct io_uring_cqe *)(cq + geometry.cqes) + (head++ & geometry.cq_mask);
		if (cqe->res || cqe->user_data != completed)
			state->failed++;
		completed++;
	}
	*(__u32 *)(cq + geometry.cq_head) = head;
	state->completed = completed;
	if (completed >= state->total)
		return IOU_LOOP_STOP;

	submitted = state->submitted;
	end = completed + state->depth;
	if (end > state->total)
		end = state->total;
	sqe = (struct io_uring_sqe *)sq;
	for (nr = 0; nr < BATCH && submitted < end; nr++, submitted++, sqe++) {
		*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .fd = -1, .user_data = submitted};
	}
	state->submitted = submitted;
	if (nr) {
		ret = bpf_io_uring_submit_sqes(ring, nr);
		if (ret != (int)nr) {
			state->error = ret;
			return IOU_LOOP_STOP;
		}
	}
	params->cq_wait_idx = head + 1;
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops nops_ops = {
	.loop_step = (void *)nops_step,
};
