/* SPDX-License-Identifier: MIT */
/* Defines a loop for the kernel. */
#ifndef RINGSTEP_TARGET_KERNEL_LOOP_BPF_H
#define RINGSTEP_TARGET_KERNEL_LOOP_BPF_H

#include <ringstep/turn.bpf.h>

/*
 * Gets the regions. Every turn must do this, because the pointers are valid for one turn. Returns RINGSTEP_CONTINUE if the step may run;
 * otherwise the program must return the result.
 */
static __always_inline int ringstep__turn_begin(struct ringstep_turn *turn, const __u64 *args)
{
	__u32 stop;

	turn->engine.ring = (ringstep__ring *)args[0];
	turn->engine.params = (struct iou_loop_params___ringstep *)args[1];
	turn->control = (struct ringstep_control *)bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_MEM,
										      ringstep_geometry.mem_size);
	if (!turn->control)
		return RINGSTEP__NO_REGION;
	stop = *(volatile __u32 *)&turn->control->stop;
	if (stop) {
		turn->control->stopped = stop;
		return RINGSTEP_STOP;
	}
	turn->cq = bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_CQ, ringstep_geometry.cq_size);
	turn->sq = bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_SQ, ringstep_geometry.sq_size);
	if (!turn->cq || !turn->sq) {
		turn->control->fault = RINGSTEP_FAULT_RINGS;
		return RINGSTEP_STOP;
	}
	ringstep__turn_start(turn);
	return RINGSTEP_CONTINUE;
}

#define RINGSTEP_LOOP(name, state_type)                                                                                        \
	_Static_assert(sizeof(state_type) < (1ULL << 29),                                                                      \
		       "the state has 512 MiB or more, and no loop in the kernel reaches that far: keep what the loop itself " \
		       "does not look at elsewhere in the process");                                                           \
	char ringstep_license[] SEC("license") = "Dual MIT/GPL";                                                               \
	const volatile struct ringstep_geometry ringstep_geometry = {                                                          \
		.abi = RINGSTEP_ABI_VERSION,                                                                                   \
		.state_size = sizeof(state_type),                                                                              \
	};                                                                                                                     \
	state_type *const volatile ringstep_state = 0; /* so that the BTF has the type */                                      \
	static __always_inline int name##_step(struct ringstep_turn *turn, state_type *state);                                 \
	static __always_inline int name##_turn(struct ringstep_turn *turn, bool usual, bool rewinds, __u32 sqe_shift,          \
					       __u32 cqe_shift)                                                                \
	{                                                                                                                      \
		turn->usual = usual;                                                                                           \
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
		/* The compiler sees constants in the first call, and the verifier sees that only one call is reachable. */    \
		if (ringstep_geometry.flags >= RINGSTEP_USUAL)                                                                 \
			return name##_turn(&turn, true, true, 6, 4);                                                           \
		return name##_turn(&turn, false, ringstep_geometry.flags & RINGSTEP_SQ_REWIND, ringstep_geometry.sqe_shift,    \
				   ringstep_geometry.cqe_shift);                                                               \
	}                                                                                                                      \
	SEC(".struct_ops.link")                                                                                                \
	struct io_uring_bpf_ops___ringstep name = {                                                                            \
		.loop_step = (void *)name##_loop_step,                                                                         \
	};                                                                                                                     \
	static __always_inline int name##_step(struct ringstep_turn *turn, state_type *state)

#endif /* RINGSTEP_TARGET_KERNEL_LOOP_BPF_H */
