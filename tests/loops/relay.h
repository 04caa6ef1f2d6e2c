/* SPDX-License-Identifier: MIT */
/* State of the loop "relay": requests in the order in which they were pushed, so many at a time. */
#ifndef RELAY_H
#define RELAY_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>

#define RELAY_REQUESTS 256

struct relay {
	__u32 depth; /* set by the test */
	__u32 budget;
	struct ringstep_list waiting;
	RINGSTEP_REQUESTS(RELAY_REQUESTS);
};

#endif
