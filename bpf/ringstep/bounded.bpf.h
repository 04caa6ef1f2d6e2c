/* SPDX-License-Identifier: MIT */
/*
 * C loops that the verifier accepts, regardless of their length.
 *
 * Authors may also use bpf_for() of libbpf, an open-coded iterator. The walk over completions uses the newer may_goto instruction, which
 * costs a counter on the stack instead of a call for each iteration.
 */
#ifndef RINGSTEP_BOUNDED_BPF_H
#define RINGSTEP_BOUNDED_BPF_H

#include <ringstep/target.bpf.h>

/*
 * Runs its body while the condition is true, for any number of iterations. The verifier follows it until the states that it sees repeat,
 * not until the loop ends. They repeat soon if the verifier does not know the values that change from one iteration to the next. So keep
 * cursors and counts in the state, not in local variables.
 *
 * Both engines limit a ringstep_while to 8,388,608 iterations. On x86-64, the kernel also ends it after 250 ms, checked every 65,535
 * iterations (measured on Linux 7.1 and 7.3). The state is memory of the application, and links or counts in it may be wrong. Where that
 * could make a loop run up to these limits, use ringstep_while_at_most().
 *
 * Example: ringstep_while (state->in_flight < state->depth) { ... state->in_flight++; }
 */
#define ringstep_while(condition) ringstep__while(condition)

/*
 * The end of a do loop, which runs again while the condition is true. It has the limits of ringstep_while(), and is cheaper by one test where
 * the body runs at least once.
 *
 * Example: do { ... } ringstep_again_while(submitted != end);
 */
#define ringstep_again_while(condition) while ((condition) && ringstep__may_loop)

/* The most iterations of any loop in one step. */
#define RINGSTEP_MOST_ITERATIONS (8 << 20)

/*
 * Returns a limit of `count` iterations for ringstep_while_at_most(). Keep it in a local variable of type __s64: no other thread can change
 * it there, and the verifier does not know its value.
 */
static __always_inline __s64 ringstep_limit(__u32 count)
{
	return (__s64)(count < RINGSTEP_MOST_ITERATIONS ? count : RINGSTEP_MOST_ITERATIONS) + (__s64)ringstep__unknown_zero();
}

/*
 * Runs its body while the condition is true, at most as often as `limit` says, whatever lies in memory. Each iteration takes 1 from `limit`.
 * The body may take more, for work that it has done in another loop, and several loops may share one limit. Afterwards
 * ringstep_limit_reached() says whether the limit ended the loop; the step then has work left for the next turn.
 *
 * Example:
 *	__s64 limit = ringstep_limit(64);
 *
 *	ringstep_while_at_most (limit, state->waiting.count)
 *		start(turn, state, ringstep_list_pop_front(&state->waiting, state->slots));
 *	return ringstep_submit_and_wait(turn, ringstep_limit_reached(limit) ? 0 : 1);
 */
#define ringstep_while_at_most(limit, condition) while ((limit) > 0 && (condition) && ringstep__may_loop && ((limit)--, true))

/* Returns true if nothing is left of a limit. */
#define ringstep_limit_reached(limit) ((limit) <= 0)

#endif /* RINGSTEP_BOUNDED_BPF_H */
