/* SPDX-License-Identifier: MIT */
/*
 * Takes completions out of the middle of a CQ. Loops and library share this code: loops of every engine take out the kit's own
 * completions and wake-ups with it, and Ring takes out what a loop has left behind.
 */
#ifndef RINGSTEP_COMPACT_H
#define RINGSTEP_COMPACT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Part of the condition of each loop. The kit has another one, without which the verifier would not accept the loop. */
#ifndef RINGSTEP_COMPACT_MAY_LOOP
#define RINGSTEP_COMPACT_MAY_LOOP 1
#endif

/* Without optimization, a debugger can step through it. */
#ifdef __OPTIMIZE__
#define RINGSTEP_COMPACT_INLINE inline __attribute__((always_inline, unused))
#else
#define RINGSTEP_COMPACT_INLINE inline __attribute__((unused))
#endif

/* A CQE as the words that it consists of; the first one is its user_data. May point to a CQE, whatever type that has elsewhere.
 */
typedef __u64 __attribute__((may_alias)) ringstep_cqe_word;

/*
 * Takes completions out of a CQ, between its head and the index `end`, which is the tail or lies before it. `drops` is called
 * once for each completion, the last one first, and returns not 0 for those to take out. The others move together towards
 * `end`. That is safe, because the kernel does not write there before the head has passed. Returns the new head, which the
 * caller stores. If the CQ cannot hold that many completions, something else than the kernel has written to its words: then the
 * function takes none.
 *
 * `cqes` is the first entry, `mask` one less than the number of entries, and `shift` the log2 of the words in an entry: 1 or 2.
 */
static RINGSTEP_COMPACT_INLINE __u32 ringstep_cq_compact(ringstep_cqe_word *cqes, __u32 mask, __u32 shift, __u32 head,
							 __u32 end, int (*drops)(void *context, const ringstep_cqe_word *cqe),
							 void *context)
{
	__u32 from = end, to = end;

	if (end - head > mask + 1)
		return head;
	while (from != head && RINGSTEP_COMPACT_MAY_LOOP) {
		const __u64 at = --from & mask;
		const ringstep_cqe_word *const cqe = cqes + (at << shift);
		ringstep_cqe_word *place;
		__u64 free;

		if (drops(context, cqe))
			continue;
		to--;
		if (to == from)
			continue;
		free = to & mask;
		place = cqes + (free << shift);
		place[0] = cqe[0];
		place[1] = cqe[1];
		if (shift == 2) {
			place[2] = cqe[2];
			place[3] = cqe[3];
		}
	}
	return to;
}

#endif /* RINGSTEP_COMPACT_H */
