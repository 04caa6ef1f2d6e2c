/* SPDX-License-Identifier: MIT */
/* The struct that the application and its loop share. */
#pragma once

#include <ringstep/c/loops/enter.h>

#define LATENCY_OPCODES 128 /* a power of two */

struct latency {
	struct ringstep_enter enter;	 /* lets the loop work like enter */
	__u64 requests[LATENCY_OPCODES]; /* by opcode */
	__u64 histogram[64];		 /* [i]: samples of 2^i nanoseconds or more, but less than twice that */
	__u64 failed;			 /* completions with an error */
	__u64 sample;			 /* user_data of the request that is being timed */
	__u64 started;			 /* the time of its submission; 0: no request is being timed */
};
