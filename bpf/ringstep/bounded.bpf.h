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
 * iterations (measured on Linux 7.1 and 7.3).
 *
 * Example: ringstep_while (state->in_flight < state->depth) { ... state->in_flight++; }
 */
#define ringstep_while(condition) ringstep__while(condition)

#endif /* RINGSTEP_BOUNDED_BPF_H */
