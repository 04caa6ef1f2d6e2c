/* SPDX-License-Identifier: MIT */
/* Calls of the kit's functions on bytes, as data. A test writes them down, and a loop or a fuzzer executes them. */
#ifndef BYTES_CALLS_H
#define BYTES_CALLS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum bytes_operation {
	BYTES_FIND,
	BYTES_FIND_CRLF,
	BYTES_COMPARE,
	BYTES_COMPARE_NOCASE,
	BYTES_COPY,
	BYTES_HASH,
	BYTES_PARSE,
	BYTES_PRINT,
	BYTES_ARE,
	BYTES_ARE_NOCASE,
	BYTES_WRITE,
	BYTES_OPERATIONS,
};

/* The literals of the last three, by number. */
#define BYTES_LITERALS 8
#define BYTES_LITERAL_0 ""
#define BYTES_LITERAL_1 "G"
#define BYTES_LITERAL_2 "GET"
#define BYTES_LITERAL_3 "+PONG\r\n"
#define BYTES_LITERAL_4 "8 bytes."
#define BYTES_LITERAL_5 "Nine[@`{z"
#define BYTES_LITERAL_6 "Content-Length: "
#define BYTES_LITERAL_7 "sixty-four bytes are as many as a literal may have, 0123456789!!"

struct bytes_call {
	__u32 operation;
	__u32 literal;
	__u64 at, end;	     /* of the first array */
	__u64 other, beyond; /* of the second array */
	__u64 number;	     /* a byte, a seed, a number to print; or a number that was parsed */
	__u64 result;
};

/* Defines a function that does a call, for arrays of these sizes. For C, with the kit included before. */
#define BYTES_DEFINE_DO(name, size_a, size_b)                                                                                  \
	static __attribute__((noinline)) int name(__u8(*a)[size_a], __u8(*b)[size_b], struct bytes_call *call)                 \
	{                                                                                                                      \
		__u64 number = call->number, result = 0;                                                                       \
                                                                                                                               \
		switch (call->operation) {                                                                                     \
		case BYTES_FIND:                                                                                               \
			result = ringstep_bytes_find(*a, call->at, call->end, (__u8)number);                                   \
			break;                                                                                                 \
		case BYTES_FIND_CRLF:                                                                                          \
			result = ringstep_bytes_find_crlf(*a, call->at, call->end);                                            \
			break;                                                                                                 \
		case BYTES_COMPARE:                                                                                            \
			result = (__u64)(__s64)ringstep_bytes_compare(*a, call->at, call->end, *b, call->other, call->beyond); \
			break;                                                                                                 \
		case BYTES_COMPARE_NOCASE:                                                                                     \
			result = (__u64)(__s64)ringstep_bytes_compare_nocase(*a, call->at, call->end, *b, call->other,         \
									     call->beyond);                                    \
			break;                                                                                                 \
		case BYTES_COPY:                                                                                               \
			result = ringstep_bytes_copy(*a, call->at, *b, call->other, call->beyond);                             \
			break;                                                                                                 \
		case BYTES_HASH:                                                                                               \
			result = ringstep_bytes_hash(*a, call->at, call->end, number);                                         \
			break;                                                                                                 \
		case BYTES_PARSE:                                                                                              \
			result = ringstep_bytes_parse(*a, call->at, call->end, &number);                                       \
			break;                                                                                                 \
		case BYTES_PRINT:                                                                                              \
			result = ringstep_bytes_print(*a, call->at, number);                                                   \
			break;                                                                                                 \
		default:                                                                                                       \
			result = name##_literal(a, call);                                                                      \
			break;                                                                                                 \
		}                                                                                                              \
		call->number = number;                                                                                         \
		call->result = result;                                                                                         \
		return 0;                                                                                                      \
	}
#define BYTES_DO_LITERAL(number)                                                                                               \
	case number:                                                                                                           \
		if (call->operation == BYTES_ARE)                                                                              \
			return ringstep_bytes_are(*a, call->at, call->end, BYTES_LITERAL_##number);                            \
		if (call->operation == BYTES_ARE_NOCASE)                                                                       \
			return ringstep_bytes_are_nocase(*a, call->at, call->end, BYTES_LITERAL_##number);                     \
		return ringstep_bytes_write(*a, call->at, BYTES_LITERAL_##number)
#define BYTES_DEFINE_LITERAL(name, size_a)                                                                                     \
	static __attribute__((noinline)) __u64 name##_literal(__u8(*a)[size_a], struct bytes_call *call)                       \
	{                                                                                                                      \
		switch (call->literal) {                                                                                       \
			BYTES_DO_LITERAL(0);                                                                                   \
			BYTES_DO_LITERAL(1);                                                                                   \
			BYTES_DO_LITERAL(2);                                                                                   \
			BYTES_DO_LITERAL(3);                                                                                   \
			BYTES_DO_LITERAL(4);                                                                                   \
			BYTES_DO_LITERAL(5);                                                                                   \
			BYTES_DO_LITERAL(6);                                                                                   \
			BYTES_DO_LITERAL(7);                                                                                   \
		}                                                                                                              \
		return 0;                                                                                                      \
	}

#endif
