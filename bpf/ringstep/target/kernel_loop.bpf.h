/* SPDX-License-Identifier: MIT */
/* Defines a loop for the kernel. */
#ifndef RINGSTEP_TARGET_KERNEL_LOOP_BPF_H
#define RINGSTEP_TARGET_KERNEL_LOOP_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/cqe.bpf.h>
#include <ringstep/turn.bpf.h>

/*
 * One call of the program makes several turns if the completions that a turn waits for are already in the CQ. That is so for requests that
 * complete during the submit. The next turn then begins at once, which saves the cost of leaving the program, getting the regions and being
 * called again. With kernel/next, the call also goes on if the kernel has deferred work to do, such as completing a receive: the kernel does it
 * during the call.
 *
 * The kernel looks for signals, does other deferred work, and moves completions from the overflow list into the CQ only between two calls. So a call
 * ends after RINGSTEP_CALL_TURNS turns, or after a turn that has brought the completions it took to that number. A long step submits as many
 * requests, so signals wait about as long as they wait for one long step. A stop request is looked at before each turn.
 *
 * In each run, the kernel gets the chance to do its deferred work. If the step stops in the run's first call, and the kernel owes such work, the
 * run ends in a second call that makes no turn.
 *
 * To make every call of a loop one turn long, define RINGSTEP_CALL_TURNS as 1 before you include the kit.
 */
#ifndef RINGSTEP_CALL_TURNS
#define RINGSTEP_CALL_TURNS 64
#endif
#define RINGSTEP__CALL_TURNS (RINGSTEP_CALL_TURNS != 1 && RINGSTEP__VERIFIER_NESTS_LOOPS ? RINGSTEP_CALL_TURNS : 1)

/* Returns something else than 0 if there is a stop request, or a value of .fault. */
static __always_inline __u64 ringstep__ends(const struct ringstep_control *control)
{
	_Static_assert(offsetof(struct ringstep_control, fault) == offsetof(struct ringstep_control, stop) + 4,
		       "read as one word");
	return *(const volatile __u64 *)&control->stop;
}

/*
 * Gets the regions. Every call must do this, because the pointers are valid for one call. Returns RINGSTEP_CONTINUE if the step may run;
 * otherwise the program must return the result.
 */
static __always_inline int ringstep__call_begin(struct ringstep_turn *turn, const __u64 *args)
{
	turn->engine.ring = (ringstep__ring *)args[0];
	turn->engine.params = (struct iou_loop_params___ringstep *)args[1];
	turn->control = (struct ringstep_control *)bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_MEM,
										      ringstep_geometry.mem_size);
	if (!turn->control)
		return RINGSTEP__NO_REGION;
	if (ringstep__ends(turn->control)) {
		if (!turn->control->fault)
			turn->control->stopped = *(volatile __u32 *)&turn->control->stop;
		return RINGSTEP_STOP;
	}
	turn->cq = bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_CQ, ringstep_geometry.cq_size);
	turn->sq = bpf_io_uring_get_region___ringstep(turn->engine.ring, RINGSTEP__REGION_SQ, ringstep_geometry.sq_size);
	if (!turn->cq || !turn->sq) {
		turn->control->fault = RINGSTEP_FAULT_RINGS;
		return RINGSTEP_STOP;
	}
	ringstep__turns_look(turn);
	ringstep__turns_start(turn);
	return RINGSTEP_CONTINUE;
}

/* Returns how many turns this call may make, and reads the wait index of the last call. */
static __always_inline __s64 ringstep__call_turns(struct ringstep_turn *turn)
{
	turn->engine.cq_wait_idx = ringstep__read_once(&turn->engine.params->cq_wait_idx);
	return ringstep_limit(RINGSTEP__CALL_TURNS);
}

/*
 * Lets the kernel do the work that the completions may come from which the next turn waits for. Returns true if they are in the CQ then. Kernels that
 * cannot do it during a call have nothing of this in the program, so that it costs their verifiers nothing.
 */
static __always_inline bool ringstep__work_brings(struct ringstep_turn *turn, __u32 head)
{
	const __s32 wanted = (__s32)(turn->engine.cq_wait_idx - head);

	if (!ringstep__can_run_work() || wanted <= 0)
		return false;
	return ringstep__run_work(&turn->engine, (__u32)wanted - ringstep_cq_ready(turn)) >= wanted;
}

