/* SPDX-License-Identifier: MIT */
/* State of the loop "relay": requests in the order in which they were pushed, so many at a time. */
#ifndef RELAY_H
#define RELAY_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>

#define RELAY_REQUESTS 256

/* What the loop keeps for each request. */
struct relay_request {
	__u64 group; /* any numbers of the application's */
	__u32 options;
	__u32 __reserved;
};

struct relay {
	__u32 depth; /* set by the test */
	__u32 budget;
	struct ringstep_list waiting;
	RINGSTEP_REQUESTS(RELAY_REQUESTS, struct relay_request);
};

#endif
