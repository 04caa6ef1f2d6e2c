/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of kernel/next and their loop tell each other, at the beginning of the MEM region. */
#ifndef RINGSTEP_SELFTESTS_NEXT_PLAN_H
#define RINGSTEP_SELFTESTS_NEXT_PLAN_H

#include <linux/types.h>

#define NEXT_TURNS 4
#define NEXT_COPIES 8
#define NEXT_DATA 8192

/* How a turn ends: what it writes into iou_loop_params. */
struct next_wait {
	__u32 flags;
	__u32 leave_flags; /* writes neither flags nor timeout */
	__u32 count;       /* how many completions to wait for */
	__u32 busy_poll_us;
	__u64 timeout_ns;
	__u32 from_now;    /* the timeout is added to what the clock says */
	__u32 unused;
};

struct next_copy {
	__u32 index;
	__u32 length; /* NEXT_DATA at most, taken from there or put there */
	__u64 offset;
	__u32 write;
	__s32 result;
};

struct next_plan {
	/* What the loop is to do. */
	__u32 turns_wanted; /* it stops in this turn, counted from 1; 0: never */
	__u32 stop_after;   /* it stops when it has reaped that many completions; 0: never */
	__u32 submit;       /* how many SQEs to submit in each turn */
	__u32 copies;       /* of those below, in the first turn */
	struct next_wait wait[NEXT_TURNS]; /* of the first turns; the last one is for all that follow */
	struct next_copy copy[NEXT_COPIES];

	/* What it saw. */
	__u32 turns;
	__u32 reaped;
	__s32 last_res;
	__u32 unused;
	__u32 flags[NEXT_TURNS];        /* at the beginning of the turn */
	__u32 busy_poll_us[NEXT_TURNS];
	__u64 began[NEXT_TURNS];        /* bpf_ktime_get_ns() then */
	__u64 until[NEXT_TURNS];        /* the timeout it asked for */

	__u8 data[NEXT_DATA];
};

#endif
