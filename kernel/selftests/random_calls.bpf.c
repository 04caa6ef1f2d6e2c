// SPDX-License-Identifier: GPL-2.0
/* A loop that follows a script of calls with any arguments. What the kernel lacks of kernel/next is left out. */
#define iou_loop_params iou_loop_params_of_old
#include "interface.bpf.h"
#undef iou_loop_params
#include "random_script.h"

#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "GPL";

/* The parameters as kernel/next has them. Of those that a kernel lacks, nothing is written. */
struct iou_loop_params {
	__u32 cq_wait_idx;
	__u32 flags;
	__u64 timeout_ns;
	__u64 busy_poll_ns;
} __attribute__((preserve_access_index));

extern int bpf_io_uring_read_buffer(struct iou_ctx *ring, __u32 index, __u64 offset, void *dst, __u32 dst__sz) __ksym __weak;
extern int bpf_io_uring_write_buffer(struct iou_ctx *ring, __u32 index, __u64 offset, const void *src,
				     __u32 src__sz) __ksym __weak;

extern int bpf_io_uring_run_work(struct iou_ctx *ring, __u32 min) __ksym __weak;

#define CACHE_LINE 64

/* Offsets and sizes of the regions, from io_uring_params. Not all of them are used here. User space sets them before it loads the program. */
const volatile __u32 cq_head, cq_tail, cqes, cq_mask, cq_size = CACHE_LINE, sq_size = CACHE_LINE;

static __noinline int try_region(struct iou_ctx *ring, __u32 id, __u32 size)
{
	__u8 *bytes;

	switch (size & 3) {
	case 0:
		bytes = bpf_io_uring_get_region(ring, id, 1);
		if (bytes)
			bytes[0]++;
		break;
	case 1:
		bytes = bpf_io_uring_get_region(ring, id, 4096);
		if (bytes)
			bytes[4095]++;
		break;
	case 2:
		bytes = bpf_io_uring_get_region(ring, id, 65536);
		if (bytes)
			bytes[65535]++;
		break;
	default:
		/* Larger than any region of this test */
		bytes = bpf_io_uring_get_region(ring, id, 1U << 28);
		if (bytes)
			bytes[(1U << 28) - 1]++;
	}
	return 0;
}

static __noinline int reap(struct iou_ctx *ring, __u32 most)
{
	__u8 *cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, cq_size);

	if (!cq)
		return 0;
	for (__u32 i = 0; i < 64; i++) {
		const __u32 head = *(volatile __u32 *)(cq + cq_head);

		if (i >= most || head == *(volatile __u32 *)(cq + cq_tail))
			break;
		*(volatile __u32 *)(cq + cq_head) = head + 1;
	}
	return 0;
}

static __noinline int set_head(struct iou_ctx *ring, __u32 head)
{
	__u8 *cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, cq_size);

	if (cq)
		*(volatile __u32 *)(cq + cq_head) = head;
	return 0;
}

SEC("struct_ops.s/loop_step")
int step(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct script *script = (struct script *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*script));
	__u8 *cq;

	if (!script)
		return IOU_LOOP_STOP;
	if (++script->turns >= script->most)
		return IOU_LOOP_STOP;
	for (__u32 i = 0; i < SCRIPT_LENGTH; i++) {
		const volatile struct script_instruction *now = &script->instruction[i];
		const __u32 a = now->a[0], b = now->a[1], c = now->a[2];

		switch (now->what) {
		case SCRIPT_SUBMIT:
			bpf_io_uring_submit_sqes(ring, a);
			break;
		case SCRIPT_REGION:
			try_region(ring, a, b);
			break;
		case SCRIPT_REAP:
			reap(ring, a);
			break;
		case SCRIPT_WAIT:
			cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, cq_size);
			if (cq)
				params->cq_wait_idx = *(volatile __u32 *)(cq + cq_head) + a;
			break;
		case SCRIPT_WAIT_AT:
			params->cq_wait_idx = a;
			break;
		case SCRIPT_TIMEOUT:
			if (bpf_core_field_exists(params->timeout_ns)) {
				params->flags = a;
				params->timeout_ns = b;
			}
			break;
		case SCRIPT_BUSY_POLL:
			if (bpf_core_field_exists(params->busy_poll_ns))
				params->busy_poll_ns = (__u64)a << (b & 63);
			break;
		case SCRIPT_READ_BUFFER:
			if (bpf_io_uring_read_buffer && b <= SCRIPT_DATA)
				bpf_io_uring_read_buffer(ring, a, c, script->data, b);
			break;
		case SCRIPT_WRITE_BUFFER:
			if (bpf_io_uring_write_buffer && b <= SCRIPT_DATA)
				bpf_io_uring_write_buffer(ring, a, c, script->data, b);
			break;
		case SCRIPT_HEAD:
			set_head(ring, a);
			break;
		case SCRIPT_RUN_WORK:
			if (bpf_io_uring_run_work)
				bpf_io_uring_run_work(ring, a);
			break;
		case SCRIPT_RETURN:
			return (int)a;
		default:
			break;
		}
	}
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.loop_step = (void *)step,
};
