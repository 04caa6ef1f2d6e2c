/* SPDX-License-Identifier: MIT */
/* State of the loop "deadline": the waiting request with the earliest deadline is submitted first. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <ringstep/c/blocks/requests.h>

#define DEADLINE_REQUESTS 1024
#define DEADLINE_LEVELS 10 /* of a heap with so many requests */

/* What the loop keeps for each request. */
struct deadline_request {
	__u64 deadline; /* set with the push: any number; the smallest is submitted first */
	__u64 order;	/* by the loop: the request's number in the order of submission */
	__u32 place;	/* by the loop: where it is in the heap */
	__u32 __reserved;
};

struct deadline {
	__u32 depth; /* set by the application: most requests in flight */
	__u32 count; /* waiting requests, which are the first so many of the heap */
	__u32 at;    /* cursor */
	__u32 __reserved;
	__u64 submitted;	       /* all requests that were submitted */
	__u32 heap[DEADLINE_REQUESTS]; /* slots: none has a later deadline than those at 2n + 1 and 2n + 2 */
	RINGSTEP_REQUESTS(DEADLINE_REQUESTS, struct deadline_request);
};

#endif
