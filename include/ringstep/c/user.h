/* SPDX-License-Identifier: MIT */
/*
 * The interface between the library and a loop that is compiled for user space, in C that both sides compile.
 */
#ifndef RINGSTEP_USER_H
#define RINGSTEP_USER_H

#include <ringstep/c/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ringstep_user;

/* The events that a traced run reports. */
enum ringstep_trace_kind {
	RINGSTEP_TRACE_TURN,	  /* a turn begins; first: CQ head, count: completions in the CQ */
	RINGSTEP_TRACE_SUBMIT,	  /* about to submit; first: position of the first SQE, count: number of SQEs */
	RINGSTEP_TRACE_SUBMITTED, /* a submit ended; count: SQEs submitted; result: number that the kernel took, or -errno */
	RINGSTEP_TRACE_WAIT,	  /* about to wait; count: completions to wait for, from the CQ head on */
};

/* One event of a traced run. */
struct ringstep_trace_event {
	enum ringstep_trace_kind kind; /* the meaning of the other fields */
	__u32 first;		       /* the first position, in the SQ or CQ */
	__u32 count;		       /* number of entries */
	int result;		       /* the result of the submit */
};

/* A loop on a ring, run in user space. The application's side fills it in. Each program has one. */
struct ringstep_user {
	struct ringstep_geometry geometry;     /* layout of the regions */
	struct ringstep_control *control;      /* MEM region */
	const struct ringstep_user_loop *loop; /* the loop that runs */
	__u8 *cq;			       /* CQ region */
	__u8 *sq;			       /* SQ region */
	__u64 wake_tag;			       /* user_data of completions that only wake the loop up */
	void (*trace)(const struct ringstep_user *user,
		      const struct ringstep_trace_event *event); /* called for each event, or NULL */
	__u32 ring_fd;	   /* descriptor, or registered index, to call io_uring_enter() with */
	__u32 enter_flags; /* IORING_ENTER_REGISTERED_RING, or 0 */
	__u32 wait_fences; /* not 0: the loop needs a memory barrier before it sleeps, because wakers cannot use membarrier(2) */

	/* loop -> threads that wake it */
	__u32 waiting __attribute__((aligned(64))); /* completions that the loop sleeps for, 0 while it is awake */
	__u32 wakes_seen;			    /* completions with wake_tag that have left the CQ */
	__u64 enters;				    /* all calls of io_uring_enter() so far */

	/* threads that wake it -> loop */
	__u32 wakes_sent __attribute__((aligned(64))); /* completions with wake_tag, counted before they are sent */
	__u32 wanted;				       /* all turns requested so far */
};

/* A loop compiled for user space. RINGSTEP_LOOP(name, …) defines it as ringstep_user_<name>. */
struct ringstep_user_loop {
	__u32 abi;				    /* RINGSTEP_ABI_VERSION */
	__u32 state_size;			    /* size of its state */
	__u32 cqe_batch;			    /* the completion limit of a turn: its RINGSTEP_CQE_BATCH */
	const char *name;			    /* the name given to RINGSTEP_LOOP() */
	int (*run)(struct ringstep_user *user);	    /* takes turns until the run ends; returns what io_uring_enter() returns */
	void (*settle)(struct ringstep_user *user); /* waits for late wake-ups, and takes them out of the CQ */
	int (*turn)(struct ringstep_user *user);    /* for tests: takes one turn, without submit or wait; returns its result */
};

#ifdef __cplusplus
}
#endif

#endif /* RINGSTEP_USER_H */
