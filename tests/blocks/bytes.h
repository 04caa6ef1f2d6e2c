/* SPDX-License-Identifier: MIT */
/* State of the loop "bytes": arrays, and calls on them that the test writes down. */
#ifndef BYTES_H
#define BYTES_H

#include "bytes_calls.h"

#define BYTES_SIZE_A 256
#define BYTES_SIZE_B 64
#define BYTES_CALLS 256
#define BYTES_GUARDS 8

struct bytes {
	__u32 calls; /* so many of the script */
	__u32 done;
	__u64 before[BYTES_GUARDS]; /* nothing writes here, nor to .between and .after */
	__u8 a[BYTES_SIZE_A];
	__u64 between[BYTES_GUARDS];
	__u8 b[BYTES_SIZE_B];
	__u64 after[BYTES_GUARDS];
	struct bytes_call script[BYTES_CALLS];
};

#endif
