// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * nops.bpf.c with what a loop for more than a benchmark needs, still written by hand: another thread can stop it, it can say
 * how many requests are in flight (multishot ones included), it keeps and retries what a submit left over, its depth is not bounded
 * by the SQ, its loops may be of any length, and it does not sleep while its task has put off work, as closing a file is.
 */
#include "interface.bpf.h"
#include "nops.h"

/* Most completions reaped in one turn. */
#define BATCH 32

/* Keeps the verifier content with a loop of any length; true in practice. The kernel's selftests call it can_loop. */
#define may_loop                                                                                                               \
	({                                                                                                                     \
		__label__ spent, done;                                                                                         \
		bool more = true;                                                                                              \
		asm volatile goto("may_goto %l[spent]" : : : : spent);                                                         \
		goto done;                                                                                                     \
	spent:                                                                                                                 \
		more = false;                                                                                                  \
	done:;                                                                                                                 \
		more;                                                                                                          \
	})

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile struct nops_geometry geometry;

struct task_struct___full {
	void *task_works;
} __attribute__((preserve_access_index));

/* The kernel starts at entry 0: what it has not taken moves there. */
static __noinline int keep_rest(struct nops_state *state, __u8 *sq, __u32 taken)
{
	const __u32 last = geometry.sq_size / sizeof(__u64) - 1;
	const __u32 left = state->claimed - taken;
	__u64 *words = (__u64 *)sq;
	__u32 i;

	bpf_for(i, 0, left * (sizeof(struct io_uring_sqe) / sizeof(__u64)))
		words[i & last] = words[(i + taken * (sizeof(struct io_uring_sqe) / sizeof(__u64))) & last];
	state->claimed = left;
	return 0;
}

/* Submits the claimed. The kernel's answer: how many it took, or -errno. */
static __noinline int make_room(struct iou_ctx *ring, struct nops_state *state, __u8 *sq)
{
	int taken = bpf_io_uring_submit_sqes(ring, state->claimed);

	if (taken > 0) {
		state->taken += (__u32)taken;
		keep_rest(state, sq, (__u32)taken);
	}
	return taken;
}

SEC("struct_ops.s/full_step")
int full_step(unsigned long long *args)
{
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	__u32 head, first, last, claimed, ready;
	const struct io_uring_cqe *cqe;
	__u64 completed, submitted, end;
	struct nops_state *state;
	struct io_uring_sqe *sqe;
	__u8 *cq, *sq;
	int taken;

	state = (struct nops_state *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*state));
	if (!state)
		return IOU_LOOP_STOP;
	if (*(volatile __u32 *)&state->stop)
		return IOU_LOOP_STOP;
	cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, geometry.cq_size);
	sq = bpf_io_uring_get_region(ring, IOU_REGION_SQ, geometry.sq_size);
	if (!cq || !sq)
		return IOU_LOOP_STOP;

	state->turns++;
	completed = state->completed;
	first = head = *(__u32 *)(cq + geometry.cq_head);
	ready = *(__u32 *)(cq + geometry.cq_tail) - head;
	last = head + (ready < BATCH ? ready : BATCH);
	while (head != last && may_loop) {
		cqe = (const struct io_uring_cqe *)(cq + geometry.cqes) + (head++ & geometry.cq_mask);
		if (cqe->flags & IORING_CQE_F_MORE)
			state->unfinished++;
		if (cqe->res || cqe->user_data != completed)
			state->failed++;
		completed++;
	}
	*(__u32 *)(cq + geometry.cq_head) = head;
	state->reaped += head - first;
	state->completed = completed;
	if (completed >= state->total)
		return IOU_LOOP_STOP;

	submitted = state->submitted;
	claimed = state->claimed;
	end = completed + state->depth;
	if (end > state->total)
		end = state->total;
	while (submitted < end && may_loop) {
		if (claimed > geometry.sq_mask) {
			state->claimed = claimed;
			taken = make_room(ring, state, sq);
			claimed = state->claimed;
			if (taken <= 0) {
				state->error = taken;
				return IOU_LOOP_STOP;
			}
		}
		sqe = (struct io_uring_sqe *)sq + (claimed++ & geometry.sq_mask);
		*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .fd = -1, .user_data = submitted++};
	}
	state->submitted = submitted;
	state->claimed = claimed;
	params->cq_wait_idx = head + 1;
	if (claimed) {
		taken = bpf_io_uring_submit_sqes(ring, claimed);
		if (taken < 0) {
			/* Try again at once. */
			params->cq_wait_idx = head;
			return IOU_LOOP_CONTINUE;
		}
		state->taken += (__u32)taken;
		if (taken == (int)claimed)
			state->claimed = 0;
		else
			keep_rest(state, sq, (__u32)taken);
	}
	if (((struct task_struct___full *)bpf_get_current_task_btf())->task_works)
		params->cq_wait_idx = head;
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops full_ops = {
	.loop_step = (void *)full_step,
};
