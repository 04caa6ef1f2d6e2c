/* SPDX-License-Identifier: MIT */
/* State of the loop "wheel_work": one function of the timer wheel, again and again. */
#ifndef WHEEL_WORK_H
#define WHEEL_WORK_H

#include <ringstep/c/blocks/wheel.h>

#define WHEEL_WORK_TIMERS 16384

enum wheel_work_kind {
	WHEEL_WORK_NOTHING,
	WHEEL_WORK_SET,
	WHEEL_WORK_CANCEL,
	WHEEL_WORK_EXPIRE,
	WHEEL_WORK_DEADLINE,
};

struct wheel_work {
	__u32 kind;
	__u32 times;
	__u64 now;
	__u64 sum;
	__u64 number;
	struct ringstep_wheel wheel;
	struct ringstep_wheel_timer timers[WHEEL_WORK_TIMERS];
	__u64 deadlines[WHEEL_WORK_TIMERS];
};

#endif
