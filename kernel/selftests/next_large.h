/* SPDX-License-Identifier: GPL-2.0 */
/* What the loop in next_large.bpf.c leaves in the memory region: the results of its copies, and the bytes that it has copied. */
#ifndef RINGSTEP_SELFTESTS_NEXT_LARGE_H
#define RINGSTEP_SELFTESTS_NEXT_LARGE_H

#include <linux/types.h>

/* The most that one copy may move. */
#define LARGE_COPY (1 << 20)

struct large_copies {
	__u32 turns;
	__s32 largest_read, larger_read;
	__s32 largest_write, larger_write;
	__u8 data[LARGE_COPY + 1];
};

#endif
