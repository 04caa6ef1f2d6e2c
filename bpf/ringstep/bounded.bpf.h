/* SPDX-License-Identifier: MIT */
/*
 * Loops that the verifier accepts whatever their length.
 *
 * bpf_for() of libbpf (an open-coded iterator) is there for authors. The walk over completions uses the iterator's younger
 * sibling, the may_goto instruction, which costs a counter on the stack instead of a call for each iteration.
 */
#ifndef RINGSTEP_BOUNDED_BPF_H
#define RINGSTEP_BOUNDED_BPF_H

/*
 * Part of a loop's condition. Always true in practice: the kernel ends a loop after 8 million iterations or, on x86-64, after 250 ms,
 * for which it looks at the clock every 65535 iterations only (measured on 7.1 and 7.3).
 */
#if __clang_major__ >= 19
#define ringstep__may_goto(label) asm volatile goto("may_goto %l[" #label "]" ::::label)
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[" #label "] - 1b - 8) / 8) & 0xffff; .short 0" ::::label)
#else
#define ringstep__may_goto(label)                                                                                              \
	asm volatile goto("1: .byte 0xe5; .byte 0; .long (((%l[" #label "] - 1b - 8) / 8) & 0xffff) << 16; .short 0" ::::label)
#endif

#define ringstep__may_loop                                                                                                     \
	({                                                                                                                     \
		__label__ ringstep__spent, ringstep__done;                                                                     \
		bool ringstep__more = true;                                                                                    \
		ringstep__may_goto(ringstep__spent);                                                                           \
		goto ringstep__done;                                                                                           \
	ringstep__spent:                                                                                                       \
		ringstep__more = false;                                                                                        \
	ringstep__done:;                                                                                                       \
		ringstep__more;                                                                                                \
	})

/*
 * A while loop of any length: the verifier follows it until its states repeat, not until it ends. For that to happen soon, what
 * changes from one iteration to the next has to be unknown to the verifier: keep cursors and counts in the state, not in local
 * variables.
 *
 * Example: ringstep_while (state->in_flight < state->depth) { ... state->in_flight++; }
 */
#define ringstep_while(condition) while ((condition) && ringstep__may_loop)

#endif /* RINGSTEP_BOUNDED_BPF_H */
