/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_CHAIN_H
#define RINGSTEP_LOOPS_CHAIN_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/c/blocks/requests.h>

#define RINGSTEP_CHAIN_INSTANCES 512	    /* chains with the loop or not yet taken as results; a power of two */
#define RINGSTEP_CHAIN_GRAPHS 16	    /* graphs that are there at once; a power of two */
#define RINGSTEP_CHAIN_LARGE_INSTANCES 4096 /* of the loop chain_large */
#define RINGSTEP_CHAIN_LARGE_GRAPHS 64	    /* of the loop chain_large */
#define RINGSTEP_CHAIN_NODES 31		    /* nodes of a graph */
#define RINGSTEP_CHAIN_OPS 8		    /* operations of a node; a power of two */
#define RINGSTEP_CHAIN_PARAMETERS 16	    /* parameters of a graph */
#define RINGSTEP_CHAIN_REGISTERS 14	    /* registers of a chain */
#define RINGSTEP_CHAIN_SCRATCH 512	    /* bytes of a chain that its requests may write to; a power of two */
#define RINGSTEP_CHAIN_ARENAS 16	    /* memory that chains allocate from; a power of two */

/*
 * The values of a chain: what each node has come to, what the application gave it, and what it computed. All are numbers of 64 bits,
 * known by their places in one array.
 */
#define RINGSTEP_CHAIN_VALUES 64
#define RINGSTEP_CHAIN_VALUE_RESULT 0 /* + node: its result, or a negative errno */
#define RINGSTEP_CHAIN_VALUE_PARAMETER 32
#define RINGSTEP_CHAIN_VALUE_REGISTER 48
#define RINGSTEP_CHAIN_VALUE_ZERO 62	/* 0 */
#define RINGSTEP_CHAIN_VALUE_SCRATCH 63 /* address of the scratch bytes */

/* Where a chain's own timeout is kept among those of its nodes. */
#define RINGSTEP_CHAIN_WHOLE_CHAIN 31

/* How a node ended, and so which edges are followed */
enum ringstep_chain_outcome {
	RINGSTEP_CHAIN_SUCCESS = 0,
	RINGSTEP_CHAIN_SHORT = 1, /* something, and less than was asked for */
	RINGSTEP_CHAIN_END = 2,	  /* nothing, though something was asked for */
	RINGSTEP_CHAIN_FAILURE = 3,
};

enum ringstep_chain_kind {
	RINGSTEP_CHAIN_REQUEST = 0,
	RINGSTEP_CHAIN_COMPUTE = 1,  /* only the operations */
	RINGSTEP_CHAIN_BRANCH = 2,   /* success, unless the last operation came to 0; then failure */
	RINGSTEP_CHAIN_ALLOCATE = 3, /* the bytes that the last operation came to, from an arena: address, or -ENOMEM */
	RINGSTEP_CHAIN_FINISH = 4,   /* the chain is over, with the last operation as its code */
};

/* ringstep_chain_node.flags */
#define RINGSTEP_CHAIN_TRANSFER (1U << 0)	 /* result and length are compared: there is a short one and an end */
#define RINGSTEP_CHAIN_CONTINUE (1U << 1)	 /* what is short is continued until all is done or nothing more comes */
#define RINGSTEP_CHAIN_HAS_OFFSET (1U << 2)	 /* continuing moves the offset, too, unless it is -1 */
#define RINGSTEP_CHAIN_MAY_FAIL (1U << 3)	 /* a failure without edges does not end the chain */
#define RINGSTEP_CHAIN_NEEDS_ALL (1U << 4)	 /* what is short is a failure (-EIO) */
#define RINGSTEP_CHAIN_TIME_IS_SUCCESS (1U << 5) /* the request is a timeout, and -ETIME what it is for */
#define RINGSTEP_CHAIN_READY_MADE (1U << 6) /* a request without a timeout, whose length is known and not too large, or fed */
#define RINGSTEP_CHAIN_FED_LENGTH (1U << 7) /* a ready-made request whose first operation computes its length */

/* ringstep_chain_node.next: bits beside the node */
#define RINGSTEP_CHAIN_NOTHING_NEXT (1U << 5) /* there is none */
#define RINGSTEP_CHAIN_NEXT (1U << 6)
#define RINGSTEP_CHAIN_NEXT_AGAIN (1U << 7) /* it may have begun before */

