/* SPDX-License-Identifier: MIT */
/* The struct that the application and its loop share. */
#pragma once

#include <ringstep/c/loops/enter.h>

#define RETRY_REQUESTS 256 /* a power of two; the numbers of requests in flight must be smaller */

struct retry {
	struct ringstep_enter enter; /* lets the loop work like enter */
	__u32 limit;		     /* set by the application: how often a request may be tried again */
	__u32 __reserved;
	__u64 retried; /* set by the loop: how many times it has tried a request again */
	__u32 tries[RETRY_REQUESTS];
	__u64 requests[RETRY_REQUESTS][8]; /* the SQEs of the requests */
};
