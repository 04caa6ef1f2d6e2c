/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_ENTER_H
#define RINGSTEP_LOOPS_ENTER_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* What the loop says to ringstep_stop(). */
enum ringstep_enter_code {
	RINGSTEP_ENTER_COMPLETE = 0,  /* .min_complete completions are in the CQ */
	RINGSTEP_ENTER_TIMED_OUT = 1, /* the deadline came first */
	RINGSTEP_ENTER_PARTIAL = 2,   /* the kernel did not take all SQEs; as io_uring_enter(2), the loop did not wait then */
};

/* .phase: how far a run is. The application sets the first or the last of them before it. */
enum ringstep_enter_phase {
	RINGSTEP_ENTER_BEGIN = 0,     /* submit what is in the SQ, then wait */
	RINGSTEP_ENTER_SUBMITTED = 1, /* and nobody has looked yet how many the kernel took */
	RINGSTEP_ENTER_WAITING = 2,   /* it took all */
	RINGSTEP_ENTER_REFUSED = 3,   /* it did not */
	RINGSTEP_ENTER_FINISH = 4,    /* only hand what has completed to the hooks */
};

/*
 * What a loop of the kind of enter keeps in its state, as its member "enter". The application, by the C++ class EnterLoop, sets the
 * first fields before each run.
 */
struct ringstep_enter {
	__u64 deadline; /* of the run: CLOCK_MONOTONIC, nanoseconds; RINGSTEP_NO_DEADLINE: none */
	__u64 wake_at; /* when the step wants another turn, in the same unit. For loops that change min_complete with the time */
	__u32 min_complete; /* completions in the CQ at which the run ends. More than it holds is taken as all that it holds */
	__u32 phase;	    /* enum ringstep_enter_phase */

	__u32 begun;	/* SQEs of the application's that the run found */
	__u32 hooked;	/* SQEs at the front of the SQ that the hook for submissions has seen, in this run or before */
	__u32 added;	/* of those in the SQ at the end of a run, the ones that hooks have claimed */
	__u32 seen;	/* the CQ's index up to which the hook for completions has seen it */
	__u32 walks;	/* 1: there is such a hook */
	__u32 dropping; /* 1: completions that are to leave the CQ at the end of the turn */
	__u32 __reserved[2];
};

/* State of the loop enter. */
struct ringstep_enter_state {
	struct ringstep_enter enter; /* all of it */
};

#endif /* RINGSTEP_LOOPS_ENTER_H */
