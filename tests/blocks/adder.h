/* SPDX-License-Identifier: MIT */
/* State of the loop "adder": lines with numbers, and the answers to them. */
#ifndef ADDER_H
#define ADDER_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct adder {
	__u64 filled; /* set by the application: bytes in .input */
	__u64 at;     /* how far it has been read */
	__u64 out;    /* bytes in .output */
	__u8 input[1024];
	__u8 output[1024];
};

#endif