/* The kernel moves no more in one request. */
#define RINGSTEP_CHAIN_LARGEST (1U << 30)

/* What an operation does with its operands x (a value) and y (a value, or the constant) */
enum ringstep_chain_operation {
	RINGSTEP_CHAIN_ADD = 0,
	RINGSTEP_CHAIN_SUB = 1,
	RINGSTEP_CHAIN_MIN = 2, /* MIN to LESS take them for signed */
	RINGSTEP_CHAIN_MAX = 3,
	RINGSTEP_CHAIN_LESS = 4, /* 1 or 0 */
	RINGSTEP_CHAIN_EQUAL = 5,
	RINGSTEP_CHAIN_MULTIPLY = 6,
	RINGSTEP_CHAIN_AND = 7,
	RINGSTEP_CHAIN_SHIFT_RIGHT = 8,
	RINGSTEP_CHAIN_LOAD =
		9, /* the scratch bytes at offset y, eight of them, AND x's number as a mask of bytes: see .bytes */
};

/* Where it goes */
enum ringstep_chain_target {
	RINGSTEP_CHAIN_TO_VALUE = 0,
	RINGSTEP_CHAIN_TO_FIELD4 = 1, /* four bytes of the SQE */
	RINGSTEP_CHAIN_TO_FIELD8 = 2, /* eight */
	RINGSTEP_CHAIN_TO_LENGTH = 3, /* the SQE's len: the number to compare the result with */

	/*
     * Four bytes of the SQE that stand for a file, and eight for an offset. A number that is out of range is replaced by one that the
     * kernel refuses: cut off to 32 bits, it could be another file's.
     */
	RINGSTEP_CHAIN_TO_FILE = 4,	 /* a descriptor or slot, not negative; otherwise -EBADF */
	RINGSTEP_CHAIN_TO_DIRECTORY = 5, /* a descriptor or AT_FDCWD, any number of 32 bits with sign; otherwise -EBADF */
	RINGSTEP_CHAIN_TO_FILE_INDEX =
		6, /* a slot, written as one more; otherwise -EINVAL, or -ENXIO if there are no slots at all */
	RINGSTEP_CHAIN_TO_NEW_FILE_INDEX = 7, /* the same, or IORING_FILE_INDEX_ALLOC, which means any free slot */
	RINGSTEP_CHAIN_TO_OFFSET =
		8, /* in a file; -1, which the kernel takes for the file's own position, becomes -2: -EINVAL */
};

/* The largest number of a slot. */
#define RINGSTEP_CHAIN_LAST_SLOT 0x7ffffffe

/* One of the operations of a node: it computes a number, and puts it somewhere. */
struct ringstep_chain_op {
	__u8 operation;	 /* enum ringstep_chain_operation */
	__u8 target;	 /* enum ringstep_chain_target */
	__u8 to;	 /* a value, or an offset in the SQE */
	__u8 x;		 /* a value */
	__u8 y;		 /* a value; not if constant_y */
	__u8 constant_y; /* y is the constant */
	__u8 bytes;	 /* of a LOAD: 1, 2, 4 or 8 */
	__u8 plain;	 /* the operation is ADD, with a constant: most are, and are then not looked at more closely */
	__u64 constant;	 /* with LOAD: where among the scratch bytes */
};

/* A struct __kernel_timespec. Zeroes: there is none. Seconds below zero: it is over already, and the kernel does not get to see it. */
struct ringstep_chain_timespec {
	__s64 seconds;	   /* from when the kernel takes it */
	__s64 nanoseconds; /* less than a second */
};

/*
 * What is done, and what then: 256 bytes
 *
 * The SQE is as for the kernel; operations fill in the rest, and user_data is the loop's. An ALLOCATE node keeps the number of its arena there,
 * and the alignment, less one.
 *
 * An entry of .next is RINGSTEP_CHAIN_NEXT with the only node that follows, if that does not join, and is ready-made or no request. It is
 * RINGSTEP_CHAIN_NOTHING_NEXT if none follows, and 0 if this takes a closer look. A branch that fails uses the second entry.
 */
