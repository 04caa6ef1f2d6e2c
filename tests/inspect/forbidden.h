/* SPDX-License-Identifier: MIT */
/* The state of the loops that the inspection refuses. */
#ifndef FORBIDDEN_H
#define FORBIDDEN_H

#include <linux/types.h>

struct forbidden {
	__u64 words[16];
	__u32 index;
	__u32 count;
	__u64 sum;
};

#endif /* FORBIDDEN_H */