/* Returns true if another turn follows in this call. `left`: how many more turns it may make. */
static __always_inline bool ringstep__call_goes_on(struct ringstep_turn *turn, int result, __s64 left)
{
	const __u32 head = *turn->head;

	if (RINGSTEP__CALL_TURNS == 1 || result != RINGSTEP_CONTINUE || left <= 0)
		return false;
	/* A turn that wants to wait for nothing wants all of the kernel's work to be done. */
	if (turn->engine.cq_wait_idx - head - 1 >= ringstep_cq_ready(turn) && !ringstep__work_brings(turn, head))
		return false;
	if (head - turn->cq_head >= RINGSTEP_CALL_TURNS)
		return false;
	if (ringstep__ends(turn->control))
		return false;
	/* Through memory, so that the verifier knows no more of the cursor than in the first turn. */
	ringstep__sq_store(turn);
	ringstep__sq_load(turn);
	ringstep__forget_wait(&turn->engine);
	return true;
}

/*
 * Ends a call after the step has stopped. If it is the first call of a run, and the kernel owes deferred work, lets the kernel do it first. Returns
 * the program's result. Out of line, so that the verifier follows a step with less in mind.
 */
static __noinline int ringstep__end_run(ringstep__ring *ring, struct iou_loop_params___ringstep *params,
					struct ringstep_control *control, __u32 head)
{
	const struct ringstep__engine engine = {.ring = ring};

	/* The kernel's parameters are zero in the first call. */
	if (params->cq_wait_idx || control->fault || !ringstep__kernel_owes_work(&engine))
		return RINGSTEP_STOP;
	control->fault = RINGSTEP_FAULT_STOPPED;
	params->cq_wait_idx = head;
	return RINGSTEP_CONTINUE;
}

static __always_inline int ringstep__call_end(struct ringstep_turn *turn, int result, __u64 turns)
{
	__u32 wait = turn->engine.cq_wait_idx;

	turn->control->calls++;
	result = ringstep__turns_end(turn, result, turns);
	if (RINGSTEP__CALL_TURNS != 1 && result == RINGSTEP_STOP)
		return ringstep__end_run(turn->engine.ring, turn->engine.params, turn->control, *turn->head);
	if ((__s32)(wait - *turn->head - ringstep_cq_ready(turn)) > 0 && unlikely(ringstep__work_pending(&turn->engine)))
		wait = *turn->head;
	turn->engine.params->cq_wait_idx = wait;
	return result;
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
	static __always_inline int name##_turns(struct ringstep_turn *turn, bool usual, bool rewinds, __u32 sqe_shift,         \
						__u32 cqe_shift)                                                               \
	{                                                                                                                      \
		__s64 turns, left;                                                                                             \
		int result;                                                                                                    \
                                                                                                                               \
		turn->usual = usual;                                                                                           \
		turn->rewinds = rewinds;                                                                                       \
		turn->sqe_shift = sqe_shift;                                                                                   \
		turn->cqe_shift = cqe_shift;                                                                                   \
		ringstep__sq_load(turn);                                                                                       \
		left = ringstep__call_turns(turn);                                                                             \
		turns = left + (__s64)ringstep__unknown_zero(); /* otherwise the verifier would know how the two differ */     \
		do {                                                                                                           \
			turn->cut = false;                                                                                     \
			result = name##_step(turn, (state_type *)(turn->control + 1));                                         \
		} while (ringstep__call_goes_on(turn, result, left = ringstep__one_less(left)) && ringstep__may_loop);         \
		return ringstep__call_end(turn, result, (__u64)(turns - left));                                                \
	}                                                                                                                      \
	SEC("struct_ops.s/loop_step")                                                                                          \
	int name##_loop_step(unsigned long long *args)                                                                         \
	{                                                                                                                      \
		struct ringstep_turn turn;                                                                                     \
		int result = ringstep__call_begin(&turn, args);                                                                \
                                                                                                                               \
		if (result != RINGSTEP_CONTINUE)                                                                               \
			return result;                                                                                         \
		/* The compiler sees constants in the first call, and the verifier sees that only one call is reachable. */    \
		if (ringstep_geometry.flags >= RINGSTEP_USUAL)                                                                 \
			return name##_turns(&turn, true, true, 6, 4);                                                          \
		return name##_turns(&turn, false, ringstep_geometry.flags & RINGSTEP_SQ_REWIND, ringstep_geometry.sqe_shift,   \
				    ringstep_geometry.cqe_shift);                                                              \
	}                                                                                                                      \
	SEC(".struct_ops.link")                                                                                                \
	struct io_uring_bpf_ops___ringstep name = {                                                                            \
		.loop_step = (void *)name##_loop_step,                                                                         \
	};                                                                                                                     \
	static __always_inline int name##_step(struct ringstep_turn *turn, state_type *state)

#endif /* RINGSTEP_TARGET_KERNEL_LOOP_BPF_H */
