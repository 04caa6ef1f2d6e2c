/* SPDX-License-Identifier: GPL-2.0 */
/* The interface for loops in kernels with kernel/next: interface.bpf.h, and what kernel/next adds. */
#ifndef RINGSTEP_SELFTESTS_NEXT_INTERFACE_BPF_H
#define RINGSTEP_SELFTESTS_NEXT_INTERFACE_BPF_H

#define iou_loop_params iou_loop_params_of_old
#include "interface.bpf.h"
#undef iou_loop_params

struct iou_loop_params {
	__u32 cq_wait_idx;
	__u32 flags;
	__u64 timeout_ns;
	__u64 busy_poll_ns;
};

/* Weak: each has a patch of its own, so a kernel in the midst of the series lacks some. A program must not get to a call of one that is missing. */
extern int bpf_io_uring_read_buffer(struct iou_ctx *ring, __u32 index, __u64 offset, void *dst, __u32 dst__sz) __ksym __weak;
extern int bpf_io_uring_write_buffer(struct iou_ctx *ring, __u32 index, __u64 offset, const void *src,
				     __u32 src__sz) __ksym __weak;
extern int bpf_io_uring_run_work(struct iou_ctx *ring, __u32 min) __ksym __weak;

#endif
