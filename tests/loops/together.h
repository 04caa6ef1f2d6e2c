/* SPDX-License-Identifier: MIT */
/* State of the loop "together": nops that are submitted all at once and waited for all at once, one of them refused. */
#ifndef TOGETHER_H
#define TOGETHER_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct together {
	__u32 total;   /* set by the test */
	__u32 refused; /* set by the test: which one the kernel will not have */
	__u32 claimed;
	__u32 completed;
};

#endif
