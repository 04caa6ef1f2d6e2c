/* SPDX-License-Identifier: GPL-2.0 */
/* The interface that the kernel offers to loops, as its BTF describes it. */
#ifndef RINGSTEP_SELFTESTS_INTERFACE_BPF_H
#define RINGSTEP_SELFTESTS_INTERFACE_BPF_H

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

enum {
	IOU_LOOP_CONTINUE,
	IOU_LOOP_STOP,
};

enum {
	IOU_REGION_MEM,
	IOU_REGION_CQ,
	IOU_REGION_SQ,
};

struct iou_ctx {};

struct iou_loop_params {
	__u32 cq_wait_idx;
};

struct io_uring_bpf_ops {
	int (*loop_step)(struct iou_ctx *ring, struct iou_loop_params *params);
	__u32 ring_fd;
	void *priv;
};

extern int bpf_io_uring_submit_sqes(struct iou_ctx *ring, __u32 nr) __ksym;
extern __u8 *bpf_io_uring_get_region(struct iou_ctx *ring, __u32 id, const __u64 rdwr_buf_size) __ksym;

#endif
