/* SPDX-License-Identifier: MIT */
/* State of the loop "helpers", whose step is made of functions that take the turn. */
#ifndef HELPERS_H
#define HELPERS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define HELPERS_PLACES 64

struct helpers {
	__u32 left; /* set by the test: how many answers are still to be sent */
	__s32 fd;   /* set by the test: where to */
	__u32 in_flight;
	__u32 failures;
	__u64 sent; /* bytes */
	__u64 by_place[HELPERS_PLACES];
	char answer[HELPERS_PLACES];
};

#endif
