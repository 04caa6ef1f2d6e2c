/* SPDX-License-Identifier: MIT */
/* State of the loop "lists": three lists of the same slots, and operations on them that the test writes down. */
#ifndef LISTS_H
#define LISTS_H

#include <ringstep/c/blocks/list.h>

#define LISTS_SLOTS 16
#define LISTS_STEPS 1024
#define LISTS_GUARDS 64

enum lists_operation {
	LISTS_PUSH_BACK,
	LISTS_PUSH_FRONT,
	LISTS_INSERT, /* before .where - 1 */
	LISTS_REMOVE,
	LISTS_POP_FRONT, /* .slot is where the number goes */
};

struct lists_step {
	__u32 operation;
	__u32 slot;
	__u32 where;
	__u32 list; /* which: 0 to 2 */
};

struct lists_slot {
	__u32 next, previous;		  /* of the first list */
	struct ringstep_list_link green;  /* of the second one */
	struct ringstep_list_link yellow; /* of the third one */
};

struct lists {
	__u32 steps; /* so many of the script */
	__u32 done;
	struct ringstep_list lists[3];
	__u32 __reserved;
	__u32 before[LISTS_GUARDS]; /* nothing writes here, nor to .after */
	struct lists_slot slots[LISTS_SLOTS];
	__u32 after[LISTS_GUARDS];
	struct lists_step script[LISTS_STEPS];
};

#endif
