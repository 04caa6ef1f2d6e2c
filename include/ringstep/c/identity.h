/* SPDX-License-Identifier: MIT */
/*
 * The identity of requests: how a loop finds out whether a completion belongs to it, and to which of its requests. Every loop of the library
 * uses this layout of user_data, and no part of the library uses another one.
 *
 *	bits 56 to 63	0xc4, the mark of all of these
 *	bits 40 to 55	epoch: the number of the loop among all those that the ring has had
 *	bits 24 to 39	generation: how often the slot has been used
 *	bits 22 to 23	kind: enum ringstep_identity_kind
 *	bits 16 to 21	part: which request of several that one slot stands for; 0 if there is only one
 *	bits  0 to 15	slot
 *
 * A completion is the loop's own only if its mark and its epoch are right, and it ends a request only if all of its bits are right. Every other
 * completion is stale: it belongs to a request that another loop has left in flight. Loops take stale completions out of the CQ, count them
 * as foreign, and do nothing else about them.
 *
 * Wrap-around: RingCore gives an epoch to a second loop only after all requests of the first one have completed. So epochs may wrap around as
 * often as they like; a ring with 65,536 loops that have left requests in flight refuses the next one. A slot is used again only after its
 * request has completed, so at any time at most one request with a given epoch, slot, kind and part is in flight, whatever its generation.
 *
 * The kit's own requests, such as the ring's timer, carry addresses, which are smaller than all of these. So do the wake-ups of the user
 * engine. An application that submits requests of its own beside a loop must not use user_data whose upper eight bits are the mark.
 */
#ifndef RINGSTEP_IDENTITY_H
#define RINGSTEP_IDENTITY_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define RINGSTEP_IDENTITY_MARK 0xc4	      /* the mark */
#define RINGSTEP_IDENTITY_MARK_SHIFT 56	      /* where the mark begins */
#define RINGSTEP_IDENTITY_EPOCH_SHIFT 40      /* where the epoch begins */
#define RINGSTEP_IDENTITY_GENERATION_SHIFT 24 /* where the generation begins */
#define RINGSTEP_IDENTITY_KIND_SHIFT 22	      /* where the kind begins */
#define RINGSTEP_IDENTITY_PART_SHIFT 16	      /* where the part begins */

#define RINGSTEP_IDENTITY_EPOCHS 0x10000     /* as many loops of a ring may have requests in flight */
#define RINGSTEP_IDENTITY_GENERATION 0xffffU /* bits of a generation */
#define RINGSTEP_IDENTITY_PART 0x3fU	     /* bits of a part */
#define RINGSTEP_IDENTITY_SLOT 0xffffU	     /* bits of a slot */

/* What a request is for */
enum ringstep_identity_kind {
	RINGSTEP_IDENTITY_REQUEST = 0, /* a request of the application's */
	RINGSTEP_IDENTITY_TIMEOUT = 1, /* a timeout for one, or for all that the slot stands for */
	RINGSTEP_IDENTITY_HELPER = 2,  /* a request about one of these: it cancels it, or takes it back */
};

/* Returns the bits that all user_data of a loop begins with. */
static inline __u64 ringstep_identity_of_loop(__u32 epoch)
{
	const __u64 mark = RINGSTEP_IDENTITY_MARK, number = epoch & 0xffff;

	return mark << RINGSTEP_IDENTITY_MARK_SHIFT | number << RINGSTEP_IDENTITY_EPOCH_SHIFT;
}

/* Returns the bits that all user_data of one use of a slot ends with, without kind and part. */
static inline __u64 ringstep_identity_of_slot(__u32 slot, __u32 generation)
{
	const __u64 use = generation & RINGSTEP_IDENTITY_GENERATION;

	return use << RINGSTEP_IDENTITY_GENERATION_SHIFT | (slot & RINGSTEP_IDENTITY_SLOT);
}

/* Returns the bits of a kind (enum ringstep_identity_kind) and a part. */
static inline __u64 ringstep_identity_of_part(__u32 kind, __u32 part)
{
	return kind << RINGSTEP_IDENTITY_KIND_SHIFT | (part & RINGSTEP_IDENTITY_PART) << RINGSTEP_IDENTITY_PART_SHIFT;
}

/* Returns the kind (enum ringstep_identity_kind) that user_data has, if it is a loop's. */
static inline __u32 ringstep_identity_kind_of(__u64 user_data)
{
	return user_data >> RINGSTEP_IDENTITY_KIND_SHIFT & 3;
}

/* Returns not 0 if user_data has the mark: a loop of the library submitted the request. */
static inline int ringstep_identity_is_marked(__u64 user_data)
{
	return user_data >> RINGSTEP_IDENTITY_MARK_SHIFT == RINGSTEP_IDENTITY_MARK;
}

/* Returns not 0 if user_data belongs to the loop with this identity (ringstep_identity_of_loop()). */
static inline int ringstep_identity_is_of(__u64 user_data, __u64 identity)
{
	return user_data >> RINGSTEP_IDENTITY_EPOCH_SHIFT == identity >> RINGSTEP_IDENTITY_EPOCH_SHIFT;
}

#endif /* RINGSTEP_IDENTITY_H */
