/* SPDX-License-Identifier: GPL-2.0 */
/* The messages between a test of kernel/next and its loop, at the start of the memory region. */
#ifndef RINGSTEP_SELFTESTS_NEXT_PLAN_H
#define RINGSTEP_SELFTESTS_NEXT_PLAN_H

#include <linux/types.h>

/* What kernel/next adds, each by a patch of its own. */
enum {
	NEXT_TIMEOUTS = 1,
	NEXT_BUFFERS = 2,
	NEXT_POLLING = 4,
	NEXT_RUN_WORK = 8,
};

#define NEXT_TURNS 4
#define NEXT_COPIES 8
#define NEXT_WORK 8
#define NEXT_MOST_WORK 128
#define NEXT_DATA 8192

/* How a turn ends: what the step writes to iou_loop_params. */
struct next_wait {
	__u32 flags;
	__u32 leave_flags; /* if not 0, the step writes neither flags nor timeout */
	__u32 count;	   /* how many completions to wait for */
	__u32 from_now;	   /* if not 0, the step adds the current time to the timeout */
	__u64 timeout_ns;
	__u64 busy_poll_ns;
};

struct next_copy {
	__u32 index;
	__u32 length; /* at most NEXT_DATA bytes, from or to the start of `data` */
	__u64 offset;
	__u32 write;
	__s32 result;
};

struct next_plan {
	/* For the loop: what to do. */
	__u32 turns_wanted; /* the turn, counted from 1, in which the loop stops; 0: none */
	__u32 stop_after;   /* how many completions the loop takes before it stops; 0: it does not stop */
	__u32 submit;	    /* how many SQEs to submit in each turn */
	__u32 copies;	    /* how many of the copies below to make in the first turn */
	__u32 submit_turns; /* how many turns submit; 0: all */
	__u32 work; /* how often to run the ring's deferred work in each turn, after submitting; at most NEXT_MOST_WORK times */
	__u32 work_min;
	__u32 leave;			   /* how many turns leave the completions in the CQ */
	struct next_wait wait[NEXT_TURNS]; /* one for each turn; later turns use the last one */
	struct next_copy copy[NEXT_COPIES];

	/* From the loop: what it saw. */
	__u32 turns;
	__u32 reaped;
	__s32 last_res;
	__u32 unused;
	__u32 flags[NEXT_TURNS]; /* at the start of the turn, like busy_poll_ns */
	__u64 busy_poll_ns[NEXT_TURNS];
	__u64 began[NEXT_TURNS];      /* bpf_ktime_get_ns() at the start of the turn */
	__u64 until[NEXT_TURNS];      /* the timeout that the step set */
	__s32 work_result[NEXT_WORK]; /* of the first runs of deferred work, in all turns */
	__u32 ready[NEXT_WORK];	      /* how many completions were in the CQ after each of them */
	__u32 worked;		      /* how many runs were not refused, in all turns */
	__u32 most_in_a_turn;	      /* of those */
	__u32 again;		      /* how many were refused with -EAGAIN */
	__u32 interrupted;	      /* how many were refused with -EINTR */

	__u8 data[NEXT_DATA];
};

#endif
