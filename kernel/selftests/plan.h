/* SPDX-License-Identifier: GPL-2.0 */
/* The messages between a test and its loop, at the start of the memory region. */
#ifndef RINGSTEP_SELFTESTS_PLAN_H
#define RINGSTEP_SELFTESTS_PLAN_H

#include <linux/types.h>

#define PLAN_MAX_REAPED 8

struct plan {
	/* For the loop: what to do. */
	__u32 last_turn; /* the turn, counted from 1, in which the step returns last_result; 0: none */
	__s32 last_result;
	__u32 stop_after;   /* how many completions the loop takes before it stops; 0: it does not stop */
	__u32 submit;	    /* how many SQEs to submit in each of the next submit_turns turns */
	__u32 submit_turns; /* the loop counts down */
	__u32 reap;	    /* how many completions to take in a turn, at most PLAN_MAX_REAPED */
	__u32 wait;	    /* how many more completions to wait for */
	__u32 other_region; /* the number of one more region to ask for; 0: none */

	/* From the loop: what it saw. */
	__u32 turns;
	__u32 reaped;
	__u32 submitted;
	__s32 submit_result; /* the result of the last submission */
	__s32 last_res;	     /* res of the last completion */
	__u32 cq_missing, sq_missing;
	__u32 other_region_found;
	__u64 user_data_sum;
	__u64 order_errors; /* how many completions had a user_data other than that of the previous one plus 1 */
	__u64 last_user_data;
};

#endif
