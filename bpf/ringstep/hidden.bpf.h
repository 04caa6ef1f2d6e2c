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

/* In a process, the CQ's size bounds the loop. It is no part of a step, where tests count it. */
#define RINGSTEP_COMPACT_MAY_LOOP (!RINGSTEP__IS_VERIFIED || ringstep__may_loop)
#include <ringstep/c/compact.h>

/* Returns the user_data that stands for a field of the timer. */
#define ringstep__hidden_tag(control, field) ((control)->address + offsetof(struct ringstep_control, timer.field))

static __always_inline bool ringstep__is_hidden(const struct ringstep_control *control, __u64 user_data)
{
	return ringstep_timer_has(control->address + offsetof(struct ringstep_control, timer), user_data);
}

/* Updates the timer after the kit's own completion with this user_data has left the CQ. */
static __always_inline void ringstep__hidden_gone(struct ringstep_control *control, __u64 user_data)
{
	ringstep_timer_completed(&control->timer, control->address + offsetof(struct ringstep_control, timer), user_data);
}

/* What ringstep__drop_from_cq() has to know of a completion */
struct ringstep__dropping {
	struct ringstep__engine engine;
	struct ringstep_control *control;
	bool hidden;
};

static __always_inline int ringstep__drops(void *context, const ringstep_cqe_word *cqe)
{
	struct ringstep__dropping *dropping = (struct ringstep__dropping *)context;

	if (ringstep__swallow_wake(&dropping->engine, (const __u8 *)cqe))
		return 1;
	if (!dropping->hidden || !ringstep__is_hidden(dropping->control, cqe[0]))
		return 0;
	ringstep__hidden_gone(dropping->control, cqe[0]);
	return 1;
}

/*
 * Removes the user engine's wake-ups from the CQ, up to the index `end`, and with `hidden` also the kit's own completions. Returns the number
 * that it removed. It looks at each of the completions once, and there are at most as many as the CQ has entries.
 */
static __noinline __attribute__((unused)) int ringstep__drop_from_cq(ringstep__ring *ring, struct ringstep_control *control,
								     __u8 *cq, __u32 end, bool hidden)
{
	__u32 *const head_word = (__u32 *)(cq + ringstep__geometry_of(ring).cq_head);
	const __u32 head = ringstep__read_once(head_word);
	ringstep_cqe_word *const cqes = (ringstep_cqe_word *)(cq + ringstep__geometry_of(ring).cqes);
	struct ringstep__dropping dropping;
	__u32 to;

	(void)ring;
	dropping.control = control;
	dropping.hidden = hidden;
	ringstep__engine_of(&dropping.engine, ring);
	to = ringstep_cq_compact(cqes, ringstep__geometry_of(ring).cq_mask, ringstep__geometry_of(ring).cqe_shift - 3, head,
				 end, ringstep__drops, &dropping);
	ringstep__ring_store(head_word, to);
	return (int)(to - head);
}

static __always_inline void ringstep__drop_hidden(struct ringstep_turn *turn, __u32 end)
{
	turn->cq_head += (__u32)ringstep__drop_from_cq(turn->engine.ring, turn->control, turn->cq, end, true); /* not reaped */
}

#endif /* RINGSTEP_HIDDEN_BPF_H */
