/* SPDX-License-Identifier: MIT */
/*
 * A table of entries that are found by a key: files with a limit, groups of requests. Zeroes are an empty table.
 *
 *	struct my_entry {
 *		__u64 key;	// the table's
 *		__u32 next;	// the table's
 *		__u32 requests; // the loop's own
 *	};
 *
 *	struct my_state {
 *		struct ringstep_table table;
 *		__u32 buckets[1024];		// a power of two
 *		struct my_entry entries[1024];	// a power of two
 *	};
 *
 * The loop's side is ringstep/table.bpf.h.
 */
#ifndef RINGSTEP_BLOCKS_TABLE_H
#define RINGSTEP_BLOCKS_TABLE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* What a table needs besides its buckets and entries. */
struct ringstep_table {
	__u32 used;   /* entries that have a key */
	__u32 opened; /* entries that have ever had one: the first ones */
	__u32 unused; /* one more than the number of the first of them that is free again; 0: none */
};

#endif /* RINGSTEP_BLOCKS_TABLE_H */