struct ringstep_chain_node {
	__u64 sqe[8];	/* as for the kernel */
	__u32 edges[4]; /* by outcome: the nodes that it leads to, a bit for each */
	__u32 cleanup;	/* nodes that run when the chain ends, once this one has succeeded */
	__u8 kind;	/* enum ringstep_chain_kind */
	__u8 flags;	/* RINGSTEP_CHAIN_TRANSFER and so on */
	__u8 op_count;	/* of .ops */
	__u8 join;	/* begins when so many edges have led here; 0: 1 */
	__u16 limit;	/* times that it may begin, at least 1 */
	__u16 tries;	/* times that it is submitted again after EAGAIN or EINTR */
	__u8 next[3];	/* what follows, by outcome */
	__u8 __reserved;
	struct ringstep_chain_timespec timeout;		  /* for the request */
	struct ringstep_chain_timespec pause;		  /* what a request that is a timeout points to */
	struct ringstep_chain_op ops[RINGSTEP_CHAIN_OPS]; /* in this order, when it begins */
};

/* A graph, as the builder hands it over. The loop only reads it. */
struct ringstep_chain_graph {
	__u32 roots;	  /* the nodes that a chain begins with */
	__u32 node_count; /* of .nodes */
	__u32 first;	  /* the only root, with RINGSTEP_CHAIN_NEXT, if it is ready-made and its length known; else 0 */
	__u32 __reserved32;
	__u64 __reserved[6];
	struct ringstep_chain_node nodes[RINGSTEP_CHAIN_NODES + 1]; /* and one that makes them a power of two */
};

/* ringstep_chain_instance.phase */
enum ringstep_chain_phase {
	RINGSTEP_CHAIN_OUTSIDE = 0, /* with the application */
	RINGSTEP_CHAIN_RUNNING = 1,
	RINGSTEP_CHAIN_ENDING = 2,   /* nothing new begins; what is in flight is being cancelled */
	RINGSTEP_CHAIN_CLEANING = 3, /* the clean-up nodes run */
};

/* Which chains come first; ringstep_chain.work */
enum ringstep_chain_list {
	RINGSTEP_CHAIN_UNLISTED = 0,
	RINGSTEP_CHAIN_URGENT = 1, /* whatever the depth: cancellations, timeouts, results to be delivered */
	RINGSTEP_CHAIN_UNDER_WAY = 2,
	RINGSTEP_CHAIN_NEW = 3,
};

/* Why a chain ended */
enum ringstep_chain_reason {
	RINGSTEP_CHAIN_COMPLETED = 0, /* nothing is left to do, or a FINISH node was reached: .code */
	RINGSTEP_CHAIN_FAILED = 1,    /* at .node, with .error */
	RINGSTEP_CHAIN_CANCELLED = 2, /* by the application */
	RINGSTEP_CHAIN_TIMED_OUT = 3, /* the chain's timeout */
};

/* What a chain remembers of a node */
struct ringstep_chain_progress {
	__u64 wanted;	/* bytes: what the result is compared with */
	__u16 runs;	/* times that it has begun */
	__u16 tries;	/* submitted again for EAGAIN or EINTR */
	__u32 arrivals; /* edges that have led to it since it began last */
};

/* A graph under way, or a free slot for one. */
struct ringstep_chain_instance {
	/* application -> loop; at start() */
	__u64 identity; /* this use of the slot: ringstep_identity_of_slot() */
	__u32 graph;	/* which one */
	__u32 __reserved;
	struct ringstep_chain_timespec timeout; /* for the chain */
	__u64 user_data;			/* the application's own */

