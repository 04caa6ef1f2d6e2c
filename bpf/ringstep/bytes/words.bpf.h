/* SPDX-License-Identifier: MIT */
/*
 * What functions on bytes are made of: words of eight bytes of an array, in which the byte with the lowest position is the lowest byte.
 *
 * This file is not for authors. Include <ringstep/bytes.bpf.h>, which includes this file.
 *
 * Words lie at multiples of eight from the begin of the array. The position of one is masked, so that it lies in the array whatever it was, for
 * the verifier as for a processor that guesses a branch wrong. The compiler would leave masks out behind a comparison, so it must not know a
 * position that was compared: barrier_var(). A word at another position is put together from two. Only copies differ: see copy.bpf.h.
 */
#ifndef RINGSTEP_BYTES_WORDS_BPF_H
#define RINGSTEP_BYTES_WORDS_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/target.bpf.h>

/* The size of an array in bytes. Compiles for arrays with a power of two of bytes only. */
#define ringstep__bytes_size(array)                                                                                            \
	(sizeof(array) + 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(array), __typeof__(&(array)[0])) ||           \
							 sizeof(array) < 16 || (sizeof(array) & (sizeof(array) - 1))           \
						 ? -1                                                                          \
						 : 1]))

/* The same byte eight times. */
#define ringstep__bytes_all(byte) (0x0101010101010101ULL * (byte))

struct ringstep__unaligned_64 {
	__u64 value;
} __attribute__((packed, may_alias));
struct ringstep__unaligned_32 {
	__u32 value;
} __attribute__((packed, may_alias));
struct ringstep__unaligned_16 {
	__u16 value;
} __attribute__((packed, may_alias));

#ifdef __bpf__
#define ringstep__unaligned(bits, pointer) (*(__u##bits *)(pointer)) /* clang would load packed ones byte by byte */
#else
#define ringstep__unaligned(bits, pointer) (((struct ringstep__unaligned_##bits *)(pointer))->value)
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ringstep__little(bits, value) (value)
#else
#define ringstep__little(bits, value) __builtin_bswap##bits(value)
#endif

/* Returns the word that the byte at `at` lies in. */
static __always_inline __u64 ringstep__bytes_load(const __u8 *base, __u64 size, __u64 at)
{
	return ringstep__little(64, ringstep__unaligned(64, base + (at & (size - 8))));
}

static __always_inline void ringstep__bytes_store(__u8 *base, __u64 size, __u64 at, __u64 word)
{
	ringstep__unaligned(64, base + (at & (size - 8))) = ringstep__little(64, word);
}

static __always_inline void ringstep__bytes_store32(__u8 *base, __u64 size, __u64 at, __u64 word)
{
	ringstep__unaligned(32, base + (at & (size - 4))) = ringstep__little(32, (__u32)word);
}

static __always_inline void ringstep__bytes_store16(__u8 *base, __u64 size, __u64 at, __u64 word)
{
	ringstep__unaligned(16, base + (at & (size - 2))) = ringstep__little(16, (__u16)word);
}

static __always_inline void ringstep__bytes_store8(__u8 *base, __u64 size, __u64 at, __u64 word)
{
	*(base + (at & (size - 1))) = (__u8)word;
}

/* Returns the block of two words that the byte at `at` lies in. Loads from a block share what it takes to mask its position. */
static __always_inline const __u8 *ringstep__bytes_block(const __u8 *base, __u64 size, __u64 at)
{
	return base + (at & (size - 16));
}

/* Returns a word of a block: 0 or 1. */
static __always_inline __u64 ringstep__bytes_of_block(const __u8 *block, __u64 word)
{
	return ringstep__little(64, ringstep__unaligned(64, block + 8 * word));
}

/* Returns how far the bytes from `at` on are to be shifted in their word. */
static __always_inline __u64 ringstep__bytes_shift(__u64 at)
{
	return (at & 7) * 8;
}

/* Returns the eight bytes from a position on, of the word that it lies in and the next one. */
static __always_inline __u64 ringstep__bytes_joined(__u64 low, __u64 high, __u64 shift)
{
	return low >> shift | high << 1 << (63 - shift);
}

/* Returns the eight bytes from `at` on. Behind the end of the array, its first bytes follow: the caller takes them out. */
static __always_inline __u64 ringstep__bytes_at(const __u8 *base, __u64 size, __u64 at)
{
	return ringstep__bytes_joined(ringstep__bytes_load(base, size, at), ringstep__bytes_load(base, size, at + 8),
				      ringstep__bytes_shift(at));
}

