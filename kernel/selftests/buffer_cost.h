/* SPDX-License-Identifier: GPL-2.0 */
/* What buffer_cost.c and its loop share, at the start of the memory region. */
#ifndef RINGSTEP_SELFTESTS_BUFFER_COST_H
#define RINGSTEP_SELFTESTS_BUFFER_COST_H

#include <linux/types.h>

#define MOST_BYTES 4096

/* How the step gets at the bytes. */
enum cost_way {
	COST_NOTHING,	   /* it does not: what the loop around it takes */
	COST_KFUNC,	   /* bpf_io_uring_read_buffer() copies them from a registered buffer */
	COST_DYNPTR,	   /* bpf_dynptr_read() copies them from a dynptr that is made for each read */
	COST_SAME_DYNPTR,  /* the same, from one dynptr for all reads */
	COST_DYNPTR_SLICE, /* bpf_dynptr_data() gives a pointer to them, without a copy. Only for memory in one piece */
	COST_WAYS,
};

struct cost_plan {
	__u32 way, bytes, reads;
	__u32 failed; /* how many reads have failed */
	__u8 data[MOST_BYTES];
};

#endif
