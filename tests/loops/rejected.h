/* SPDX-License-Identifier: MIT */
#ifndef REJECTED_H
#define REJECTED_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct rejected {
	__u64 index;
	__u64 values[8];
};

struct rejected_late {
	__u64 index;
	__u64 values[8];
};

struct rejected_branches {
	__u64 values[8];
};

#endif
