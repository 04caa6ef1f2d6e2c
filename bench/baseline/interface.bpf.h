/* SPDX-License-Identifier: MIT */
/*
 * What a program for the io_uring loop has to declare when it is written without a kit: the kernel's interface.
 */
#ifndef RINGSTEP_BENCH_BASELINE_INTERFACE_BPF_H
#define RINGSTEP_BENCH_BASELINE_INTERFACE_BPF_H

#include <linux/types.h>

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

enum {
	IOU_LOOP_CONTINUE = 0,
	IOU_LOOP_STOP = 1,
};

enum {
	IOU_REGION_MEM = 0,
	IOU_REGION_CQ = 1,
	IOU_REGION_SQ = 2,
};

struct iou_ctx {};

struct iou_loop_params {
	__u32 cq_wait_idx;
} __attribute__((preserve_access_index));

struct io_uring_bpf_ops {
	int (*loop_step)(struct iou_ctx *ctx, struct iou_loop_params *params);
	__u32 ring_fd;
	void *priv;
};

int bpf_io_uring_submit_sqes(struct iou_ctx *ctx, __u32 nr) __ksym;
__u8 *bpf_io_uring_get_region(struct iou_ctx *ctx, __u32 region_id, const __u64 rdwr_buf_size) __ksym;

#endif /* RINGSTEP_BENCH_BASELINE_INTERFACE_BPF_H */