	/* loop; nodes as bits. Zeroes at start() but for data, phase and ready */
	__u64 data;	  /* user_data of its requests, without kind and part, which is the node; 0 when it is outside */
	__u16 phase;	  /* enum ringstep_chain_phase. The loop looks at these three at once */
	__u16 listed;	  /* enum ringstep_chain_list */
	__u32 running;	  /* in flight */
	__u32 ready;	  /* to be begun */
	__u32 continuing; /* of those ready: begun before, and to be submitted again */
	__u32 __reserved_loop;
	__u32 cleanup;	  /* to be run at the end */
	__u32 cancel;	  /* of those in flight: to be cancelled */
	__u32 arm;	  /* timeouts to be submitted; bit RINGSTEP_CHAIN_WHOLE_CHAIN is the chain's */
	__u32 armed;	  /* submitted */
	__u32 disarm;	  /* to be taken back */
	__u32 taken_back; /* of those being taken back: nodes whose timeout has not completed yet. Another one waits for that */
	__u32 late;	  /* nodes whose timeout has expired */
	__u32 next;	  /* of a ringstep_list */
	__u32 previous;	  /* of a ringstep_list */
	__u32 unguarded;  /* of those late: nodes whose timeout could not be set */
	__s32 guard_error; /* why, as a positive errno: the last one's */

	/* loop -> application */
	__u32 reason; /* enum ringstep_chain_reason */
	__u32 node;   /* where it failed; RINGSTEP_CHAIN_WHOLE_CHAIN: its timeout could not be set */
	__s32 error;  /* 0, or a positive errno */
	__u32 ended;  /* nodes that have a result */
	__s64 code;   /* of a FINISH node */

	__s64 values[RINGSTEP_CHAIN_VALUES];				/* RINGSTEP_CHAIN_VALUE_… says where which are */
	struct ringstep_chain_progress nodes[RINGSTEP_CHAIN_NODES + 1]; /* as the graph has them */
	__u8 scratch[RINGSTEP_CHAIN_SCRATCH + 8];			/* statx results and the like */
};

/* Memory of the application's that chains allocate from, one piece behind the other. */
struct ringstep_chain_arena {
	__u64 address; /* where it begins */
	__u64 size;    /* bytes */
	__u64 used;    /* by the loop; the application sets it back */
	__u64 __reserved;
};

/*
 * The members of the state of a loop that runs so many chains, of so many graphs, both a power of two: graphs, which say what is to be done,
 * and instances, each a graph under way. The application fills a free instance in and sends its number by the mailbox; it comes back with the
 * results in it.
 */
#define RINGSTEP_CHAIN(chains, graph_count)                                                                                    \
	/* The numbers of instances go to and fro. requests.counts counts chains with the loop as waiting. */                  \
	RINGSTEP_SERVICE(chains);                                                                                              \
	__u64 address; /* of this struct: the application fills it in */                                                       \
	__u32 depth;   /* most requests in flight */                                                                           \
	__u32 __reserved;                                                                                                      \
	struct ringstep_list work[4]; /* instances with something to be done: enum ringstep_chain_list */                      \
	__u64 wanted;		      /* of the SQE at hand */                                                                 \
	__u64 sqe[8];		      /* being filled in */                                                                    \
	struct ringstep_chain_arena arenas[RINGSTEP_CHAIN_ARENAS]; /* that ALLOCATE nodes take from */                         \
	struct ringstep_chain_graph graphs[graph_count];	   /* what instances do */                                     \
	struct ringstep_chain_instance instances[chains]	   /* the chains */

/* State of the loop chain. ringstep::chain::Chains (chains.hpp) is its C++ class. */
struct ringstep_chain {
	RINGSTEP_CHAIN(RINGSTEP_CHAIN_INSTANCES, RINGSTEP_CHAIN_GRAPHS); /* all of it */
};

/* State of the loop chain_large, which is the same for more chains. ringstep::chain::LargeChains (chains_large.hpp) is its C++ class. */
struct ringstep_chain_large {
	RINGSTEP_CHAIN(RINGSTEP_CHAIN_LARGE_INSTANCES, RINGSTEP_CHAIN_LARGE_GRAPHS); /* all of it */
};

/* State of a loop that runs one graph, which was compiled: ringstep_add_graph(). ringstep::chain::CompiledChains is its C++ class. */
struct ringstep_chain_compiled {
	RINGSTEP_CHAIN(RINGSTEP_CHAIN_INSTANCES, 1); /* all of it */
};

/* The same for more chains: ringstep_add_graph(… LARGE) */
struct ringstep_chain_compiled_large {
	RINGSTEP_CHAIN(RINGSTEP_CHAIN_LARGE_INSTANCES, 1); /* all of it */
};

#endif /* RINGSTEP_LOOPS_CHAIN_H */
