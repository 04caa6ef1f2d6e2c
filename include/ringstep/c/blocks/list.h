/* SPDX-License-Identifier: MIT */
/* A queue of slots of one table, linked by their numbers. Zeroes are an empty one. */
#ifndef RINGSTEP_BLOCKS_LIST_H
#define RINGSTEP_BLOCKS_LIST_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* A queue of slots. Zeroes are an empty one. */
struct ringstep_list {
	__u32 first; /* one more than the slot's number; 0: none */
	__u32 last;  /* one more than the last slot's number; 0: none */
	__u32 count; /* of the slots in it */
};

/* The links of a slot in one list, for slots that are in several lists at once. */
struct ringstep_list_link {
	__u32 next;	/* one more than the number of the next slot; 0: none */
	__u32 previous; /* one more than the number of the slot before it; 0: none */
};

#endif /* RINGSTEP_BLOCKS_LIST_H */
