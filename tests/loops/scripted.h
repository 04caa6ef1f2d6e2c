/* SPDX-License-Identifier: MIT */
/* State of the loop "scripted", which does what a test writes down: it submits given SQEs and records what completes. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SCRIPTED_SQES 1024
#define SCRIPTED_RECORDS 4096

struct scripted_record {
	__u64 user_data;
	__s32 result;
	__u32 flags;
	__u64 extra[2];
};

struct scripted {
	/* set by the test */
	__u32 sqe_count; /* templates to submit, each once */
	__u32 sqes_per_turn;
	__u32 wait;	    /* completions to wait for each turn */
	__u32 ignore_turns; /* turns to let pass before completions are looked at */
	__u32 stop_at;	    /* records at which to stop; 0: never */
	__s32 returns;	    /* not 0: what to return */
	__s64 code;
	__u32 take_at_most; /* completions to take each turn, by leaving the walk; 0: all */
	__u32 spin;	    /* not 0: never wait */

	/* by the loop */
	__u32 sqe_next;
	__u32 recorded;
	__u64 turns;
	__u64 idle_turns; /* turns that found no completion */
	__u64 most_in_a_turn;
	__s64 submit_result; /* of the last ringstep_submit() */

	__u64 templates[SCRIPTED_SQES][16];
	struct scripted_record records[SCRIPTED_RECORDS];
};

#endif
