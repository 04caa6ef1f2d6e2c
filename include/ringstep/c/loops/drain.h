/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_DRAIN_H
#define RINGSTEP_LOOPS_DRAIN_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/c/blocks/table.h>

/* Most requests with the loop drain at a time. A power of two. */
#ifndef RINGSTEP_DRAIN_REQUESTS
#define RINGSTEP_DRAIN_REQUESTS 4096
#endif

/* ringstep_drain_request.options */
#define RINGSTEP_DRAIN_BARRIER (1U << 0) /* of its group */
#define RINGSTEP_DRAIN_ALL (1U << 1)	 /* of the whole ring */

/* What the loop keeps for each request. */
struct ringstep_drain_request {
	__u64 group;   /* application: barriers order the requests of one group */
	__u32 options; /* application: RINGSTEP_DRAIN_BARRIER, RINGSTEP_DRAIN_ALL */
	__u32 number;  /* loop: of its group's entry */
};

/* A group that has requests with the loop. There are never more of them than requests. */
struct ringstep_drain_group {
	__u64 key;		      /* as pushed */
	__u32 next;		      /* the table's */
	__u32 in_flight;	      /* of its requests */
	__u32 barrier;		      /* the one in flight is a barrier */
	__u32 due;		      /* it is in the list `due`, by next_due */
	__u32 next_due;		      /* one more than the number of the next one in that list */
	struct ringstep_list waiting; /* requests that something before them holds up, in their order */
};

/* State of the loop drain: requests of groups, with barriers. All of it is the loop's. */
struct ringstep_drain {
	struct ringstep_list behind; /* a barrier of the whole ring that waits, and all that was pushed after one */
	__u32 all;		     /* a barrier of the whole ring is in flight */
	__u32 due;		     /* one more than the number of the first group in which something may start */
	__u32 barriers;		     /* that have been submitted */
	struct ringstep_table table; /* of groups */
	RINGSTEP_REQUESTS(RINGSTEP_DRAIN_REQUESTS, struct ringstep_drain_request); /* mailbox, requests, inbox, outbox, slots */
	__u32 buckets[RINGSTEP_DRAIN_REQUESTS];					   /* of the table */
	struct ringstep_drain_group groups[RINGSTEP_DRAIN_REQUESTS];		   /* by number */
};

#endif /* RINGSTEP_LOOPS_DRAIN_H */
