/* SPDX-License-Identifier: MIT */
/* State of the loop "entries": a table of entries by key, and operations on it that the test writes down. */
#ifndef ENTRIES_H
#define ENTRIES_H

#include <ringstep/c/blocks/table.h>

#define ENTRIES 64
#define ENTRIES_STEPS 1024
#define ENTRIES_GUARDS 64

struct entries_step {
	__u64 key;    /* to be found or made */
	__u32 forget; /* 1: the entry `number` is to be forgotten instead */
	__u32 number; /* of the entry */
};

struct entries_entry {
	__u64 key;
	__u32 next;
	__u32 finds; /* how often it was found or made since it was free */
};

struct entries {
	__u32 steps; /* so many of the script */
	__u32 done;
	__u64 links; /* that all operations have followed */
	struct ringstep_table table;
	__u32 before[ENTRIES_GUARDS]; /* nothing writes here, nor to .after */
	__u32 buckets[ENTRIES / 4];   /* so few that chains are long */
	struct entries_entry entries[ENTRIES];
	__u32 after[ENTRIES_GUARDS];
	struct entries_step script[ENTRIES_STEPS];
};

#endif
