/* SPDX-License-Identifier: MIT */
/* The kit's prep helpers, compiled for the host, by number. */
#pragma once

#include <linux/io_uring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct prep_arguments {
	__s32 fd, fd2;
	__u64 address, address2, offset;
	__u32 length, flags, more;
	__u16 small;
};

/* Fills in the SQE with helper number `which`; false if there is none. */
int prep_by_kit(int which, struct io_uring_sqe *sqe, const struct prep_arguments *a);

#ifdef __cplusplus
}
#endif
