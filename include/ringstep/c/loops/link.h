/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_LINK_H
#define RINGSTEP_LOOPS_LINK_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>

/* Most requests with the loop link at a time. A power of two, 65536 at most. */
#ifndef RINGSTEP_LINK_REQUESTS
#define RINGSTEP_LINK_REQUESTS 4096
#endif

/* ringstep_link_request.options: where a request stands in its chain, and what makes it fail */
#define RINGSTEP_LINK_NEXT 0x1ffffU	      /* one more than the slot of the next one; 0: it is the last one */
#define RINGSTEP_LINK_HARD (1U << 17)	      /* the next one starts whatever comes of this one */
#define RINGSTEP_LINK_BEFORE_OPEN (1U << 18)  /* what is next is the open end of the chain */
#define RINGSTEP_LINK_CONTINUES (1U << 19)    /* the rest of a short transfer is requested, too */
#define RINGSTEP_LINK_MOVES_OFFSET (1U << 20) /* by what has been transferred, then */
#define RINGSTEP_LINK_TIMED (1U << 21)	      /* a LINK_TIMEOUT belongs to it: .timeout */
#define RINGSTEP_LINK_TIMEOUT (1U << 22)      /* it is one */
#define RINGSTEP_LINK_BEFORE_TIMED (1U << 23) /* to what is next one belongs */
#define RINGSTEP_LINK_RULE_SHIFT 24
#define RINGSTEP_LINK_RULE (7U << RINGSTEP_LINK_RULE_SHIFT) /* enum ringstep_link_rule */
#define RINGSTEP_LINK_EXTENDS (1U << 27) /* it is the first one of an extension, in the slot of an open end */

/* Which results make a request fail, so that a soft link is severed */
enum ringstep_link_rule {
	RINGSTEP_LINK_NEGATIVE = 0, /* any error */
	RINGSTEP_LINK_EXACTLY = 1,  /* anything but the bytes that it is to transfer, of which more never come */
	RINGSTEP_LINK_AT_LEAST = 2, /* less than these */
	RINGSTEP_LINK_SILENT = 3,   /* the operation's own errors do not: being cancelled does */
	RINGSTEP_LINK_FILE = 4,	    /* being cancelled does, and that there is no such descriptor */
	RINGSTEP_LINK_EXPIRES = 5,  /* any error but -ETIME */
};

/* ringstep_link_request.expected: no result is less. For hard links, except those of requests whose rest is requested, too. */
#define RINGSTEP_LINK_ANY (-0x7fffffff - 1)

/* ringstep_link_request.marks */
#define RINGSTEP_LINK_OPEN (1U << 0)	  /* there is an open end in that slot, or has been until it was extended */
#define RINGSTEP_LINK_REACHED (1U << 1)	  /* all before it is complete, or cancelled */
#define RINGSTEP_LINK_SEVERED (1U << 2)	  /* and what comes now is to be cancelled */
#define RINGSTEP_LINK_EXTENDED (1U << 3)  /* it is a request like others now */
#define RINGSTEP_LINK_CANCELLED (1U << 4) /* the application has cancelled it */

/* What the loop keeps for each request. */
struct ringstep_link_request {
	__u64 group;   /* application: its own number */
	__u32 options; /* application: RINGSTEP_LINK_NEXT and so on */
	__u32 timeout; /* application: one more than the slot of its LINK_TIMEOUT; 0: none */
	__u32 count;   /* application: how many requests the chain has; right in its first one */
	__s32 expected; /* application: bytes that it is to transfer, or RINGSTEP_LINK_ANY; 0: its result is compared in another way */
	__u32 done;  /* loop: of them, those that it has transferred */
	__u32 marks; /* application, as it pushes the chain: RINGSTEP_LINK_OPEN; then the loop: the others */
};

/* State of the loop link: chains of requests. All of it is the loop's. */
struct ringstep_link {
	struct ringstep_list ready;   /* may start: the first ones of chains, and others that take some care */
	struct ringstep_list severed; /* to be cancelled with all that follows in the chain */
	__u32 __reserved;
	__u32 continued;  /* short transfers of which the rest was requested */
	__u64 no_time[2]; /* application: a struct __kernel_timespec of zeroes, which is over at once */
	RINGSTEP_REQUESTS(RINGSTEP_LINK_REQUESTS, struct ringstep_link_request); /* mailbox, requests, inbox, outbox, slots */
};

#endif /* RINGSTEP_LOOPS_LINK_H */