/* Returns a mask of the first `count` bytes of a word: 7 at most. */
static __always_inline __u64 ringstep__bytes_first(__u64 count)
{
	return (1ULL << (count & 7) * 8) - 1;
}

/* Returns the number of the byte with the lowest bit, if each byte has at most its highest bit set. `bits` must not be 0. */
static __always_inline __u64 ringstep__bytes_lowest(__u64 bits)
{
#ifdef __bpf__
	/* Programs have no instruction that counts zeroes. The product has the number of the byte on top. */
	return ((bits & -bits) >> 7) * 0x0001020304050607ULL >> 56;
#else
	return (__u64)__builtin_ctzll(bits) >> 3;
#endif
}

/*
 * Returns a word with the highest bit of each byte that is zero. Further highest bits may be set, but only above the lowest one. The other bits
 * mean nothing.
 */
static __always_inline __u64 ringstep__bytes_zeroes(__u64 word)
{
	return (word - ringstep__bytes_all(1)) & ~word;
}

/* What is left of ringstep__bytes_zeroes(). */
#define RINGSTEP__BYTES_HIGHEST ringstep__bytes_all(0x80)

/* Returns the number of the first byte that is zero in two words, of which ringstep__bytes_zeroes() was called for each. There must be one. */
static __always_inline __u64 ringstep__bytes_first_zero(__u64 zeroes, __u64 more_zeroes)
{
	zeroes &= RINGSTEP__BYTES_HIGHEST;
	return zeroes ? ringstep__bytes_lowest(zeroes) : 8 + ringstep__bytes_lowest(more_zeroes & RINGSTEP__BYTES_HIGHEST);
}

/*
 * Returns a number that the verifier knows nothing of, so that all iterations of a loop look alike to it. A position and what it is compared with
 * must both be unknown, or the comparison would tell the verifier something about the position. A function that returns a position begins with
 * unknown positions and returns an unknown one. Otherwise the verifier would learn something about the caller's numbers on each path through the function,
 * and would follow the rest of the step once for each path. A loop that counts down calls barrier_var() on its count after each change. Otherwise
 * the compiler may compare an older copy of the count, and the verifier of Linux 6.12 sees a range that grows with each iteration.
 */
static __always_inline __u64 ringstep__bytes_unknown(__u64 number)
{
	return number + ringstep__unknown_zero();
}

/* Writes the first `count` bytes of a word, 8 at most, at any position. */
static __always_inline void ringstep__bytes_put(__u8 *base, __u64 size, __u64 at, __u64 word, __u64 count)
{
	if (count < 1)
		return;
	ringstep__bytes_store8(base, size, at, word);
	if (count < 2)
		return;
	ringstep__bytes_store8(base, size, at + 1, word >> 8);
	if (count < 3)
		return;
	ringstep__bytes_store8(base, size, at + 2, word >> 16);
	if (count < 4)
		return;
	ringstep__bytes_store8(base, size, at + 3, word >> 24);
	if (count < 5)
		return;
	ringstep__bytes_store8(base, size, at + 4, word >> 32);
	if (count < 6)
		return;
	ringstep__bytes_store8(base, size, at + 5, word >> 40);
	if (count < 7)
		return;
	ringstep__bytes_store8(base, size, at + 6, word >> 48);
	if (count < 8)
		return;
	ringstep__bytes_store8(base, size, at + 7, word >> 56);
}

/* One byte of a literal in its place in a word, or 0 behind the end of the literal. */
#define ringstep__literal_byte(literal, length, from, i)                                                                       \
	((from) + (i) < (length) ? (__u64)(__u8)(literal)[(from) + (i)] << 8 * (i) : 0)

/* Returns eight bytes of a literal, from `from` on, with zeroes behind its end. The compiler knows them. */
static __always_inline __u64 ringstep__bytes_of_literal(const char *literal, __u64 length, __u64 from)
{
	return ringstep__literal_byte(literal, length, from, 0) | ringstep__literal_byte(literal, length, from, 1) |
	       ringstep__literal_byte(literal, length, from, 2) | ringstep__literal_byte(literal, length, from, 3) |
	       ringstep__literal_byte(literal, length, from, 4) | ringstep__literal_byte(literal, length, from, 5) |
	       ringstep__literal_byte(literal, length, from, 6) | ringstep__literal_byte(literal, length, from, 7);
}

/* The length of a literal. Compiles for string literals of up to 64 bytes only. */
#define ringstep__literal_length(literal) (sizeof("" literal "") - 1 + 0 * sizeof(char[sizeof(literal) > 65 ? -1 : 1]))

#endif /* RINGSTEP_BYTES_WORDS_BPF_H */
