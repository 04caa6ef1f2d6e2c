/* SPDX-License-Identifier: MIT */
/*
 * The authoring kit: all that a loop includes.
 *
 * A loop is one function, the step, over three regions of memory: its state, the completions and the submissions. The kernel
 * calls it once a turn inside io_uring_enter(). It looks at what has completed, claims and fills in SQEs, submits them, and
 * says either for how many completions to wait, or to stop.
 *
 *	#include <ringstep/loop.bpf.h>
 *	#include "ping.h"	// struct ping { __u64 left; __u64 in_flight; __u64 done; };
 *
 *	RINGSTEP_LOOP(ping, struct ping)
 *	{
 *		struct io_uring_cqe *cqe;
 *
 *		ringstep_for_each_cqe(turn, cqe) {
 *			state->in_flight--;
 *			state->done++;
 *		}
 *		if (!state->left && !state->in_flight)
 *			return ringstep_stop(turn, 0);
 *		if (state->left && !state->in_flight) {
 *			ringstep_prep_nop(ringstep_get_sqe(turn));
 *			state->left--;
 *			state->in_flight++;
 *		}
 *		return ringstep_submit_and_wait(turn, 1);
 *	}
 *
 * What to know before writing one:
 * - A step may be called when nothing has completed. Keep in the state what is in flight, and look.
 * - Everything that lasts from one turn to the next lives in the state. It starts as the application filled it in.
 * - A step must end: walk with ringstep_for_each_cqe(), count with bpf_for() or a constant bound.
 * - Index into the state's arrays with a mask (i & (N - 1)), so that the verifier sees the bound.
 */
#ifndef RINGSTEP_LOOP_BPF_H
#define RINGSTEP_LOOP_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>
#include <ringstep/turn.bpf.h>
#include <ringstep/types.bpf.h>

/*
 * Defines the loop called name, whose state is a state_type (a struct that the application shares); the step's body follows
 * it. In the body, `turn` is the turn to hand to the kit and `state` points to the state. One loop a file.
 */
#define RINGSTEP_LOOP(name, state_type)                                                                                        \
	char ringstep_license[] SEC("license") = "Dual MIT/GPL";                                                               \
	const volatile struct ringstep_geometry ringstep_geometry = {                                                          \
		.abi = RINGSTEP_ABI_VERSION,                                                                                   \
		.state_size = sizeof(state_type),                                                                              \
	};                                                                                                                     \
	static __always_inline int name##_step(struct ringstep_turn *turn, state_type *state);                                 \
	static __always_inline int name##_turn(struct ringstep_turn *turn, bool rewinds, __u32 sqe_shift, __u32 cqe_shift)     \
	{                                                                                                                      \
		turn->rewinds = rewinds;                                                                                       \
		turn->sqe_shift = sqe_shift;                                                                                   \
		turn->cqe_shift = cqe_shift;                                                                                   \
		ringstep__sq_load(turn);                                                                                       \
		return ringstep__turn_end(turn, name##_step(turn, (state_type *)(turn->control + 1)));                         \
	}                                                                                                                      \
	SEC("struct_ops.s/loop_step")                                                                                          \
	int name##_loop_step(unsigned long long *args)                                                                         \
	{                                                                                                                      \
		struct ringstep_turn turn;                                                                                     \
		int result = ringstep__turn_begin(&turn, args);                                                                \
                                                                                                                               \
		if (result != RINGSTEP_CONTINUE)                                                                               \
			return result;                                                                                         \
		/* To the compiler these are constants in the first call, and to the verifier the other one is dead. */        \
		if (ringstep_geometry.flags & RINGSTEP_SHORT_ENTRIES)                                                          \
			return name##_turn(&turn, true, 6, 4);                                                                 \
		return name##_turn(&turn, ringstep_geometry.flags & RINGSTEP_SQ_REWIND, ringstep_geometry.sqe_shift,           \
				   ringstep_geometry.cqe_shift);                                                               \
	}                                                                                                                      \
	SEC(".struct_ops.link")                                                                                                \
	struct io_uring_bpf_ops___ringstep name = {                                                                            \
		.loop_step = (void *)name##_loop_step,                                                                         \
	};                                                                                                                     \
	static __always_inline int name##_step(struct ringstep_turn *turn, state_type *state)

#endif /* RINGSTEP_LOOP_BPF_H */
