// SPDX-License-Identifier: GPL-2.0
/* A loop that copies as many bytes from and to a registered buffer as one copy may move, and one more. */
#include "next_interface.bpf.h"
#include "next_large.h"

char _license[] SEC("license") = "GPL";

/* Offsets and sizes of the regions, as in step.bpf.c. This loop uses none of them. */
const volatile __u32 cq_head, cq_tail, cqes, cq_mask, cq_size = 64, sq_size = 64;

SEC("struct_ops.s/loop_step")
int step(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct large_copies *copies = (struct large_copies *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*copies));

	if (!copies)
		return IOU_LOOP_STOP;
	copies->turns++;
	copies->largest_read = bpf_io_uring_read_buffer(ring, 0, 0, copies->data, LARGE_COPY);
	copies->larger_read = bpf_io_uring_read_buffer(ring, 0, 0, copies->data, LARGE_COPY + 1);
	copies->largest_write = bpf_io_uring_write_buffer(ring, 0, 0, copies->data, LARGE_COPY);
	copies->larger_write = bpf_io_uring_write_buffer(ring, 0, 0, copies->data, LARGE_COPY + 1);
	return IOU_LOOP_STOP;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.loop_step = (void *)step,
};
