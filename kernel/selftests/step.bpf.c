// SPDX-License-Identifier: GPL-2.0
/* A loop that follows its plan. */
#include "interface.bpf.h"
#include "plan.h"

char _license[] SEC("license") = "GPL";

#define CACHE_LINE 64

/* Offsets and sizes of the regions, from io_uring_params. User space sets them before it loads the program. */
const volatile __u32 cq_head, cq_tail, cqes, cq_mask, cq_size = CACHE_LINE, sq_size = CACHE_LINE;

/* Takes completions. Its cursor is the head in the region, so that all iterations look alike to the verifier. */
static __always_inline void reap(struct plan *plan, __u8 *cq)
{
	for (__u32 i = 0; i < PLAN_MAX_REAPED; i++) {
		__u32 head = *(volatile __u32 *)(cq + cq_head);
		const struct io_uring_cqe *cqe;

		if (i >= plan->reap || head == *(volatile __u32 *)(cq + cq_tail))
			return;
		cqe = (const struct io_uring_cqe *)(cq + cqes + (head & cq_mask) * sizeof(*cqe));
		if (cqe->user_data != plan->last_user_data + 1)
			plan->order_errors++;
		plan->last_user_data = cqe->user_data;
		plan->user_data_sum += cqe->user_data;
		plan->last_res = cqe->res;
		plan->reaped++;
		*(volatile __u32 *)(cq + cq_head) = head + 1;
	}
}

SEC("struct_ops.s/loop_step")
int step(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct plan *plan = (struct plan *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*plan));
	__u8 *cq, *sq;

	if (!plan)
		return IOU_LOOP_STOP;
	plan->turns++;
	sq = bpf_io_uring_get_region(ring, IOU_REGION_SQ, sq_size);
	if (!sq)
		plan->sq_missing++;
	cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, cq_size);
	if (!cq) {
		plan->cq_missing++;
		return IOU_LOOP_STOP;
	}

	if (plan->other_region && bpf_io_uring_get_region(ring, plan->other_region, 1))
		plan->other_region_found++;

	reap(plan, cq);
	if (plan->submit_turns > 0) {
		plan->submit_turns--;
		plan->submit_result = bpf_io_uring_submit_sqes(ring, plan->submit);
		if (plan->submit_result > 0)
			plan->submitted += plan->submit_result;
	}
	if (plan->stop_after && plan->reaped >= plan->stop_after)
		return IOU_LOOP_STOP;
	if (plan->last_turn && plan->turns >= plan->last_turn)
		return plan->last_result;
	params->cq_wait_idx = *(volatile __u32 *)(cq + cq_head) + plan->wait;
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.loop_step = (void *)step,
};
