/* SPDX-License-Identifier: MIT */
/* State of the loop "wide", which takes more completions in a turn than most loops do. */
#ifndef WIDE_H
#define WIDE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct wide {
	__u32 total;	 /* nops to submit, all in the first turn */
	__u32 submitted; /* nops submitted */
	__u32 completed; /* completions taken */
	__u32 most_in_a_turn;
};

#endif
