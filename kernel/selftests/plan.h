/* SPDX-License-Identifier: GPL-2.0 */
/* What a test and its loop tell each other, at the beginning of the MEM region. */
#ifndef RINGSTEP_SELFTESTS_PLAN_H
#define RINGSTEP_SELFTESTS_PLAN_H

#include <linux/types.h>

#define PLAN_MAX_REAPED 8

struct plan {
	/* What the loop is to do. */
	__u32 last_turn;  /* in this turn, counted from 1, it returns last_result; 0: never */
	__s32 last_result;
	__u32 stop_after; /* it stops when it has reaped that many completions; 0: never */
	__u32 submit;     /* how many SQEs it asks to submit, in the first submit_turns turns */
	__u32 submit_turns;
	__u32 reap;       /* how many completions it takes in a turn, at most PLAN_MAX_REAPED */
	__u32 wait;       /* for how many more it waits */
	__u32 other_region; /* one to ask for besides; 0: none */

	/* What it saw. */
	__u32 turns;
	__u32 reaped;
	__u32 submitted;
	__s32 submit_result; /* of the last submit */
	__s32 last_res;      /* of the last completion */
	__u32 cq_missing, sq_missing;
	__u32 other_region_found;
	__u64 user_data_sum;
	__u64 order_errors; /* completions whose user_data was not one more than that of the one before */
	__u64 last_user_data;
};

#endif
