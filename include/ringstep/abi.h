/* SPDX-License-Identifier: MIT */
/*
 * What a loop and its application share, in C that both sides compile.
 *
 * The MEM region starts with one struct ringstep_control; the loop's own state follows it directly. The geometry tells a
 * loop where the rings lie; the application fills it in before the program is loaded, so that to the verifier every
 * offset and mask is a constant.
 */
#ifndef RINGSTEP_ABI_H
#define RINGSTEP_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Raised whenever a struct below, or the meaning of a field, changes. */
#define RINGSTEP_ABI_VERSION 3

/* Most completions that a step is handed in one turn; what is left waits for the next turn, which follows at once. */
#ifndef RINGSTEP_CQE_BATCH
#define RINGSTEP_CQE_BATCH 32
#endif

/* struct ringstep_geometry.flags */
#define RINGSTEP_SQ_REWIND (1U << 0) /* the ring was opened with IORING_SETUP_SQ_REWIND */
#define RINGSTEP_SHORT_ENTRIES (1U << 1) /* as is usual: SQ_REWIND, SQEs of 64 and CQEs of 16 bytes */

/* struct ringstep_control.stop: bits. The loop stops for any of them. */
enum ringstep_stop_kind {
	RINGSTEP_STOP_NONE = 0,
	RINGSTEP_STOP_REQUESTED = 1, /* one run is to end, this one or the next */
	RINGSTEP_STOP_DETACH = 2,    /* the loop is about to be taken off the ring */
	RINGSTEP_STOP_TOKEN = 4,     /* this run is to end: its stop token says so */
};

/* struct ringstep_control.fault: why the kit, rather than the loop's author, ended the loop */
enum ringstep_fault {
	RINGSTEP_FAULT_NONE = 0,
	RINGSTEP_FAULT_RINGS = 1,   /* the SQ or CQ region is smaller than the geometry says */
	RINGSTEP_FAULT_SQ_FULL = 2, /* no free SQE, and the kernel took none of those claimed */
};

/*
 * The ring's timer, as loops in the kernel have one: an IORING_OP_TIMEOUT. Nobody counts its requests as the loop's or as the
 * application's, nor sees their completions: what carries an address within this struct as its user_data is the kit's own.
 */
struct ringstep_timer {
	__u64 deadline;    /* when the timeout in flight fires: CLOCK_MONOTONIC, nanoseconds */
	__s64 seconds;	   /* a struct __kernel_timespec: the deadline, for the kernel to copy */
	__s64 nanoseconds; /* the other half of it */
	__u32 armed;	   /* 1 while the timeout is in flight; its address is the timeout's user_data */
	__u32 updates;	   /* updates of it in flight; its address is their user_data */
	__u32 dead;	   /* nothing. Its address is the user_data of completions that a loop has swallowed */
	__u32 __reserved[7];
};

/*
 * Head of the MEM region. Each side writes its own cache lines only: the application the first, the loop the others.
 */
struct ringstep_control {
	/* application -> loop */
	__u32 stop; /* bits of enum ringstep_stop_kind: not zero: stop before the next step */
	__u32 __reserved;
	__u64 address; /* of this block in the process, for requests that point into the region */
	__u64 __reserved_application[6];

	/* loop -> application; each counts from the registration of the region on and never goes back */
	__u64 turns;      /* calls of the step */
	__u64 submitted;  /* SQEs that the kernel took */
	__u64 reaped;     /* CQEs handed to the step */
	__u64 unfinished; /* of the reaped: those that announced more (IORING_CQE_F_MORE), so did not end a request */
	__s64 code;       /* what the loop said to ringstep_stop() */
	__u32 fault;      /* enum ringstep_fault */
	__s32 returned;   /* a value of the step that the kernel does not know, 0 if there was none */
	__u32 claimed;    /* with RINGSTEP_SQ_REWIND: SQEs claimed and not yet submitted */
	__u32 stopped;    /* the value of .stop that the loop returned for, 0 if it did not */
	__u64 __reserved_loop;

	__u64 scratch_sqe[16]; /* where an SQE is written that found no room; never submitted */

	struct ringstep_timer timer; /* the loop's, and when none runs, of those who take completions */
};

/* Where things lie in the regions. Offsets and sizes in bytes. */
struct ringstep_geometry {
	__u32 abi;        /* set by the program: RINGSTEP_ABI_VERSION */
	__u32 state_size; /* set by the program: sizeof its state */
	__u32 flags;      /* RINGSTEP_SQ_REWIND */
	__u32 mem_size;   /* of the MEM region, control block included */
	__u32 cq_size;    /* of the CQ region, as far as it is used */
	__u32 sq_size;    /* of the SQ region, as far as it is used */
	__u32 sq_head;    /* in the CQ region */
	__u32 sq_tail;    /* in the CQ region */
	__u32 sq_mask;    /* entries - 1 */
	__u32 sqe_shift;  /* log2 of an SQE's size: 6, or 7 with IORING_SETUP_SQE128 */
	__u32 cq_head;    /* in the CQ region */
	__u32 cq_tail;    /* in the CQ region */
	__u32 cq_mask;    /* entries - 1 */
	__u32 cqes;       /* in the CQ region */
	__u32 cqe_shift;  /* log2 of a CQE's size: 4, or 5 with IORING_SETUP_CQE32 */
};

#endif /* RINGSTEP_ABI_H */
