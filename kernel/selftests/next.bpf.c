// SPDX-License-Identifier: GPL-2.0
/* A loop that follows its plan, for kernels with a part of kernel/next or all of it. */
#include "next_interface.bpf.h"
#include "next_plan.h"

char _license[] SEC("license") = "GPL";

#define CACHE_LINE 64

const volatile __u32 cq_head, cq_tail, cqes, cq_mask, cq_size = CACHE_LINE, sq_size = CACHE_LINE;

/* What the kernel has. User space sets it before it loads the program, so the verifier leaves out what needs more. */
const volatile __u32 features;

static __always_inline void reap(struct next_plan *plan, __u8 *cq)
{
	for (__u32 i = 0; i < 8; i++) {
		__u32 head = *(volatile __u32 *)(cq + cq_head);

		if (head == *(volatile __u32 *)(cq + cq_tail))
			return;
		plan->last_res = ((const struct io_uring_cqe *)(cq + cqes))[head & cq_mask].res;
		plan->reaped++;
		*(volatile __u32 *)(cq + cq_head) = head + 1;
	}
}

static __noinline int copy(struct iou_ctx *ring, struct next_plan *plan)
{
	for (__u32 i = 0; i < NEXT_COPIES; i++) {
		struct next_copy *what = &plan->copy[i];
		__u32 length = what->length;

		if (i >= plan->copies)
			break;
		if (length > NEXT_DATA)
			continue;
		if (what->write)
			what->result = bpf_io_uring_write_buffer(ring, what->index, what->offset, plan->data, length);
		else
			what->result = bpf_io_uring_read_buffer(ring, what->index, what->offset, plan->data, length);
	}
	return 0;
}

static __noinline int run_work(struct iou_ctx *ring, struct next_plan *plan, __u8 *cq)
{
	__u32 worked = 0;

	for (__u32 i = 0; i < NEXT_MOST_WORK && i < plan->work; i++) {
		const int result = bpf_io_uring_run_work(ring, plan->work_min);
		const __u32 at = plan->worked + plan->again + plan->interrupted;

		if (at < NEXT_WORK) {
			plan->work_result[at] = result;
			plan->ready[at] = *(volatile __u32 *)(cq + cq_tail) - *(volatile __u32 *)(cq + cq_head);
		}
		if (result == -11) /* EAGAIN */
			plan->again++;
		else if (result == -4) /* EINTR */
			plan->interrupted++;
		else
			plan->worked++, worked++;
	}
	if (worked > plan->most_in_a_turn)
		plan->most_in_a_turn = worked;
	return 0;
}

SEC("struct_ops.s/loop_step")
int step(unsigned long long *args)
{
	struct iou_ctx *ring = (struct iou_ctx *)args[0];
	struct iou_loop_params *params = (struct iou_loop_params *)args[1];
	struct next_plan *plan = (struct next_plan *)bpf_io_uring_get_region(ring, IOU_REGION_MEM, sizeof(*plan));
	__u8 *cq = bpf_io_uring_get_region(ring, IOU_REGION_CQ, cq_size);
	const struct next_wait *wait;
	__u64 now;
	__u32 turn;

	if (!plan || !cq)
		return IOU_LOOP_STOP;
	turn = plan->turns < NEXT_TURNS - 1 ? plan->turns : NEXT_TURNS - 1;
	turn &= NEXT_TURNS - 1;
	now = bpf_ktime_get_ns();
	if (features & NEXT_TIMEOUTS)
		plan->flags[turn] = params->flags;
	if (features & NEXT_POLLING)
		plan->busy_poll_ns[turn] = params->busy_poll_ns;
	plan->began[turn] = now;
	plan->turns++;
	if (plan->turns > plan->leave)
		reap(plan, cq);
	if ((features & NEXT_BUFFERS) && plan->turns == 1)
		copy(ring, plan);
	if (plan->turns_wanted && plan->turns >= plan->turns_wanted)
		return IOU_LOOP_STOP;
	if (plan->stop_after && plan->reaped >= plan->stop_after)
		return IOU_LOOP_STOP;
	if (plan->submit && (!plan->submit_turns || plan->turns <= plan->submit_turns))
		bpf_io_uring_submit_sqes(ring, plan->submit);
	if ((features & NEXT_RUN_WORK) && plan->work)
		run_work(ring, plan, cq);

	wait = &plan->wait[turn];
	params->cq_wait_idx = *(volatile __u32 *)(cq + cq_head) + wait->count;
	if (features & NEXT_POLLING)
		params->busy_poll_ns = wait->busy_poll_ns;
	if (!(features & NEXT_TIMEOUTS) || wait->leave_flags)
		return IOU_LOOP_CONTINUE;
	plan->until[turn] = wait->timeout_ns + (wait->from_now ? now : 0);
	params->flags = wait->flags;
	params->timeout_ns = plan->until[turn];
	return IOU_LOOP_CONTINUE;
}

SEC(".struct_ops.link")
struct io_uring_bpf_ops ops = {
	.loop_step = (void *)step,
};
