/* SPDX-License-Identifier: MIT */
/*
 * Numbers as text: unsigned decimals.
 *
 * Include <ringstep/bytes.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_BYTES_NUMBERS_BPF_H
#define RINGSTEP_BYTES_NUMBERS_BPF_H

#include <ringstep/bytes/words.bpf.h>

/* Returns the highest bit of each byte that is no digit, of a word from which the digit 0 was taken by xor. Only the lowest one is right. */
static __always_inline __u64 ringstep__bytes_not_digits(__u64 word)
{
	word = ((word + ringstep__bytes_all(6)) | word) & ringstep__bytes_all(0xf0);
	/* Move any of four bits to the highest one. */
	return (word | word << 1 | word << 2 | word << 3) & ringstep__bytes_all(0x80);
}

/* Returns the number that eight digits make, each a byte from 0 to 9. */
static __always_inline __u64 ringstep__bytes_number(__u64 digits)
{
	digits = digits * 10 + (digits >> 8);
	digits = (digits & 0x00ff00ff00ff00ffULL) * 100 + ((digits >> 16) & 0x00ff00ff00ff00ffULL);
	digits = (digits & 0x0000ffff0000ffffULL) * 10000 + ((digits >> 32) & 0x0000ffff0000ffffULL);
	return digits & 0xffffffff;
}

/* Returns 10 to the power of `count`: 8 at most. */
static __always_inline __u64 ringstep__bytes_power(__u64 count)
{
	__u64 power = 1;

	if (count & 1)
		power = 10;
	if (count & 2)
		power *= 100;
	if (count & 4)
		power *= 10000;
	if (count & 8)
		power = 100000000;
	return power;
}

static __always_inline __u64 ringstep__bytes_parse(const __u8 *base, __u64 size, __u64 at, __u64 end, __u64 *number)
{
	const __u64 begin = at;
	__u64 place, value;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > size)
		end = size;
	if (at >= end)
		return begin;
	place = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	value = ringstep__bytes_unknown(0);
	do {
		__u64 digits = ringstep__bytes_at(base, size, place) ^ ringstep__bytes_all('0');
		const __u64 others = ringstep__bytes_not_digits(digits);
		__u64 count = others ? ringstep__bytes_lowest(others) : 8;

		if (count > end - place)
			count = end - place;
		if (!count)
			break;
		count = ringstep__bytes_unknown(count);
		/* Zeroes in front of fewer than eight digits. */
		digits = ringstep__bytes_number(digits << (8 - count) * 8);
		if (value) {
			const __u64 power = ringstep__bytes_power(count);

			if (value > (~0ULL - digits) / power)
				return begin;
			value = value * power + digits;
		} else {
			value = digits;
		}
		place += count;
		if (count < 8)
			break;
	} while (place < end && ringstep__may_loop);
	if (place != begin)
		*number = value;
	return place;
}

/*
 * Reads an unsigned decimal, which begins at `at` and ends at the first byte that is no digit, at the latest at `end`. Stores it in `number`, and
 * returns the position behind its last digit. Returns `at`, and stores nothing, if there is no digit at `at`, or if the number is larger than
 * 64 bits. Zeroes in front are allowed.
 *
 * Example: if (ringstep_bytes_parse(conn->input, at, line, &length) != line) return malformed(turn, state, conn);
 */
#define ringstep_bytes_parse(array, at, end, number)                                                                           \
	ringstep__bytes_unknown(ringstep__bytes_parse((const __u8 *)(array), ringstep__bytes_size(array), at, end, number))

/* Returns the eight digits of a number below 100,000,000, each a byte from 0 to 9, the first one lowest. */
static __always_inline __u64 ringstep__bytes_digits(__u64 number)
{
	__u64 digits = number / 10000 | (number % 10000) << 32, parts;

	parts = (digits * 5243 >> 19) & 0x0000007f0000007fULL; /* each by 100: right below 10000 */
	digits = parts | (digits - parts * 100) << 16;
	parts = (digits * 103 >> 10) & 0x000f000f000f000fULL; /* each by 10: right below 100 */
	return parts | (digits - parts * 10) << 8;
}

static __always_inline __u64 ringstep__bytes_print(__u8 *base, __u64 size, __u64 at, __u64 number)
{
	const __u64 zeroes = ringstep__bytes_all('0');
	__u64 upper, highest, digits, count = 0, skipped = 7, length;

	at = ringstep__bytes_unknown(at);
	number = ringstep__bytes_unknown(number);
	upper = number / 100000000;
	highest = upper ? (number < 10000000000000000ULL ? upper : number / 10000000000000000ULL) : number;
	digits = ringstep__bytes_digits(highest);
	if (digits)
		skipped = ringstep__bytes_lowest((digits + ringstep__bytes_all(0x7f)) & ringstep__bytes_all(0x80));
	count = 8 - skipped;
	length = count + (upper ? 8 : 0) + (number >= 10000000000000000ULL ? 8 : 0);
	if (at > size || length > size - at)
		return at;
	barrier_var(at);
	ringstep__bytes_put(base, size, at, (digits | zeroes) >> skipped * 8, count);
	at = ringstep__bytes_unknown(at + count);
	if (number >= 10000000000000000ULL) {
		ringstep__bytes_put(base, size, at, ringstep__bytes_digits(upper % 100000000) | zeroes, 8);
		at += 8;
	}
	if (upper) {
		ringstep__bytes_put(base, size, at, ringstep__bytes_digits(number % 100000000) | zeroes, 8);
		at += 8;
	}
	return at;
}

/*
 * Writes a number as an unsigned decimal at the position `at`, and returns the position behind its last digit. If there is no room for all
 * digits, writes none and returns `at`.
 *
 * Example: conn->out = ringstep_bytes_print(conn->output, conn->out, entry->length);
 */
#define ringstep_bytes_print(array, at, number)                                                                                \
	ringstep__bytes_unknown(ringstep__bytes_print((__u8 *)(array), ringstep__bytes_size(array), at, number))

#endif /* RINGSTEP_BYTES_NUMBERS_BPF_H */
