/* SPDX-License-Identifier: MIT */
/*
 * The kit's own completions: those of the ring's timer, and those that a loop has swallowed. Their user_data is an address inside
 * the timer in the control block, which no other request has a reason to carry. The application never sees them. LoopExit::completions
 * counts the swallowed ones, because ringstep_swallow() raises control->reaped. It does not count the timer's.
 *
 * This file is not for authors, who should use timer.bpf.h and hooks.bpf.h.
 */
#ifndef RINGSTEP_HIDDEN_BPF_H
#define RINGSTEP_HIDDEN_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

/* Returns the user_data that stands for a field of the timer. */
#define ringstep__hidden_tag(control, field) ((control)->address + offsetof(struct ringstep_control, timer.field))

static __always_inline bool ringstep__is_hidden(const struct ringstep_control *control, __u64 user_data)
{
	return user_data - (control->address + offsetof(struct ringstep_control, timer)) < sizeof(struct ringstep_timer);
}

/* Updates the timer after the kit's own completion with this user_data has left the CQ. */
static __always_inline void ringstep__hidden_gone(struct ringstep_control *control, __u64 user_data)
{
	if (user_data == ringstep__hidden_tag(control, armed))
		control->timer.armed = 0;
	else if (user_data == ringstep__hidden_tag(control, updates) && control->timer.updates)
		control->timer.updates--;
}

/*
 * Removes the user engine's wake-ups from the CQ, up to the index `end`, and with `hidden` also the kit's own completions. Returns the number
 * that it removed. The other completions move together towards `end`. That is safe, because the kernel does not write there before the head
 * has passed. It looks at each of the completions once, and there are at most as many as the CQ has entries.
 */
static __noinline __attribute__((unused)) int ringstep__drop_from_cq(ringstep__ring *ring, struct ringstep_control *control,
								     __u8 *cq, __u32 end, bool hidden)
{
	const __u32 mask = ringstep__geometry_of(ring).cq_mask;
	const __u32 shift = ringstep__geometry_of(ring).cqe_shift;
	__u8 *const cqes = cq + ringstep__geometry_of(ring).cqes;
	__u32 *const head_word = (__u32 *)(cq + ringstep__geometry_of(ring).cq_head);
	const __u32 head = ringstep__read_once(head_word);
	struct ringstep__engine engine;
	__u32 from = end, to = end;

	(void)ring;
	if (end - head > mask + 1)
		return 0; /* no kernel leaves the CQ in this state */
	ringstep__engine_of(&engine, ring);
	while (from != head && ringstep__may_loop) {
		const __u64 *cqe;
		__u64 *place;

		from--;
		cqe = (const __u64 *)(cqes + ((__u64)(from & mask) << shift));
		if (ringstep__swallow_wake(&engine, (const __u8 *)cqe))
			continue;
		if (hidden && ringstep__is_hidden(control, cqe[0])) {
			ringstep__hidden_gone(control, cqe[0]);
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

static __always_inline void ringstep__drop_hidden(struct ringstep_turn *turn, __u32 end)
{
	turn->cq_head += (__u32)ringstep__drop_from_cq(turn->engine.ring, turn->control, turn->cq, end, true); /* not reaped */
}

#endif /* RINGSTEP_HIDDEN_BPF_H */
