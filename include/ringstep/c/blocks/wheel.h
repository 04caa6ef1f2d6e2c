/* SPDX-License-Identifier: MIT */
/*
 * A timer wheel: many timers, of which each is set, moved and cancelled at the same small cost, and one deadline for the wait at the end of a
 * turn. Zeroes are an empty wheel.
 *
 *	struct my_state {
 *		struct ringstep_wheel wheel;
 *		struct ringstep_wheel_timer timers[4096];	// a power of two
 *	};
 *
 * Time is counted in ticks of 1,048,576 nanoseconds, 1.05 ms. The wheel has 8 levels of 64 buckets. A bucket of the lowest level is one tick, one
 * of each other level is 64 times as long as one of the level below it. So all times of CLOCK_MONOTONIC have a bucket, up to 292 years.
 *
 * The loop's side is ringstep/wheel.bpf.h.
 */
#ifndef RINGSTEP_BLOCKS_WHEEL_H
#define RINGSTEP_BLOCKS_WHEEL_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define RINGSTEP_WHEEL_TICK_SHIFT 20 /* log2 of the nanoseconds of a tick */
#define RINGSTEP_WHEEL_LEVELS 8	     /* levels of a wheel */
#define RINGSTEP_WHEEL_LEVEL_SHIFT 6 /* log2 of the buckets of a level */
#define RINGSTEP_WHEEL_BUCKETS 64    /* buckets of a level */

/* A timer. All of it is the wheel's. */
struct ringstep_wheel_timer {
	__u64 due;	/* the tick in which it expires, if it is set */
	__u32 next;	/* in its bucket: one more than the timer's number; 0: none */
	__u32 previous; /* in its bucket: one more than the number of the timer before it; 0: none */
	__u32 bucket;	/* one more than the number of its bucket; 0: it is not set */
	__u32 __reserved;
};

/* A wheel, without its timers. */
struct ringstep_wheel {
	__u64 tick;			     /* it has been turned as far as this one */
	__u64 filled[RINGSTEP_WHEEL_LEVELS]; /* a bit for each bucket in which there are timers */
	__u32 first[RINGSTEP_WHEEL_LEVELS *
		    RINGSTEP_WHEEL_BUCKETS]; /* one more than the number of a bucket's first timer; 0: none */
	__u32 emptied;			     /* one more than the number of the bucket that is being emptied; 0: none */
	__u32 set;			     /* timers that are set */
};

#endif /* RINGSTEP_BLOCKS_WHEEL_H */
