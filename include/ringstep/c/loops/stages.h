/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_STAGES_H
#define RINGSTEP_LOOPS_STAGES_H

#include <ringstep/c/loops/enter.h>

#define RINGSTEP_STAGES_STAGES 8 /* most stages of a wait; a power of two */
#define RINGSTEP_STAGES_GROUPS 8 /* most groups at a time; a power of two */

#define RINGSTEP_STAGES_FOR_EVER (~0ULL) /* nanoseconds of a stage: no end */
#define RINGSTEP_STAGES_ALL (~0ULL)	 /* completions wanted of a group: until none of its requests is in flight */

/* What a run waits for. */
enum ringstep_stages_wait {
	RINGSTEP_STAGES_STEPS = 0,	/* completions in the CQ, stage by stage */
	RINGSTEP_STAGES_ANY_GROUP = 1,	/* what is wanted of one of the groups */
	RINGSTEP_STAGES_ALL_GROUPS = 2, /* of all of them */
};

/* So many completions end the wait, for so long; then comes the next stage. */
struct ringstep_stage {
	__u64 nanoseconds; /* or RINGSTEP_STAGES_FOR_EVER, in the last one */
	__u32 completions; /* in the CQ, those there before included */
	__u32 __reserved;
};

/* Requests with (user_data & mask) == value, counted from the moment on that the group was made. */
struct ringstep_stages_group {
	__u64 mask;	 /* bits of user_data that tell */
	__u64 value;	 /* and what they are */
	__u64 submitted; /* requests that were handed to the kernel */
	__u64 finished;	 /* completions that ended a request */
	__u64 completed; /* all completions: more with multishot requests */
	__u64 wanted;	 /* completions to wait for; RINGSTEP_STAGES_ALL; 0: this group is not waited for */
};

/* State of the loop stages. The application sets all but .enter, the groups' counts, and what is by the loop. */
struct ringstep_stages {
	struct ringstep_enter enter; /* submitting, and the wait as it is just now */
	__u32 wait;		     /* enum ringstep_stages_wait */
	__u32 stage_count;	     /* of .stages */
	__u32 groups_used;	     /* a bit for each group that is in use */
	__u32 stage;		     /* by the loop: where the wait is, or where it ended */
	__u32 aim;		     /* by the loop: the stage whose end it sleeps until, unless enough completes earlier */
	__u32 fewest;		     /* by the loop: completions that it sleeps for */
	__u64 missing;		     /* by the loop: completions of groups, at least so many */
	__u64 stage_end;	     /* by the loop: when that stage ends; CLOCK_MONOTONIC, nanoseconds */
	__u64 aim_end;		     /* by the loop: when the stage .aim ends */
	struct ringstep_stage stages[RINGSTEP_STAGES_STAGES];	     /* of the wait, one after the other */
	struct ringstep_stages_group groups[RINGSTEP_STAGES_GROUPS]; /* those in use, and places for others */
};

#endif /* RINGSTEP_LOOPS_STAGES_H */
