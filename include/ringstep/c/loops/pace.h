/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_PACE_H
#define RINGSTEP_LOOPS_PACE_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>

#define RINGSTEP_PACE_CAPACITY 4096 /* requests pushed and not yet taken as completions */
#define RINGSTEP_PACE_CLASSES 16
#define RINGSTEP_PACE_MOST_BURST (1ULL << 32)	 /* tokens */
#define RINGSTEP_PACE_MOST_RATE 1000000000000ULL /* tokens a second */

/* What the loop keeps for each request. */
struct ringstep_pace_request {
	__u64 begun;	     /* loop: when it was submitted, in nanoseconds of CLOCK_MONOTONIC; 0 if it never was */
	__u32 bytes;	     /* application: what it counts as */
	__u32 request_class; /* application: 0 to RINGSTEP_PACE_CLASSES - 1 */
};

/* What a class is allowed. */
struct ringstep_pace_rate {
	__u64 rate;  /* tokens a second, RINGSTEP_PACE_MOST_RATE at most; 0: no limit */
	__u64 burst; /* tokens that a full bucket holds: 1 to RINGSTEP_PACE_MOST_BURST */
};

/* A bucket of tokens. Its level is exact: a token is 10^9 units, and each nanosecond adds `rate` of them. */
struct ringstep_pace_bucket {
	struct ringstep_pace_rate is; /* what it is filled by */
	__s64 level;		      /* below zero after a request that was larger than the bucket */
};

/* Which bucket of a class */
enum ringstep_pace_kind {
	RINGSTEP_PACE_OPERATIONS = 0, /* a token a request */
	RINGSTEP_PACE_BYTES = 1,      /* a token a byte */
};

/* A class: what it is allowed, its buckets, and its requests that wait for them. */
struct ringstep_pace_class {
	/* application; live */
	__u32 version; /* odd while it writes the rest */
	__u32 __reserved;
	struct ringstep_pace_rate wanted[2]; /* by enum ringstep_pace_kind */

	/* loop */
	__u64 filled_at;			/* when the buckets' levels were right: nanoseconds of CLOCK_MONOTONIC */
	struct ringstep_pace_bucket buckets[2]; /* by enum ringstep_pace_kind */
	struct ringstep_list waiting;		/* in the order in which they came */
	__u32 seen;				/* the version that the buckets have */
	__u64 operations;			/* submitted; live */
	__u64 bytes;				/* of these; live */
};

/* State of the loop pace: requests begin at so many, and so many bytes, a second. ringstep::Pace (pace.hpp) is its C++ face. */
struct ringstep_pace {
	__u64 now;	/* when this turn began */
	__u64 deadline; /* when the next request may begin */
	__u32 at;	/* class at hand */
	__u32 __reserved;
	struct ringstep_pace_class classes[RINGSTEP_PACE_CLASSES]; /* by their numbers */

	RINGSTEP_REQUESTS(RINGSTEP_PACE_CAPACITY,
			  struct ringstep_pace_request); /* all that were pushed and not yet taken as completions */
};

#endif /* RINGSTEP_LOOPS_PACE_H */
