/* SPDX-License-Identifier: MIT */
/*
 * A table of requests in a loop's state. The application pushes requests from any thread, the loop decides when it submits each
 * of them, and every request returns with its result.
 *
 *	struct my_state {
 *		RINGSTEP_REQUESTS(1024);
 *		struct ringstep_list waiting;
 *	};
 *
 * The C++ side is RequestLoop (ringstep/blocks/requests.hpp), the loop's ringstep/requests.bpf.h.
 */
#ifndef RINGSTEP_BLOCKS_REQUESTS_H
#define RINGSTEP_BLOCKS_REQUESTS_H

#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/c/blocks/tags.h>

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

/* A slot: a request, and what has become of it. The application fills in the first four fields, the loop writes the others. */
struct ringstep_request {
	__u64 sqe[8];	  /* as for the kernel; user_data is what the loop knows it by: see RINGSTEP_REQUEST_TAG */
	__u64 group;	  /* what the loop orders or limits it by */
	__u32 options;	  /* bits, as the loop defines them */
	__u32 generation; /* how often the slot has been used; tells a request from its slot's earlier ones */

	__u32 phase;	/* enum ringstep_request_phase */
	__u32 next;	/* of a ringstep_list */
	__u32 previous; /* likewise */
	__u32 own;	/* whatever the loop remembers of it: zero when it comes */
	__u64 memo;	/* likewise */

	__s32 result;	/* as in its CQE */
	__u32 flags;	/* likewise */
	__u64 extra[2]; /* likewise, if CQEs are long */
};

/*
 * user_data of a request, which the application puts into its SQE and keeps its own elsewhere: this << 48 | epoch << 32 |
 * generation << 16 | slot
 */
#define RINGSTEP_REQUEST_TAG RINGSTEP_TAG_REQUEST

/* Bits of a message to the loop */
#define RINGSTEP_REQUEST_SLOT 0xffffU	      /* which slot it is about */
#define RINGSTEP_REQUEST_GENERATION_SHIFT 16U /* which of its requests */
#define RINGSTEP_REQUEST_GENERATION 0x7fffU   /* bits of that number */
#define RINGSTEP_REQUEST_CANCEL (1U << 31)    /* cancel it; else: take it */

/* What a loop of requests and the application tell each other, besides messages. */
struct ringstep_requests {
	/* application -> loop */
	__u32 stay;  /* do not end when there is nothing to do: wait for more */
	__u32 batch; /* end when so many completions are there to be collected; 0: do not */
	__u32 epoch; /* tells these requests from those of any other loop that the ring has had: 16 bits */
	__u32 __reserved_application[13];

	/* loop -> application */
	__u32 waiting __attribute__((aligned(8))); /* received and not submitted */
	__u32 in_flight;			   /* submitted and not complete; written together with the field before it */
	__u32 foreign;				   /* completions of requests that were none of these */
	__u32 refused;				   /* of those received: never submitted, because they were cancelled before */
	__u32 cancels;				   /* attempts to cancel that the kernel has not answered */
	__u32 __reserved_loop[11];
};

/* The members of a state with a table of so many requests: a power of two, 65536 at most. */
#define RINGSTEP_REQUESTS(capacity)                                                                                            \
	struct ringstep_mailbox mailbox;                                                                                       \
	struct ringstep_requests requests;                                                                                     \
	__u64 inbox[4 * (capacity)]; /* a request, and what is left of attempts to cancel it */                                \
	__u32 outbox[capacity];                                                                                                \
	struct ringstep_request slots[capacity]

#endif /* RINGSTEP_BLOCKS_REQUESTS_H */
