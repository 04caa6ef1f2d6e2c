// SPDX-License-Identifier: MIT
/* The kit's functions on bytes, compiled for the host, for arrays of several sizes. */
#define RINGSTEP__COPY_BY_WORDS
#include <ringstep/bytes.bpf.h>

#include "blocks/bytes_calls.h"

BYTES_DEFINE_LITERAL(do_16_64, 16)
BYTES_DEFINE_DO(do_16_64, 16, 64)
BYTES_DEFINE_LITERAL(do_64_16, 64)
BYTES_DEFINE_DO(do_64_16, 64, 16)
BYTES_DEFINE_LITERAL(do_64_64, 64)
BYTES_DEFINE_DO(do_64_64, 64, 64)
BYTES_DEFINE_LITERAL(do_256_16, 256)
BYTES_DEFINE_DO(do_256_16, 256, 16)

void bytes_by_kit(unsigned int sizes, __u8 *a, __u8 *b, struct bytes_call *call);
void bytes_by_kit(unsigned int sizes, __u8 *a, __u8 *b, struct bytes_call *call)
{
	switch (sizes) {
	case 0:
		do_16_64((__u8(*)[16])a, (__u8(*)[64])b, call);
		break;
	case 1:
		do_64_16((__u8(*)[64])a, (__u8(*)[16])b, call);
		break;
	case 2:
		do_64_64((__u8(*)[64])a, (__u8(*)[64])b, call);
		break;
	default:
		do_256_16((__u8(*)[256])a, (__u8(*)[16])b, call);
		break;
	}
}
