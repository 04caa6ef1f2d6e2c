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
	__u64 place, found;

	if (end > size)
		end = size;
	if (at >= end)
		return end;
	barrier_var(at);
	place = ringstep__bytes_unknown(at & ~7ULL);
	/* Bytes in front of the range are made to be unlike the one that is looked for. */
	found = ringstep__bytes_zeroes((ringstep__bytes_load(base, size, place) ^ pattern) | ringstep__bytes_first(at));
	while (!found) {
		place += 8;
		if (place >= end || !ringstep__may_loop)
			return end;
		found = ringstep__bytes_zeroes(ringstep__bytes_load(base, size, place) ^ pattern);
	}
	place += ringstep__bytes_lowest(found);
	return place < end ? place : end;
}

/*
 * Returns the position of the first byte with this value in the range from `at` to `end`, or the end of the range if there is none.
 *
 * Example: space = ringstep_bytes_find(conn->input, at, line, ' ');
 */
#define ringstep_bytes_find(array, at, end, byte)                                                                              \
	ringstep__bytes_find((const __u8 *)(array), ringstep__bytes_size(array), at, end, byte)

static __always_inline __u64 ringstep__bytes_find_crlf(const __u8 *base, __u64 size, __u64 at, __u64 end)
{
	const __u64 cr = ringstep__bytes_all('\r'), lf = ringstep__bytes_all('\n');
	__u64 place, word, next, before, found;

	if (end > size)
		end = size;
	if (at >= end)
		return end;
	place = ringstep__bytes_unknown(at & ~7ULL);
	word = ringstep__bytes_load(base, size, place);
	before = ringstep__bytes_first(at);
	do {
		next = ringstep__bytes_load(base, size, place + 8);
		/* A byte of it is zero where there is a CR with an LF behind it. */
		found = ringstep__bytes_zeroes((word ^ cr) | ((word >> 8 | next << 56) ^ lf) | before);
		if (found) {
			place += ringstep__bytes_lowest(found);
			return place + 1 < end ? place : end;
		}
		word = next;
		before = 0;
		place += 8;
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
	ringstep__bytes_find_crlf((const __u8 *)(array), ringstep__bytes_size(array), at, end)

#endif /* RINGSTEP_BYTES_FIND_BPF_H */
