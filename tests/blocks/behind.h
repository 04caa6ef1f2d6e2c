/* SPDX-License-Identifier: MIT */
/* State of the loop "behind": it has a table behind it. */
#ifndef BEHIND_H
#define BEHIND_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define BEHIND_WORDS 512

struct behind_table {
	__u64 words[BEHIND_WORDS];
};

struct behind {
	__u64 place; /* set by the application: which word; all numbers are allowed */
	__u64 room;
	__u64 sum;
};

#endif
