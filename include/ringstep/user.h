/* SPDX-License-Identifier: MIT */
/*
 * What the library and a loop that is compiled for user space agree on, in C that both sides compile.
 */
#ifndef RINGSTEP_USER_H
#define RINGSTEP_USER_H

#include <ringstep/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ringstep_user;

/* What a traced run reports. */
enum ringstep_trace_kind {
	RINGSTEP_TRACE_TURN,	  /* a turn begins; first: CQ head, count: completions that are there */
	RINGSTEP_TRACE_SUBMIT,	  /* about to submit; first: position of the first SQE, count: how many */
	RINGSTEP_TRACE_SUBMITTED, /* count: SQEs handed over; result: how many the kernel took, or -errno */
	RINGSTEP_TRACE_WAIT,	  /* about to wait; count: completions, beyond the CQ head */
};

/* One report of it. */
struct ringstep_trace_event {
	enum ringstep_trace_kind kind; /* what the others mean */
	__u32 first;		       /* where it begins, in the SQ or CQ */
	__u32 count;		       /* how many */
	int result;		       /* of the submit */
};

/* A loop on a ring, run in user space. The application's side fills it in; one for each program. */
struct ringstep_user {
	struct ringstep_geometry geometry; /* where things lie */
	struct ringstep_control *control; /* MEM region */
	const struct ringstep_user_loop *loop; /* what runs */
	__u8 *cq;			  /* CQ region */
	__u8 *sq;			  /* SQ region */
	__u64 wake_tag;			  /* user_data of completions that only wake up */
	void (*trace)(const struct ringstep_user *user, const struct ringstep_trace_event *event); /* or NULL */
	__u32 ring_fd;	    /* to enter by */
	__u32 enter_flags;  /* IORING_ENTER_REGISTERED_RING, or 0 */
	__u32 wait_fences;  /* not 0: going to sleep takes a memory barrier, because those who wake have none (membarrier(2)) */

	/* loop -> those who wake it */
	__u32 waiting __attribute__((aligned(64))); /* completions that it sleeps for, 0 while it is awake */
	__u32 wakes_seen;			    /* completions with wake_tag that are gone from the CQ */
	__u64 enters;				    /* calls of io_uring_enter(), from the beginning on */

	/* those who wake it -> loop */
	__u32 wakes_sent __attribute__((aligned(64))); /* completions with wake_tag, announced before they are sent */
	__u32 wanted;				       /* turns that were asked for, from the beginning on */
};

/* A loop compiled for user space: what RINGSTEP_LOOP(name, …) defines as ringstep_user_<name>. */
struct ringstep_user_loop {
	__u32 abi;	  /* RINGSTEP_ABI_VERSION */
	__u32 state_size; /* sizeof its state */
	const char *name; /* that given to RINGSTEP_LOOP() */
	int (*run)(struct ringstep_user *user); /* takes turns until the loop ends; returns what io_uring_enter() does with a loop */
	void (*settle)(struct ringstep_user *user); /* takes wake-ups that came too late for the run out of the CQ; waits for those on their way */
	int (*turn)(struct ringstep_user *user); /* takes one turn and returns what the step did, for tests: no submit or wait at its end */
};

#ifdef __cplusplus
}
#endif

#endif /* RINGSTEP_USER_H */
