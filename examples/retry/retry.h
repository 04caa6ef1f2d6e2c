/* SPDX-License-Identifier: MIT */
/* What the application and its loop share. */
#pragma once

#include <ringstep/loops/enter.h>

#define RETRY_REQUESTS 256 /* the application numbers its requests in flight below that; a power of two */

struct retry {
	struct ringstep_enter enter; /* what makes it a loop of the kind of enter */
	__u32 limit;		     /* set by the application: how often a request is tried again */
	__u32 __reserved;
	__u64 retried;		     /* by the loop: how often it has done so */
	__u32 tries[RETRY_REQUESTS];
	__u64 requests[RETRY_REQUESTS][8]; /* their SQEs */
};
