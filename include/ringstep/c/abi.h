/* SPDX-License-Identifier: MIT */
/*
 * The data that a loop and its application share, in C that both sides compile.
 *
 * The MEM region starts with one struct ringstep_control, and the loop's own state follows directly. The geometry tells a loop
 * where the rings are. The application fills in the geometry before the program is loaded, so that every offset and mask is a
 * constant for the verifier.
 */
#ifndef RINGSTEP_ABI_H
#define RINGSTEP_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* The version of this interface. It is raised whenever a struct below, or the meaning of a field, changes. */
#define RINGSTEP_ABI_VERSION 6

/* The completion limit of a turn. Further completions wait for the next turn, which follows at once. */
#ifndef RINGSTEP_CQE_BATCH
#define RINGSTEP_CQE_BATCH 32
#endif

/* struct ringstep_geometry.flags */
#define RINGSTEP_SQ_REWIND (1U << 0) /* the ring was opened with IORING_SETUP_SQ_REWIND */
/* The usual case: SQ_REWIND, SQEs of 64 bytes and CQEs of 16 bytes, and a CQ of RINGSTEP_USUAL_CQ entries or more. */
#define RINGSTEP_USUAL (1U << 1)
#define RINGSTEP_USUAL_CQ 32 /* entries of the CQ, at least */

/* The bits of struct ringstep_control.stop. The loop stops for each of them. */
enum ringstep_stop_kind {
	RINGSTEP_STOP_NONE = 0,
	RINGSTEP_STOP_REQUESTED = 1, /* one run must end, this one or the next */
	RINGSTEP_STOP_DETACH = 2,    /* the loop is about to be detached from the ring */
	RINGSTEP_STOP_TOKEN = 4,     /* this run must end, because of its stop token */
};

/* The values of struct ringstep_control.fault: why the kit, and not the step, ended the run. The last one is no fault. */
enum ringstep_fault {
	RINGSTEP_FAULT_NONE = 0,
	RINGSTEP_FAULT_RINGS = 1,   /* the SQ or CQ region is smaller than the geometry says */
	RINGSTEP_FAULT_SQ_FULL = 2, /* no free SQE, and the kernel took none of those claimed */
	RINGSTEP_FAULT_STOPPED = 3, /* the step has ended the run, but for the deferred work that the kernel owes */
};

/*
 * The ring's timer, which loops in the kernel use: an IORING_OP_TIMEOUT. A completion whose user_data is an address within this
 * struct belongs to the kit. Neither the loop nor the application counts the timer's requests or sees their completions.
 */
struct ringstep_timer {
	__u64 deadline;	   /* when the timeout in flight fires, in nanoseconds of CLOCK_MONOTONIC */
	__s64 seconds;	   /* first half of a struct __kernel_timespec: the deadline, for the kernel to copy */
	__s64 nanoseconds; /* second half of that struct */
	__u32 armed;	   /* 1 while the timeout is in flight; the address of this field is the timeout's user_data */
	__u32 updates;	   /* updates of the timeout in flight; the address of this field is their user_data */
	__u32 dead;	   /* unused; the address of this field is the user_data of completions that a loop has swallowed */
	__u32 __reserved[7];
};

/* Returns not 0 if a completion belongs to the kit: if its user_data is an address within the timer that lies at `address`. */
static inline int ringstep_timer_has(__u64 address, __u64 user_data)
{
	return user_data - address < sizeof(struct ringstep_timer);
}

/* Updates the timer, which lies at `address`, after a completion that belongs to the kit has left the CQ. */
static inline void ringstep_timer_completed(struct ringstep_timer *timer, __u64 address, __u64 user_data)
{
	if (user_data - address == __builtin_offsetof(struct ringstep_timer, armed))
		timer->armed = 0;
	else if (user_data - address == __builtin_offsetof(struct ringstep_timer, updates) && timer->updates)
		timer->updates--;
}

/*
 * The head of the MEM region. While a loop runs, the application writes only the first cache line, and the loop writes only the
 * others, but for .fault.
 */
struct ringstep_control {
	/* application -> loop */
	__u32 stop;    /* bits of enum ringstep_stop_kind; if not zero, the loop stops before its next turn */
	__u32 fault;   /* the loop's own: enum ringstep_fault. It lies here so that the loop can look at both words at once */
	__u64 address; /* address of this block in the process, for requests that point into the region */
	__u64 __reserved_application[6];

	/* loop -> application; the counts start when the region is registered and never decrease */
	__u64 turns;	  /* turns taken */
	__u64 submitted;  /* SQEs that the kernel took */
	__u64 reaped;	  /* CQEs that the step took, swallowed ones included */
	__u64 unfinished; /* CQEs among .reaped that announced more (IORING_CQE_F_MORE), so did not end a request */
	__s64 code;	  /* the argument of ringstep_stop() */
	__s32 returned;	  /* the invalid value that the step returned, or 0 */
	__u32 claimed;	  /* with RINGSTEP_SQ_REWIND: SQEs claimed and not yet submitted */
	__u32 stopped;	  /* the value of .stop for which the loop stopped, or 0 */
	__u32 __reserved_loop;
	__u64 calls; /* calls of the program by the kernel that made turns; each may make several */

	__u64 scratch_sqe[16]; /* takes an SQE for which there was no room; never submitted */

	struct ringstep_timer timer; /* written by the loop, or while no loop runs, by the thread that takes completions */
};

/* The layout of the regions. Offsets and sizes are in bytes. */
struct ringstep_geometry {
	__u32 abi;	  /* set by the program: RINGSTEP_ABI_VERSION */
	__u32 state_size; /* set by the program: size of its state */
	__u32 flags;	  /* RINGSTEP_SQ_REWIND, RINGSTEP_USUAL */
	__u32 mem_size;	  /* size of the MEM region, control block included */
	__u32 cq_size;	  /* size of the used part of the CQ region */
	__u32 sq_size;	  /* size of the used part of the SQ region */
	__u32 sq_head;	  /* offset in the CQ region */
	__u32 sq_tail;	  /* offset in the CQ region */
	__u32 sq_mask;	  /* SQEs - 1 */
	__u32 sqe_shift;  /* log2 of an SQE's size: 6, or 7 with IORING_SETUP_SQE128 */
	__u32 cq_head;	  /* offset in the CQ region */
	__u32 cq_tail;	  /* offset in the CQ region */
	__u32 cq_mask;	  /* CQEs - 1 */
	__u32 cqes;	  /* offset in the CQ region */
	__u32 cqe_shift;  /* log2 of a CQE's size: 4, or 5 with IORING_SETUP_CQE32 */
};

#endif /* RINGSTEP_ABI_H */
