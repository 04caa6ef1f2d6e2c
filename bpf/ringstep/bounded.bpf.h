/* SPDX-License-Identifier: MIT */
/*
 * Loops that the verifier accepts whatever their length.
 *
 * bpf_for() of libbpf (an open-coded iterator) is there for authors. The walk over completions uses the iterator's younger
 * sibling, the may_goto instruction, which costs a counter on the stack instead of a call for each iteration.
 */
#ifndef RINGSTEP_BOUNDED_BPF_H
#define RINGSTEP_BOUNDED_BPF_H

#include <ringstep/target.bpf.h>

/*
 * A while loop of any length: the verifier follows it until its states repeat, not until it ends. For that to happen soon, what
 * changes from one iteration to the next has to be unknown to the verifier: keep cursors and counts in the state, not in local
 * variables. It ends by itself after eight million iterations.
 *
 * Example: ringstep_while (state->in_flight < state->depth) { ... state->in_flight++; }
 */
#define ringstep_while(condition) ringstep__while (condition)

#endif /* RINGSTEP_BOUNDED_BPF_H */
