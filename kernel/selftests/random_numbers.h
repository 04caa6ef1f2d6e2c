/* SPDX-License-Identifier: GPL-2.0 */
/* Random numbers of the kinds that arguments of calls are made of. Each thread has its own, from its own seed. */
#ifndef RINGSTEP_SELFTESTS_RANDOM_NUMBERS_H
#define RINGSTEP_SELFTESTS_RANDOM_NUMBERS_H

#include <linux/types.h>

#include <stdbool.h>

/* What the numbers of this thread are made of: set it to the seed. Defined in random_episode.c. */
extern __thread unsigned long long random_state;

/* Returns 64 random bits, by Splitmix64 of Sebastiano Vigna. */
static inline unsigned long long random_bits(void)
{
	unsigned long long z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* Returns a number from 0 to `most` - 1. */
static inline unsigned below(unsigned most)
{
	return (unsigned)(random_bits() % most);
}

/* Returns true in one of so many calls. */
static inline bool one_in(unsigned many)
{
	return below(many) == 0;
}

/* Returns a number that is small, at a border, or anything. */
static inline __u32 number(void)
{
	static const __u32 borders[] = {0, 1, 2, 8, 255, 4095, 4096, 65536, 1U << 30, 1U << 31, ~0U - 1, ~0U};

	switch (below(8)) {
	case 0:
		return (__u32)random_bits();
	case 1:
	case 2:
		return borders[below(sizeof(borders) / sizeof(borders[0]))];
	default:
		return below(9);
	}
}

/* Returns these flags, in one of six calls with a bit that is wrong. */
static inline __u32 some_flags(__u32 usual)
{
	return one_in(6) ? usual ^ 1U << below(32) : usual;
}

#endif
