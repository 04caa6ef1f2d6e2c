/* SPDX-License-Identifier: MIT */
/*
 * Completions that are the kit's own business: those of the ring's timer, and those that a loop has swallowed. Their user_data is
 * an address within the timer in the control block, which no request of anybody else's has a reason to carry. They count neither
 * as the loop's completions nor as the application's.
 *
 * Not for authors, who find what they need in timer.bpf.h and enter.bpf.h.
 */
#ifndef RINGSTEP_OWN_BPF_H
#define RINGSTEP_OWN_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

/* The user_data that stands for a field of the timer. */
#define ringstep__own_tag(control, field) ((control)->address + offsetof(struct ringstep_control, timer.field))

static __always_inline bool ringstep__is_own(const struct ringstep_control *control, __u64 user_data)
{
	return user_data - (control->address + offsetof(struct ringstep_control, timer)) < sizeof(struct ringstep_timer);
}

/* One of them has left the CQ. */
static __always_inline void ringstep__own_gone(struct ringstep_control *control, __u64 user_data)
{
	if (user_data == ringstep__own_tag(control, armed))
		control->timer.armed = 0;
	else if (user_data == ringstep__own_tag(control, updates) && control->timer.updates)
		control->timer.updates--;
}

/*
 * Takes them out of the CQ, wake-ups of the user engine included: the others move together towards its tail, where the kernel does
 * not write before the head has passed. Returns how many there were.
 */
static __noinline int ringstep__drop_own_from(ringstep__ring *ring, struct ringstep_control *control, __u8 *cq)
{
	const __u32 mask = ringstep__geometry_of(ring).cq_mask;
	const __u32 shift = ringstep__geometry_of(ring).cqe_shift;
	__u8 *const cqes = cq + ringstep__geometry_of(ring).cqes;
	__u32 *const head_word = (__u32 *)(cq + ringstep__geometry_of(ring).cq_head);
	const __u32 head = *head_word;
	const __u32 tail = ringstep__ring_load((__u32 *)(cq + ringstep__geometry_of(ring).cq_tail));
	struct ringstep__engine engine;
	__u32 from = tail, to = tail;

	(void)ring;
	if (tail - head > mask + 1)
		return 0; /* not a state that a kernel leaves behind */
	ringstep__engine_of(&engine, ring);
	ringstep_while (from != head) {
		const __u64 *cqe;
		__u64 *place;

		from--;
		cqe = (const __u64 *)(cqes + ((__u64)(from & mask) << shift));
		if (ringstep__is_wake(&engine, (const __u8 *)cqe))
			continue;
		if (ringstep__is_own(control, cqe[0])) {
			ringstep__own_gone(control, cqe[0]);
			continue;
		}
		to--;
		if (to == from)
			continue;
		place = (__u64 *)(cqes + ((__u64)(to & mask) << shift));
		place[0] = cqe[0];
		place[1] = cqe[1];
		if (shift == 5) {
			place[2] = cqe[2];
			place[3] = cqe[3];
		}
	}
	ringstep__ring_store(head_word, to);
	return (int)(to - head);
}

static __always_inline void ringstep__drop_own(struct ringstep_turn *turn)
{
	turn->cq_head += (__u32)ringstep__drop_own_from(turn->engine.ring, turn->control, turn->cq); /* not reaped */
}

#endif /* RINGSTEP_OWN_BPF_H */
