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
 * variables. The engines end it at last: the kernel after 8 million iterations or, on x86-64, after 250 ms, for which it looks at the
 * clock every 65535 iterations only (measured on 7.1 and 7.3); the user engine after 8 million iterations.
 *
 * Example: ringstep_while (state->in_flight < state->depth) { ... state->in_flight++; }
 */
#define ringstep_while(condition) ringstep__while (condition)

#endif /* RINGSTEP_BOUNDED_BPF_H */
