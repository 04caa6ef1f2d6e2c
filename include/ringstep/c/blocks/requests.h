/* SPDX-License-Identifier: MIT */
/*
 * The request service: a table of slots in a loop's state. The application pushes requests from any thread, the loop decides when it submits
 * each of them, and every request returns with its result.
 *
 *	struct my_request {		// what the loop keeps for each request
 *		__u64 arrived;
 *	};
 *
 *	struct my_state {
 *		RINGSTEP_REQUESTS(1024, struct my_request);
 *		struct ringstep_list waiting;
 *	};
 *
 * The C++ side is RequestLoop (ringstep/blocks/requests.hpp), the loop's ringstep/requests.bpf.h.
 */
#ifndef RINGSTEP_BLOCKS_REQUESTS_H
#define RINGSTEP_BLOCKS_REQUESTS_H

#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/c/identity.h>

/* ringstep_request.phase: where a request is */
enum ringstep_request_phase {
	RINGSTEP_REQUEST_OUTSIDE = 0,	/* with the application */
	RINGSTEP_REQUEST_WAITING = 1,	/* with the loop, not submitted */
	RINGSTEP_REQUEST_IN_FLIGHT = 2, /* with the kernel */
	RINGSTEP_REQUEST_NOTIFYING = 3, /* with the kernel, which has given the result and still uses the buffer */
};

/* Why a loop of requests ended: LoopExit::code */
enum ringstep_requests_code {
	RINGSTEP_REQUESTS_IDLE = 0,  /* all that was pushed has been delivered */
	RINGSTEP_REQUESTS_BATCH = 1, /* as many completions are there to be collected as were asked for */
};

/* A request, and what has become of it. The application fills in the first two fields, the loop writes the others. */
struct ringstep_request {
	__u64 sqe[8];	/* as for the kernel, but user_data is the application's own: the loop submits its identity instead */
	__u64 identity; /* of this use of the slot: ringstep_identity_of_loop() and ringstep_identity_of_slot() together */
	__u32 phase;	/* enum ringstep_request_phase */
	__s32 result;	/* as in its CQE */
	__u32 flags;	/* as in its CQE */
	__u32 __reserved;
	__u64 extra[2]; /* the second half of its CQE, on a ring with CQEs of 32 bytes */
};

/* Bits of a message to the loop */
#define RINGSTEP_REQUEST_SLOT RINGSTEP_IDENTITY_SLOT /* which slot it is about */
#define RINGSTEP_REQUEST_GENERATION_SHIFT 16U	     /* which of its uses */
#define RINGSTEP_REQUEST_GENERATION 0x7fffU	     /* bits of that number */
#define RINGSTEP_REQUEST_CANCEL (1U << 31)	     /* cancel it; else: take it */

/* What the loop and the application tell each other, besides messages. */
struct ringstep_requests {
	/* application -> loop */
	__u32 stay;	/* do not end when there is nothing to do: wait for more */
	__u32 batch;	/* end when so many completions are there to be collected; 0: do not */
	__u64 identity; /* of the loop: ringstep_identity_of_loop() */
	__u32 attempts; /* messages to cancel a request that were sent */
	__u32 __reserved_application[11];

	/* loop -> application */
	__u64 counts;	 /* RINGSTEP_REQUESTS_WAITING and RINGSTEP_REQUESTS_IN_FLIGHT, so many times */
	__u32 foreign;	 /* stale completions: see ringstep/c/identity.h */
	__u32 refused;	 /* of those received: never submitted, because they were cancelled before */
	__u32 cancels;	 /* requests of kinds TIMEOUT and HELPER that have not completed */
	__u32 attempted; /* messages to cancel a request that were received */
	__u32 leaves; /* not zero: the loop may leave messages and sleep; whoever sends an attempt to cancel has to wake it up */
	__u32 __reserved_loop[9];
};

/* What struct ringstep_requests.counts changes by. Both numbers lie in one word, so that one store changes both. */
#define RINGSTEP_REQUESTS_WAITING 1ULL		 /* a request that was received and not submitted */
#define RINGSTEP_REQUESTS_IN_FLIGHT (1ULL << 32) /* a request that was submitted and is not complete */

/* Returns how many requests were received and not submitted. */
static inline __u32 ringstep_requests_waiting(__u64 counts)
{
	return counts & 0xffffffff;
}

/* Returns how many requests were submitted and are not complete. */
static inline __u32 ringstep_requests_in_flight(__u64 counts)
{
	counts >>= 32;
	return counts & 0xffffffff; /* no cast, as C++ applications may warn of those */
}

/*
 * The members of a state that the service needs, but for the slots. For loops whose slots stand for something else than one request. The
 * capacity is a power of two, 65536 at most.
 */
#define RINGSTEP_SERVICE(capacity)                                                                                             \
	struct ringstep_mailbox mailbox;                                                                                       \
	struct ringstep_requests requests;                                                                                     \
	__u64 inbox[4 * (capacity)]; /* a start, and what is left of attempts to cancel */                                     \
	__u32 outbox[capacity]

/*
 * The members of a state with a table of so many requests. `own_type` is a struct with at least one member: what the loop keeps for each
 * request. The application sets it as it pushes the request, and gets it back with the completion.
 */
#define RINGSTEP_REQUESTS(capacity, own_type)                                                                                  \
	RINGSTEP_SERVICE(capacity);                                                                                            \
	struct {                                                                                                               \
		struct ringstep_request request; /* the service's */                                                           \
		__u32 next;			 /* of a ringstep_list */                                                      \
		__u32 previous;			 /* of a ringstep_list */                                                      \
		own_type own;			 /* the loop's */                                                              \
	} slots[capacity]

#endif /* RINGSTEP_BLOCKS_REQUESTS_H */
