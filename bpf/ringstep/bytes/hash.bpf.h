/* SPDX-License-Identifier: MIT */
/*
 * The hash of a range of bytes.
 *
 * Include <ringstep/bytes.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_BYTES_HASH_BPF_H
#define RINGSTEP_BYTES_HASH_BPF_H

#include <ringstep/bytes/words.bpf.h>
#include <ringstep/c/hash.h>

static __always_inline __u64 ringstep__bytes_hash(const __u8 *base, __u64 size, __u64 at, __u64 end, __u64 seed)
{
	__u64 hash, low, high, shift;
	__s64 left;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > size)
		end = size;
	if (at > end)
		at = end;
	hash = ringstep__bytes_unknown(ringstep__hash_begin(end - at, seed));
	left = (__s64)ringstep__bytes_unknown(end - at);
	shift = ringstep__bytes_shift(at);
	at = ringstep__bytes_unknown(at);
	low = ringstep__bytes_load(base, size, at);
	while (left >= 8 && ringstep__may_loop) {
		at += 8;
		barrier_var(at); /* as in ringstep__bytes_copy() */
		high = ringstep__bytes_load(base, size, at);
		hash = ringstep__hash_word(hash, ringstep__bytes_joined(low, high, shift));
		low = high;
		left -= 8;
		barrier_var(left);
	}
	if (left & 7) {
		high = ringstep__bytes_load(base, size, at + 8);
		hash = ringstep__hash_word(hash, ringstep__bytes_joined(low, high, shift) & ringstep__bytes_first((__u64)left));
	}
	return ringstep__hash_end(hash);
}

/*
 * Returns the hash of the range from `at` to `end`, which is what ringstep_hash() of <ringstep/c/hash.h> returns for these bytes and this seed.
 *
 * Example: number = ringstep_table_find_or_make(&state->keys, state->buckets, state->entries,
 *						 ringstep_bytes_hash(conn->input, key, key_end, state->seed), limit);
 */
#define ringstep_bytes_hash(array, at, end, seed)                                                                              \
	ringstep__bytes_hash((const __u8 *)(array), ringstep__bytes_size(array), at, end, seed)

#endif /* RINGSTEP_BYTES_HASH_BPF_H */
