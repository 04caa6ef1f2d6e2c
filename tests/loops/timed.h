/* SPDX-License-Identifier: MIT */
/* State of the loop "timed": it waits with deadlines, runs nops meanwhile, and counts. */
#ifndef TIMED_H
#define TIMED_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define TIMED_STRANGE (1ULL << 32) /* user_data of the test's own requests is below */

struct timed {
	/* set by the test */
	__u64 deadline; /* of each wait */
	__u64 period;	/* added to it when it has come */
	__u32 wait;	/* completions to wait for */
	__u32 beats;	/* stop with code 1 when the deadline has come so often */
	__u32 total;	/* stop with code 0 when so many have completed; 0: never */
	__u32 nops;	/* to submit, one a turn */
	__u32 async;	/* not 0: by a thread of the kernel's, so that they complete a moment later */

	/* by the loop */
	__u32 beaten;
	__u32 completed;
	__u32 strange; /* completions of nobody's requests */
	__u64 turns;
};

#endif
