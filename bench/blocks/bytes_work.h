/* SPDX-License-Identifier: MIT */
/* State of the loop "bytes_work": one function on bytes, again and again. */
#ifndef BYTES_WORK_H
#define BYTES_WORK_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define BYTES_WORK_SIZE 4096

enum bytes_work_kind {
	BYTES_WORK_NOTHING,
	BYTES_WORK_FIND,
	BYTES_WORK_FIND_CRLF,
	BYTES_WORK_FIND_BY_BYTE,
	BYTES_WORK_COMPARE,
	BYTES_WORK_COMPARE_NOCASE,
	BYTES_WORK_COPY,
	BYTES_WORK_COPY_BY_BYTE,
	BYTES_WORK_HASH,
	BYTES_WORK_PARSE,
	BYTES_WORK_PRINT,
	BYTES_WORK_ARE,
	BYTES_WORK_WRITE,
	BYTES_WORK_KINDS,
};

struct bytes_work {
	__u32 kind;
	__u32 times;
	__u64 at, end; /* of the first array */
	__u64 other;   /* a position in the second one */
	__u64 number;
	__u64 sum;
	__u64 place;
	__u8 a[BYTES_WORK_SIZE];
	__u8 b[BYTES_WORK_SIZE];
};

#endif
