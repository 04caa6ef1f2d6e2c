/* SPDX-License-Identifier: MIT */
/*
 * Whether bytes are the same, and which come first.
 *
 * Include <ringstep/bytes.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_BYTES_COMPARE_BPF_H
#define RINGSTEP_BYTES_COMPARE_BPF_H

#include <ringstep/bytes/words.bpf.h>

/* Returns a word with its letters from A to Z as small ones. */
static __always_inline __u64 ringstep__bytes_folded(__u64 word)
{
	const __u64 low = word & ringstep__bytes_all(0x7f);
	const __u64 from_a = low + ringstep__bytes_all(0x80 - 'A');
	const __u64 behind_z = low + ringstep__bytes_all(0x7f - 'Z');

	return word | ((from_a ^ behind_z) & ~word & ringstep__bytes_all(0x80)) >> 2;
}

/* Returns the order of two words that differ. */
static __always_inline int ringstep__bytes_order(__u64 a, __u64 b)
{
	return __builtin_bswap64(a) < __builtin_bswap64(b) ? -1 : 1;
}

static __always_inline int ringstep__bytes_compare(const __u8 *a, __u64 a_size, __u64 a_at, __u64 a_end, const __u8 *b,
						   __u64 b_size, __u64 b_at, __u64 b_end, bool folds)
{
	__u64 a_length, b_length, a_low, b_low, a_high, b_high, a_shift, b_shift, x, y;
	__s64 left;

	if (a_end > a_size)
		a_end = a_size;
	if (b_end > b_size)
		b_end = b_size;
	a_length = a_at < a_end ? a_end - a_at : 0;
	b_length = b_at < b_end ? b_end - b_at : 0;
	left = (__s64)ringstep__bytes_unknown(a_length < b_length ? a_length : b_length);
	a_shift = ringstep__bytes_shift(a_at);
	b_shift = ringstep__bytes_shift(b_at);
	a_at = ringstep__bytes_unknown(a_at);
	b_at = ringstep__bytes_unknown(b_at);
	a_low = ringstep__bytes_load(a, a_size, a_at);
	b_low = ringstep__bytes_load(b, b_size, b_at);
	while (left >= 8 && ringstep__may_loop) {
		a_at += 8;
		b_at += 8;
		a_high = ringstep__bytes_load(a, a_size, a_at);
		b_high = ringstep__bytes_load(b, b_size, b_at);
		x = ringstep__bytes_joined(a_low, a_high, a_shift);
		y = ringstep__bytes_joined(b_low, b_high, b_shift);
		if (folds) {
			x = ringstep__bytes_folded(x);
			y = ringstep__bytes_folded(y);
		}
		if (x != y)
			return ringstep__bytes_order(x, y);
		a_low = a_high;
		b_low = b_high;
		left -= 8;
		barrier_var(left);
	}
	if (left & 7) {
		x = ringstep__bytes_joined(a_low, ringstep__bytes_load(a, a_size, a_at + 8), a_shift);
		y = ringstep__bytes_joined(b_low, ringstep__bytes_load(b, b_size, b_at + 8), b_shift);
		x &= ringstep__bytes_first((__u64)left);
		y &= ringstep__bytes_first((__u64)left);
		if (folds) {
			x = ringstep__bytes_folded(x);
			y = ringstep__bytes_folded(y);
		}
		if (x != y)
			return ringstep__bytes_order(x, y);
	}
	return a_length < b_length ? -1 : a_length > b_length;
}

/*
 * Compares two ranges of bytes, like memcmp(3). Returns 0 if they are the same, a negative number if the first one comes first, otherwise a
 * positive number. If one is the begin of the other, the shorter one comes first.
 *
 * Example: if (ringstep_bytes_compare(conn->input, key, key_end, state->keys[i & (KEYS - 1)].bytes, 0, length) == 0) …
 */
#define ringstep_bytes_compare(a, a_at, a_end, b, b_at, b_end)                                                                 \
	ringstep__bytes_compare((const __u8 *)(a), ringstep__bytes_size(a), a_at, a_end, (const __u8 *)(b),                    \
				ringstep__bytes_size(b), b_at, b_end, false)

/* Compares two ranges like ringstep_bytes_compare(), where the letters from A to Z count as those from a to z. */
#define ringstep_bytes_compare_nocase(a, a_at, a_end, b, b_at, b_end)                                                          \
	ringstep__bytes_compare((const __u8 *)(a), ringstep__bytes_size(a), a_at, a_end, (const __u8 *)(b),                    \
				ringstep__bytes_size(b), b_at, b_end, true)

/* Returns true if a word of a literal, and one of an array, are not the same. */
static __always_inline bool ringstep__bytes_differ(const __u8 *base, __u64 size, __u64 at, const char *literal, __u64 length,
						   __u64 from, bool folds)
{
	__u64 wanted, word;

	if (from >= length)
		return false;
	wanted = ringstep__bytes_of_literal(literal, length, from);
	word = ringstep__bytes_at(base, size, at + from);
	if (length - from < 8)
		word &= ringstep__bytes_first(length - from);
	return folds ? ringstep__bytes_folded(word) != ringstep__bytes_folded(wanted) : word != wanted;
}

static __always_inline bool ringstep__bytes_are(const __u8 *base, __u64 size, __u64 at, __u64 end, const char *literal,
						__u64 length, bool folds)
{
	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > size)
		end = size;
	if ((at < end ? end - at : 0) != length)
		return false;
	barrier_var(at);
	return !(ringstep__bytes_differ(base, size, at, literal, length, 0, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 8, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 16, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 24, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 32, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 40, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 48, folds) ||
		 ringstep__bytes_differ(base, size, at, literal, length, 56, folds));
}

/*
 * Returns true if the bytes of the range from `at` to `end` are those of a string literal of up to 64 bytes, all of them.
 *
 * Example: if (ringstep_bytes_are(conn->input, at, space, "GET")) …
 */
#define ringstep_bytes_are(array, at, end, literal)                                                                            \
	ringstep__bytes_are((const __u8 *)(array), ringstep__bytes_size(array), at, end, literal,                              \
			    ringstep__literal_length(literal), false)

/* Like ringstep_bytes_are(), where the letters from A to Z count as those from a to z. */
#define ringstep_bytes_are_nocase(array, at, end, literal)                                                                     \
	ringstep__bytes_are((const __u8 *)(array), ringstep__bytes_size(array), at, end, literal,                              \
			    ringstep__literal_length(literal), true)

#endif /* RINGSTEP_BYTES_COMPARE_BPF_H */
