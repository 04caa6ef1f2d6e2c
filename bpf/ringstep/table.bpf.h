/* SPDX-License-Identifier: MIT */
/*
 * Tables of entries that are found by a key (ringstep/c/blocks/table.h): a hash with one chain of entries for each bucket, and a list of free
 * entries.
 *
 * Pass the arrays themselves, not pointers; their sizes must be powers of two. An entry has the members `__u64 key` and `__u32 next`, which
 * belong to the table. All its other members keep their values, also while the entry is free: zero them before it is forgotten.
 *
 * An operation follows at most as many links as the table has entries, whatever lies in memory. It takes the number of links that it has
 * followed from `limit`, a local variable (ringstep_limit()), so that a step can bound what all of its operations take together. In a table
 * as large as this, chains are short: most operations follow no link.
 *
 * Example:
 *	__s64 limit = ringstep_limit(1024);
 *	__u32 number;
 *
 *	ringstep_while_at_most (limit, ringstep_requests_receive(state, &slot, &mail)) {
 *		number = ringstep_table_find_or_make(&state->table, state->buckets, state->entries, state->slots[slot].own.file, limit);
 *		state->entries[number].requests++;
 *	}
 */
#ifndef RINGSTEP_TABLE_BPF_H
#define RINGSTEP_TABLE_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/c/blocks/table.h>
#include <ringstep/mailbox.bpf.h>

/* Returns the bucket of a key. Multiplication carries every bit of the key into the upper bits of the product. */
#define ringstep__table_bucket(buckets, key) ((__u32)((__u64)(key) * 0x9e3779b97f4a7c15ULL >> 32) & ringstep_mask(buckets))

/*
 * Returns the number of the entry with this key, and makes one if there is none. There must be an entry that is free, which is so if the
 * table has as many entries as the loop has requests.
 */
#define ringstep_table_find_or_make(table, buckets, entries, key_value, limit)                                                 \
	({                                                                                                                     \
		struct ringstep_table *const ringstep__table = (table);                                                        \
		const __u64 ringstep__key = (key_value);                                                                       \
		const __u32 ringstep__bucket = ringstep__table_bucket(buckets, ringstep__key);                                 \
		__u32 ringstep__at = (buckets)[ringstep__bucket];                                                              \
                                                                                                                               \
		if (ringstep__at && (entries)[(ringstep__at - 1) & ringstep_mask(entries)].key != ringstep__key) {             \
			__s64 ringstep__links = ringstep_limit(ringstep_mask(entries) + 1);                                    \
                                                                                                                               \
			ringstep_while_at_most (ringstep__links,                                                               \
						ringstep__at != 0 &&                                                           \
							ringstep__key !=                                                       \
								(entries)[(ringstep__at - 1) & ringstep_mask(entries)].key)    \
				ringstep__at = (entries)[(ringstep__at - 1) & ringstep_mask(entries)].next;                    \
			(limit) -= (__s64)(ringstep_mask(entries) + 1) - ringstep__links;                                      \
			if (ringstep_limit_reached(ringstep__links))                                                           \
				ringstep__at = 0;                                                                              \
		}                                                                                                              \
		if (!ringstep__at) {                                                                                           \
			ringstep_store(&ringstep__table->used, ringstep__table->used + 1);                                     \
			ringstep__at = ringstep__table->unused;                                                                \
			if (ringstep__at)                                                                                      \
				ringstep__table->unused = (entries)[(ringstep__at - 1) & ringstep_mask(entries)].next;         \
			else                                                                                                   \
				ringstep__at = ++ringstep__table->opened;                                                      \
			(entries)[(ringstep__at - 1) & ringstep_mask(entries)].key = ringstep__key;                            \
			(entries)[(ringstep__at - 1) & ringstep_mask(entries)].next = (buckets)[ringstep__bucket];             \
			(buckets)[ringstep__bucket] = ((ringstep__at - 1) & ringstep_mask(entries)) + 1;                       \
		}                                                                                                              \
		(ringstep__at - 1) & ringstep_mask(entries);                                                                   \
	})

/* Removes an entry, whose number is free for another key from then on. It must be in the table. */
#define ringstep_table_forget(table, buckets, entries, number, limit)                                                          \
	do {                                                                                                                   \
		struct ringstep_table *const ringstep__table = (table);                                                        \
		const __u32 ringstep__number = (number) & ringstep_mask(entries);                                              \
		const __u32 ringstep__next = (entries)[ringstep__number].next;                                                 \
		const __u32 ringstep__bucket = ringstep__table_bucket(buckets, (entries)[ringstep__number].key);               \
		__u32 ringstep__at = (buckets)[ringstep__bucket];                                                              \
                                                                                                                               \
		if (ringstep__at == ringstep__number + 1) {                                                                    \
			(buckets)[ringstep__bucket] = ringstep__next;                                                          \
		} else {                                                                                                       \
			__s64 ringstep__links = ringstep_limit(ringstep_mask(entries) + 1);                                    \
                                                                                                                               \
			ringstep_while_at_most (ringstep__links,                                                               \
						ringstep__at != 0 &&                                                           \
							ringstep__number + 1 !=                                                \
								(entries)[(ringstep__at - 1) & ringstep_mask(entries)].next)   \
				ringstep__at = (entries)[(ringstep__at - 1) & ringstep_mask(entries)].next;                    \
			(limit) -= (__s64)(ringstep_mask(entries) + 1) - ringstep__links;                                      \
			if (ringstep__at && !ringstep_limit_reached(ringstep__links))                                          \
				(entries)[(ringstep__at - 1) & ringstep_mask(entries)].next = ringstep__next;                  \
		}                                                                                                              \
		(entries)[ringstep__number].next = ringstep__table->unused;                                                    \
		ringstep__table->unused = ringstep__number + 1;                                                                \
		ringstep_store(&ringstep__table->used, ringstep__table->used - 1);                                             \
	} while (0)

#endif /* RINGSTEP_TABLE_BPF_H */
