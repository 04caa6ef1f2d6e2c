/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_GATE_H
#define RINGSTEP_LOOPS_GATE_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/blocks/requests.h>
#include <ringstep/c/blocks/table.h>

#define RINGSTEP_GATE_CAPACITY 2048	   /* requests pushed and not yet taken as completions */
#define RINGSTEP_GATE_LARGE_CAPACITY 16384 /* of a large gate */
#define RINGSTEP_GATE_CLASSES 8

/* ringstep_gate_request.place: where a request waits. Without any of these bits: in the queue of its class. */
enum ringstep_gate_place {
	RINGSTEP_GATE_FILED = 1 << 28,	/* its file is counted: the lower bits say which */
	RINGSTEP_GATE_LOOSE = 1 << 29,	/* was held back because of its file's limit; may go on now */
	RINGSTEP_GATE_PARKED = 1 << 30, /* is held back because of its file's limit */
};

/* What the loop keeps for each request. */
struct ringstep_gate_request {
	__u64 file;	     /* application: the requests of a file are limited together */
	__u64 sequence;	     /* loop: its number in the order of arrival */
	__u64 order;	     /* loop: its number in the order of submission */
	__u32 request_class; /* application: 0, which goes first, to RINGSTEP_GATE_CLASSES - 1 */
	__u32 place;	     /* loop: enum ringstep_gate_place */
};

/* A file with requests, while there is a limit for files. There are as many of these as requests, so they never run out. */
struct ringstep_gate_file {
	__u64 key;					    /* ringstep_gate_request.file */
	__u32 next;					    /* the table's */
	__u32 requests;					    /* waiting or in flight */
	__u32 in_flight;				    /* of these */
	__u32 parked_classes;				    /* bits: which of the queues below are not empty */
	struct ringstep_list parked[RINGSTEP_GATE_CLASSES]; /* held back, in the order in which they came */
	__u32 loose[RINGSTEP_GATE_CLASSES];		    /* requests of it in ringstep_gate.loose */
};

/* The members of a gate's state for so many requests, a power of two: any number of them waits, so many are in flight. */
#define RINGSTEP_GATE(capacity)                                                                                                   \
	/* application */                                                                                                         \
	__u32 depth;	  /* requests in flight at most; live; 0: none begins */                                                  \
	__u32 file_limit; /* requests in flight at most for each file; 0: no limit. Not to be changed while there are requests */ \
	__u32 patience; /* live; 0: strict order of classes. Otherwise a class that was passed over so often is next */           \
	__u32 __reserved_application[13];                                                                                         \
	/* loop */                                                                                                                \
	__u64 sequence;				  /* requests received */                                                         \
	__u64 order;				  /* requests submitted */                                                        \
	__u32 classes;				  /* bits: which have a request that is not held back by its file */              \
	__u32 impatient;			  /* bits: which have been passed over often enough while they had requests */    \
	struct ringstep_table table;		  /* of files */                                                                  \
	__u32 waiting[RINGSTEP_GATE_CLASSES];	  /* received and not submitted, those held back by files included */             \
	__u32 passed_over[RINGSTEP_GATE_CLASSES]; /* how often a higher class went while there were any of these */               \
	struct ringstep_list ready[RINGSTEP_GATE_CLASSES];	   /* as they came */                                             \
	struct ringstep_list loose[RINGSTEP_GATE_CLASSES];	   /* all of them came before those in ready */                   \
	RINGSTEP_REQUESTS(capacity, struct ringstep_gate_request); /* all that were pushed and not yet taken as completions */    \
	__u32 buckets[capacity];				   /* of the table */                                             \
	struct ringstep_gate_file files[capacity]		   /* those with requests, and places for others */

/* State of the loop gate. ringstep::Gate (gate.hpp) is its C++ class. */
struct ringstep_gate {
	RINGSTEP_GATE(RINGSTEP_GATE_CAPACITY); /* all of it */
};

/* State of the loop gate_large, which is the same for more requests. ringstep::LargeGate (gate_large.hpp) is its C++ class. */
struct ringstep_gate_large {
	RINGSTEP_GATE(RINGSTEP_GATE_LARGE_CAPACITY); /* all of it */
};

#endif /* RINGSTEP_LOOPS_GATE_H */
