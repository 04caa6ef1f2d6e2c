// SPDX-License-Identifier: GPL-2.0
/* Programs that the verifier must refuse in kernels with kernel/next. A test loads one of them at a time. */
#include "next_interface.bpf.h"

char _license[] SEC("license") = "GPL";

const volatile __u32 unknown = 0;

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

/* The verifier must accept this one. */
SEC("?struct_ops.s/loop_step")
int write_all_params(unsigned long long *args)
{
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];

	params->cq_wait_idx = 1;
	params->flags = 1;
	params->timeout_ns = 1;
	params->busy_poll_ns = 1;
	return IOU_LOOP_STOP;
}

/* And this one, which differs from the next ones in what they must not do. */
SEC("?struct_ops.s/loop_step")
int work(unsigned long long *args)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	bpf_io_uring_run_work((struct iou_ctx *)args[0], 0);
	return IOU_LOOP_STOP;
}

/* These three reach beyond the memory that they pass. */
SEC("?struct_ops.s/loop_step")
int read_too_much(unsigned long long *args)
{
	__u8 header[16];

	bpf_io_uring_read_buffer((struct iou_ctx *)args[0], 0, 0, header, 17);
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int write_too_much(unsigned long long *args)
{
	__u8 header[16] = {};

	bpf_io_uring_write_buffer((struct iou_ctx *)args[0], 0, 0, header, 17);
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int read_past_region(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	__u8 *region = bpf_io_uring_get_region(ring, IOU_REGION_MEM, 64);

	if (region)
		bpf_io_uring_read_buffer(ring, 0, 0, region + 1, 64);
	return IOU_LOOP_STOP;
}

/* The size has no limit. */
SEC("?struct_ops.s/loop_step")
int size_not_bounded(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	__u32 *region = (__u32 *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, 64);

	if (region)
		bpf_io_uring_read_buffer(ring, 0, 0, region, region[0]);
	return IOU_LOOP_STOP;
}

/* A number is not memory. */
SEC("?struct_ops.s/loop_step")
int not_memory(unsigned long long *args)
{
	bpf_io_uring_read_buffer((struct iou_ctx *)args[0], 0, 0, (void *)0x10000, 8);
	return IOU_LOOP_STOP;
}

/* The ring is not memory either. */
SEC("?struct_ops.s/loop_step")
int into_the_ring(unsigned long long *args)
{
	bpf_io_uring_read_buffer((struct iou_ctx *)args[0], 0, 0, (void *)args[0], 8);
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int not_a_ring(unsigned long long *args)
{
	__u8 header[16];

	bpf_io_uring_read_buffer((struct iou_ctx *)args[1], 0, 0, header, 16);
	return IOU_LOOP_STOP;
}

/* Deferred work may sleep, which is forbidden here. */
SEC("?struct_ops.s/loop_step")
int work_under_rcu(unsigned long long *args)
{
	bpf_rcu_read_lock();
	bpf_io_uring_run_work((struct iou_ctx *)args[0], 0);
	bpf_rcu_read_unlock();
	return IOU_LOOP_STOP;
}

/* A program that may not sleep. */
SEC("?struct_ops/loop_step")
int work_without_sleep(unsigned long long *args)
{
	bpf_io_uring_run_work((struct iou_ctx *)args[0], 0);
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int work_of_no_ring(unsigned long long *args)
{
	bpf_io_uring_run_work((struct iou_ctx *)args[1], 0);
	return IOU_LOOP_STOP;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.ring_fd = 0,
};
