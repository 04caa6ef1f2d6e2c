/* SPDX-License-Identifier: MIT */
/*
 * A hash of bytes, in C that loops and applications compile. A loop hashes bytes of its state by ringstep_bytes_hash() (ringstep/bytes.bpf.h),
 * an application any bytes by ringstep_hash(), and both get the same number.
 *
 * The hash spreads keys well. It does not withstand a peer that chooses keys so that they collide, whatever the seed: where that matters,
 * limit what a lookup may cost, as ringstep/table.bpf.h does.
 */
#ifndef RINGSTEP_HASH_H
#define RINGSTEP_HASH_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Not for authors. The hash of no bytes yet, of `length` that are to come. */
static inline __u64 ringstep__hash_begin(__u64 length, __u64 seed)
{
	return seed ^ length * 0x9e3779b97f4a7c15ULL;
}

/* Not for authors. Adds a word of eight bytes, the first of them lowest. The last word has zeroes behind the last byte. */
static inline __u64 ringstep__hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0xbf58476d1ce4e5b9ULL;
	return hash ^ hash >> 32;
}

/* Not for authors. The hash of all bytes. */
static inline __u64 ringstep__hash_end(__u64 hash)
{
	hash *= 0x94d049bb133111ebULL;
	return hash ^ hash >> 29;
}

#ifndef __bpf__
/* Returns the hash of `length` bytes. For applications: a loop uses ringstep_bytes_hash(). */
static inline __u64 ringstep_hash(const void *bytes, __u64 length, __u64 seed)
{
	const unsigned char *at = (const unsigned char *)bytes;
	__u64 hash = ringstep__hash_begin(length, seed);

	while (length) {
		__u64 word = 0;
		unsigned int i = 0;

		for (; i < 8 && length; i++, length--) {
			const __u64 byte = *at++;

			word |= byte << 8 * i;
		}
		hash = ringstep__hash_word(hash, word);
	}
	return ringstep__hash_end(hash);
}
#endif

#endif /* RINGSTEP_HASH_H */
