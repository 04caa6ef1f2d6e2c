// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Nops as the kernel's selftest does them: one completion and one submission a turn, nothing in registers for long.
 */
#include "interface.bpf.h"
#include "nops.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile struct nops_geometry geometry;

SEC("struct_ops.s/naive_step")
int naive_step(unsigned long long *args)
{
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct nops_state *state;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	__u32 *head, *tail;
	__u8 *cq, *sq;
	int ret;

	state = (struct nops_state *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*state));
	cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, geometry.cq_size);
	sq = bpf_io_uring_get_region(ring, IOU_REGION_SQ, geometry.sq_size);
	if (!state || !cq || !sq)
		return IOU_LOOP_STOP;

	state->turns++;
	head = (__u32 *)(cq + geometry.cq_head);
	tail = (__u32 *)(cq + geometry.cq_tail);
	if (*head != *tail) {
		cqe = (struct io_uring_cqe *)(cq + geometry.cqes) + (*head & geometry.cq_mask);
		if (cqe->res || cqe->user_data != state->completed)
			state->failed++;
		state->completed++;
		(*head)++;
	}
	if (state->completed >= state->total)
		return IOU_LOOP_STOP;

	if (state->submitted == state->completed) {
		sqe = (struct io_uring_sqe *)sq;
		__builtin_memset(sqe, 0, sizeof(*sqe));
		sqe->opcode = IORING_OP_NOP;
		sqe->user_data = state->submitted;
		ret = bpf_io_uring_submit_sqes(ring, 1);
		if (ret != 1) {
			state->error = ret;
			return IOU_LOOP_STOP;
		}
		state->submitted++;
	}
	params->cq_wait_idx = *head + 1;
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops naive_ops = {
	.loop_step = (void *)naive_step,
};
