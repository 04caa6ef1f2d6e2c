// SPDX-License-Identifier: GPL-2.0
/* Programs that the verifier must refuse. A test loads one of them at a time. */
#include "interface.bpf.h"

#ifdef PROPRIETARY
char _license[] SEC("license") = "Proprietary";
#else
char _license[] SEC("license") = "GPL";
#endif

/* These two write outside the parameters, even those that kernel/next adds. */
SEC("?struct_ops.s/loop_step")
int write_far_past_params(unsigned long long *args)
{
	__u32 *params = (__u32 *)args[1];

	params[6] = 1;
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int write_across_far_end(unsigned long long *args)
{
	*(volatile __u64 *)((char *)args[1] + 20) = 1;
	return IOU_LOOP_STOP;
}

/* These two write outside the parameters of released kernels. */
SEC("?struct_ops.s/loop_step")
int write_past_params(unsigned long long *args)
{
	__u32 *params = (__u32 *)args[1];

	params[1] = 1;
	return IOU_LOOP_STOP;
}

/* Half of this access is outside. */
SEC("?struct_ops.s/loop_step")
int write_across_end(unsigned long long *args)
{
	*(volatile __u64 *)args[1] = 1;
	return IOU_LOOP_STOP;
}

SEC("?struct_ops.s/loop_step")
int write_before_params(unsigned long long *args)
{
	((volatile __u32 *)args[1])[-1] = 1;
	return IOU_LOOP_STOP;
}

/* A program may not look into the ring. */
SEC("?struct_ops.s/loop_step")
int read_ring(unsigned long long *args)
{
	return *(volatile __u32 *)args[0];
}

SEC("?struct_ops.s/loop_step")
int write_ring(unsigned long long *args)
{
	*(volatile __u32 *)args[0] = 1;
	return IOU_LOOP_STOP;
}

/* There is no third argument. */
SEC("?struct_ops.s/loop_step")
int read_third_argument(unsigned long long *args)
{
	return args[2];
}

SEC("?struct_ops.s/loop_step")
int write_argument(unsigned long long *args)
{
	args[0] = 0;
	return IOU_LOOP_STOP;
}

/* A region may be missing, so a program must check for NULL. */
SEC("?struct_ops.s/loop_step")
int region_not_checked(unsigned long long *args)
{
	return *(volatile __u8 *)bpf_io_uring_get_region((struct iou_ctx *)args[0], IOU_REGION_MEM, 64);
}

SEC("?struct_ops.s/loop_step")
int read_past_region(unsigned long long *args)
{
	volatile __u8 *region = bpf_io_uring_get_region((struct iou_ctx *)args[0], IOU_REGION_MEM, 64);

	return region ? region[64] : IOU_LOOP_STOP;
}

/* The size must be a constant. */
SEC("?struct_ops.s/loop_step")
int size_not_constant(unsigned long long *args)
{
	volatile __u8 *region = bpf_io_uring_get_region((struct iou_ctx *)args[0], IOU_REGION_MEM, bpf_get_prandom_u32());

	return region ? region[0] : IOU_LOOP_STOP;
}

/* The first argument must be the ring that the kernel passed to the step. */
SEC("?struct_ops.s/loop_step")
int not_a_ring(unsigned long long *args)
{
	return bpf_io_uring_submit_sqes((struct iou_ctx *)args[1], 1);
}

/* Submitting may sleep, but this program may not. */
SEC("?struct_ops/loop_step")
int submit_without_sleep(unsigned long long *args)
{
	return bpf_io_uring_submit_sqes((struct iou_ctx *)args[0], 1);
}

/* The verifier must accept this one, unless the licence is wrong. */
SEC("?struct_ops.s/loop_step")
int harmless(unsigned long long *args)
{
	((struct iou_loop_params *)args[1])->cq_wait_idx = 0;
	return bpf_io_uring_submit_sqes((struct iou_ctx *)args[0], 0) ? IOU_LOOP_CONTINUE : IOU_LOOP_STOP;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {};
