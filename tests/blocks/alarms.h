/* SPDX-License-Identifier: MIT */
/* State of the loop "alarms": a timer wheel, and what the test wants to be done with it. */
#ifndef ALARMS_H
#define ALARMS_H

#include <ringstep/c/blocks/wheel.h>

#define ALARMS 16384
#define ALARMS_STEPS 1024
#define ALARMS_EXPIRED 32768
#define ALARMS_GUARDS 64

enum alarms_operation {
	ALARMS_SET,	 /* timer .number to .time */
	ALARMS_CANCEL,	 /* timer .number */
	ALARMS_EXPIRE,	 /* at .time, with .number as the limit; .result: how many have expired */
	ALARMS_DEADLINE, /* .result */
	ALARMS_IS_SET,	 /* timer .number: .result */
};

struct alarms_step {
	__u32 operation;
	__u32 number;
	__u64 time;
	__u64 result;
};

struct alarms {
	__u32 steps; /* so many of the script */
	__u32 done;
	__u32 real; /* not 0: instead of a script, wait until all timers have expired */
	__u32 per_turn;
	__u64 completed;
	__u64 turns;
	__u64 early;		     /* timers that expired before their deadline */
	__u64 latest;		     /* the longest time that one expired after it */
	__u64 expired;		     /* the count of .order */
	__u64 before[ALARMS_GUARDS]; /* nothing writes here, nor to .between and .after */
	struct ringstep_wheel wheel;
	__u64 between[ALARMS_GUARDS];
	struct ringstep_wheel_timer timers[ALARMS];
	__u64 after[ALARMS_GUARDS];
	__u64 deadlines[ALARMS]; /* of real time */
	struct alarms_step script[ALARMS_STEPS];
	__u32 order[ALARMS_EXPIRED]; /* the timers that have expired */
};

#endif
