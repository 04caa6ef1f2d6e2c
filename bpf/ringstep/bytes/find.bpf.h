/* SPDX-License-Identifier: MIT */
/*
 * Where a byte is, and where a line ends.
 *
 * Include <ringstep/bytes.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_BYTES_FIND_BPF_H
#define RINGSTEP_BYTES_FIND_BPF_H

#include <ringstep/bytes/words.bpf.h>

static __always_inline __u64 ringstep__bytes_find(const __u8 *base, __u64 size, __u64 at, __u64 end, __u8 byte)
{
	const __u64 pattern = ringstep__bytes_all(byte);
	const __u8 *block;
	__u64 place, x, y;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > size)
		end = size;
	if (at >= end)
		return end;
	barrier_var(at);
	end = ringstep__bytes_unknown(end);
	place = ringstep__bytes_unknown(at & ~15ULL);
	block = ringstep__bytes_block(base, size, place);
	x = ringstep__bytes_of_block(block, 0) ^ pattern;
	y = ringstep__bytes_of_block(block, 1) ^ pattern;
	/* Bytes in front of the range are made to be unlike the one that is looked for. */
	if (at & 8) {
		x = ~0ULL;
		y |= ringstep__bytes_first(at);
	} else {
		x |= ringstep__bytes_first(at);
	}
	for (;;) {
		x = ringstep__bytes_zeroes(x);
		y = ringstep__bytes_zeroes(y);
		if ((x | y) & RINGSTEP__BYTES_HIGHEST)
			break;
		place += 16;
		if (place >= end || !ringstep__may_loop)
			return end;
		block = ringstep__bytes_block(base, size, place);
		x = ringstep__bytes_of_block(block, 0) ^ pattern;
		y = ringstep__bytes_of_block(block, 1) ^ pattern;
	}
	place += ringstep__bytes_first_zero(x, y);
	return place < end ? place : end;
}

/*
 * Returns the position of the first byte with this value in the range from `at` to `end`, or the end of the range if there is none.
 *
 * Example: space = ringstep_bytes_find(conn->input, at, line, ' ');
 */
#define ringstep_bytes_find(array, at, end, byte)                                                                              \
	ringstep__bytes_unknown(ringstep__bytes_find((const __u8 *)(array), ringstep__bytes_size(array), at, end, byte))

/* Returns a word of which a byte is zero where there is a CR with an LF behind it. `next` is the word behind it. */
static __always_inline __u64 ringstep__bytes_crlf(__u64 word, __u64 next)
{
	return (word ^ ringstep__bytes_all('\r')) | ((word >> 8 | next << 56) ^ ringstep__bytes_all('\n'));
}

static __always_inline __u64 ringstep__bytes_find_crlf(const __u8 *base, __u64 size, __u64 at, __u64 end)
{
	const __u8 *block;
	__u64 place, word, middle, next, before, more_before, x, y;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > size)
		end = size;
	if (at >= end)
		return end;
	barrier_var(at);
	end = ringstep__bytes_unknown(end);
	place = ringstep__bytes_unknown(at & ~15ULL);
	block = ringstep__bytes_block(base, size, place);
	before = ringstep__bytes_first(at);
	more_before = 0;
	if (at & 8) {
		more_before = before;
		before = ~0ULL;
	}
	word = ringstep__bytes_of_block(block, 0);
	do {
		middle = ringstep__bytes_of_block(block, 1);
		block = ringstep__bytes_block(base, size, place + 16);
		next = ringstep__bytes_of_block(block, 0);
		x = ringstep__bytes_zeroes(ringstep__bytes_crlf(word, middle) | before);
		y = ringstep__bytes_zeroes(ringstep__bytes_crlf(middle, next) | more_before);
		if ((x | y) & RINGSTEP__BYTES_HIGHEST) {
			place += ringstep__bytes_first_zero(x, y);
			return place + 1 < end ? place : end;
		}
		word = next;
		before = 0;
		more_before = 0;
		place += 16;
	} while (place < end && ringstep__may_loop);
	return end;
}

/*
 * Returns the position of the first CR with an LF behind it, both in the range from `at` to `end`. Returns the end of the range if there is
 * none. If the last byte of the range is a CR, more bytes may complete it: look again from there on.
 *
 * Example: line = ringstep_bytes_find_crlf(conn->input, at, filled);
 */
#define ringstep_bytes_find_crlf(array, at, end)                                                                               \
	ringstep__bytes_unknown(ringstep__bytes_find_crlf((const __u8 *)(array), ringstep__bytes_size(array), at, end))

#endif /* RINGSTEP_BYTES_FIND_BPF_H */
