/* SPDX-License-Identifier: MIT */
/*
 * Copies bytes. No byte outside of the range that is written to is touched, so the bytes beside it may belong to somebody else.
 *
 * Include <ringstep/bytes.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_BYTES_COPY_BPF_H
#define RINGSTEP_BYTES_COPY_BPF_H

#include <ringstep/bytes/words.bpf.h>

/*
 * Copies `count` bytes from any position to any position. The count is a constant: 8, 16 or 32. Returns false and copies nothing if one of the
 * ranges is not inside of its array. The comparisons tell the verifier that both ranges are. The masks are 0 where a comparison fails. So a
 * processor that guesses the branch wrong cannot read or write outside of the arrays either.
 */
static __always_inline bool ringstep__bytes_copy_block(__u8 *to, __u64 to_size, __u64 to_at, const __u8 *from, __u64 from_size,
						       __u64 from_at, __u64 count)
{
	__u64 first, second, third, fourth, to_inside, from_inside;

	if (count > to_size || count > from_size)
		return false;
	to_at &= to_size - 1;
	from_at &= from_size - 1;
	barrier_var(to_at);
	barrier_var(from_at);
	to_inside = to_at - (to_size - count + 1);
	from_inside = from_at - (from_size - count + 1);
	barrier_var(to_inside);
	barrier_var(from_inside);
	if (to_at > to_size - count || from_at > from_size - count)
		return false;
	to += to_at & (__u64)((__s64)to_inside >> 63);
	from += from_at & (__u64)((__s64)from_inside >> 63);
	first = ringstep__unaligned(64, from);
	if (count > 8)
		second = ringstep__unaligned(64, from + 8);
	if (count > 16) {
		third = ringstep__unaligned(64, from + 16);
		fourth = ringstep__unaligned(64, from + 24);
	}
	ringstep__unaligned(64, to) = first;
	if (count > 8)
		ringstep__unaligned(64, to + 8) = second;
	if (count > 16) {
		ringstep__unaligned(64, to + 16) = third;
		ringstep__unaligned(64, to + 24) = fourth;
	}
	return true;
}

/*
 * Copies bytes by words, because a program cannot call memmove(). Both ranges must be inside of their arrays. The words need not be aligned: the
 * verifier allows that on processors with fast unaligned access, such as x86-64 and arm64.
 */
static __always_inline void ringstep__bytes_copy_words(__u8 *to, __u64 to_size, __u64 to_at, const __u8 *from, __u64 from_size,
						       __u64 from_at, __u64 length)
{
	__s64 left;

	barrier_var(to_at);
	barrier_var(from_at);
	if (length < 8) {
		ringstep__bytes_put(to, to_size, to_at, ringstep__bytes_at(from, from_size, from_at), length);
		return;
	}
	/* Copy the last eight bytes first. They may overlap the words before them, so nothing shorter than a word remains. */
	if (!ringstep__bytes_copy_block(to, to_size, ringstep__bytes_unknown(to_at + length - 8), from, from_size,
					ringstep__bytes_unknown(from_at + length - 8), 8))
		return;
	left = (__s64)ringstep__bytes_unknown(length);
	to_at = ringstep__bytes_unknown(to_at);
	from_at = ringstep__bytes_unknown(from_at);
	/* Positions are raised in place: the verifier of Linux 6.12 would remember by how much a copy of one is higher. */
	while (left >= 32 && ringstep__may_loop) {
		if (!ringstep__bytes_copy_block(to, to_size, to_at, from, from_size, from_at, 32))
			return;
		to_at += 32;
		barrier_var(to_at);
		from_at += 32;
		barrier_var(from_at);
		left -= 32;
		barrier_var(left);
	}
	if (left & 16) {
		if (!ringstep__bytes_copy_block(to, to_size, to_at, from, from_size, from_at, 16))
			return;
		to_at += 16;
		barrier_var(to_at);
		from_at += 16;
		barrier_var(from_at);
	}
	if (left & 8)
		ringstep__bytes_copy_block(to, to_size, to_at, from, from_size, from_at, 8);
}

static __always_inline __u64 ringstep__bytes_copy(__u8 *to, __u64 to_size, __u64 to_at, const __u8 *from, __u64 from_size,
						  __u64 from_at, __u64 from_end)
{
	__u64 length, end;

	to_at = ringstep__bytes_unknown(to_at);
	from_at = ringstep__bytes_unknown(from_at);
	from_end = ringstep__bytes_unknown(from_end);
	if (from_end > from_size)
		from_end = from_size;
	if (from_at >= from_end)
		return to_at;
	length = from_end - from_at;
	if (to_at > to_size || length > to_size - to_at)
		return to_at;
	end = to_at + length;
#if defined(__bpf__) || defined(RINGSTEP__COPY_BY_WORDS) /* tests of the words define that */
	ringstep__bytes_copy_words(to, to_size, to_at, from, from_size, from_at, length);
#else
	__builtin_memmove(to + to_at, from + from_at, length); /* the ranges may overlap if somebody else writes to the state */
#endif
	return end;
}

/*
 * Copies the range from `from_at` to `from_end` of one array to the position `to_at` of another one. Returns the position behind the last
 * byte that it wrote. If the bytes do not fit, it writes none and returns `to_at`. The ranges must not overlap. If they do,
 * the function still writes nothing outside of the target range, but the bytes in that range are undefined.
 *
 * Example: conn->out = ringstep_bytes_copy(conn->output, conn->out, entry->value, 0, entry->length);
 */
#define ringstep_bytes_copy(to, to_at, from, from_at, from_end)                                                                \
	ringstep__bytes_unknown(ringstep__bytes_copy((__u8 *)(to), ringstep__bytes_size(to), to_at, (const __u8 *)(from),      \
						     ringstep__bytes_size(from), from_at, from_end))

/* Writes a word of a literal. */
static __always_inline void ringstep__bytes_write_word(__u8 *to, __u64 size, __u64 at, const char *literal, __u64 length,
						       __u64 from)
{
	if (from < length)
		ringstep__bytes_put(to, size, at + from, ringstep__bytes_of_literal(literal, length, from), length - from);
}

static __always_inline __u64 ringstep__bytes_write(__u8 *to, __u64 size, __u64 at, const char *literal, __u64 length)
{
	at = ringstep__bytes_unknown(at);
	if (at > size || length > size - at)
		return at;
	barrier_var(at);
	ringstep__bytes_write_word(to, size, at, literal, length, 0);
	ringstep__bytes_write_word(to, size, at, literal, length, 8);
	ringstep__bytes_write_word(to, size, at, literal, length, 16);
	ringstep__bytes_write_word(to, size, at, literal, length, 24);
	ringstep__bytes_write_word(to, size, at, literal, length, 32);
	ringstep__bytes_write_word(to, size, at, literal, length, 40);
	ringstep__bytes_write_word(to, size, at, literal, length, 48);
	ringstep__bytes_write_word(to, size, at, literal, length, 56);
	return at + length;
}

/*
 * Writes a string literal of up to 64 bytes at the position `at`, without a byte of zero behind it. Returns the position behind it. If it does
 * not fit, writes nothing and returns `at`.
 *
 * Example: conn->out = ringstep_bytes_write(conn->output, conn->out, "+OK\r\n");
 */
#define ringstep_bytes_write(array, at, literal)                                                                               \
	ringstep__bytes_unknown(ringstep__bytes_write((__u8 *)(array), ringstep__bytes_size(array), at, literal,               \
						      ringstep__literal_length(literal)))

#endif /* RINGSTEP_BYTES_COPY_BPF_H */
