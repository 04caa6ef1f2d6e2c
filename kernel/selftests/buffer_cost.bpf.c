// SPDX-License-Identifier: GPL-2.0
/* A loop that reads the same bytes many times in one turn, in one of several ways. */
#include "next_interface.bpf.h"
#include "buffer_cost.h"

char _license[] SEC("license") = "GPL";

/* Offsets and sizes of the regions, as in step.bpf.c. This loop uses none of them. */
const volatile __u32 cq_head, cq_tail, cqes, cq_mask, cq_size = 64, sq_size = 64;

/* What the dynptr is about. A dynptr of a registered buffer would have to find the page as well. */
static __u8 memory[MOST_BYTES];

SEC("struct_ops.s/loop_step")
int step(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct cost_plan *plan = (struct cost_plan *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*plan));
	struct bpf_dynptr all;
	__u32 way, bytes, reads;

	if (!plan)
		return IOU_LOOP_STOP;
	way = plan->way;
	bytes = plan->bytes;
	reads = plan->reads;
	if (bytes > MOST_BYTES || bpf_dynptr_from_mem(memory, sizeof(memory), 0, &all))
		return IOU_LOOP_STOP;
	for (__u32 i = 0; i < reads && i < 1000; i++) {
		struct bpf_dynptr one;
		const __u8 *byte;

		switch (way) {
		case COST_KFUNC:
			if (bpf_io_uring_read_buffer(ring, 0, 0, plan->data, bytes))
				plan->failed++;
			break;
		case COST_DYNPTR:
			if (bpf_dynptr_from_mem(memory, sizeof(memory), 0, &one) ||
			    bpf_dynptr_read(plan->data, bytes, &one, 0, 0))
				plan->failed++;
			break;
		case COST_SAME_DYNPTR:
			if (bpf_dynptr_read(plan->data, bytes, &all, 0, 0))
				plan->failed++;
			break;
		case COST_DYNPTR_SLICE:
			byte = bpf_dynptr_data(&all, 0, 16);
			if (byte)
				*(volatile __u8 *)&plan->data[0] = byte[15];
			else
				plan->failed++;
			break;
		default:
			*(volatile __u8 *)&plan->data[0] = 0;
		}
	}
	return IOU_LOOP_STOP;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.loop_step = (void *)step,
};
