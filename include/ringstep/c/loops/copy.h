/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_COPY_H
#define RINGSTEP_LOOPS_COPY_H

#include <ringstep/c/identity.h>

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define RINGSTEP_COPY_SLOTS 256			    /* most blocks under way at once; a power of two */
#define RINGSTEP_COPY_EXTENTS 128		    /* extents that fit into the window at once; a power of two */
#define RINGSTEP_COPY_ENDLESS 0x7fffffffffffffffULL /* length of an extent: up to the end of the source, wherever that is */

/* What the loop says to ringstep_stop(). In every case, nothing is in flight any more. */
enum ringstep_copy_code {
	RINGSTEP_COPY_DONE = 0,		/* the end of the source was reached, all before it is written; see .end */
	RINGSTEP_COPY_EXTENTS_USED = 1, /* all extents of the window are written; fill in more and run again, or be content */
	RINGSTEP_COPY_FAILED = 2,	/* see .error */
	RINGSTEP_COPY_INVALID = 3,	/* .depth or .block_size is 0 */
};

enum ringstep_copy_operation {
	RINGSTEP_COPY_READ = 1,
	RINGSTEP_COPY_WRITE = 2,
};

/* .flags */
#define RINGSTEP_COPY_FIXED_FILES (1U << 0)   /* the descriptors are slots of the ring's registered files */
#define RINGSTEP_COPY_FIXED_BUFFERS (1U << 1) /* .buffers lies in the registered buffer number .buffer_index */
#define RINGSTEP_COPY_AT_ONCE (1U << 2)	      /* with a .depth of 1: writes what a read has brought before it reads on */
#define RINGSTEP_COPY_READ_NEXT (1U << 3)     /* with a .depth of 1: the input has no offsets, and is read at its position */
#define RINGSTEP_COPY_WRITE_NEXT (1U << 4)    /* the same of the output */

/* .over */
#define RINGSTEP_COPY_ENDED (1U << 0)	/* a read found the end of the source: .end is good */
#define RINGSTEP_COPY_ERRORED (1U << 1) /* a request failed: .error is good, and nothing new is begun */

/* The parts of the identity of a slot's requests (ringstep/c/identity.h). There is no part 0, so no request has the identity 0.
 */
#define RINGSTEP_COPY_READ_PART 1
#define RINGSTEP_COPY_WRITE_PART 2

/* A part of the source that is to be copied. */
struct ringstep_copy_extent {
	__u64 offset; /* in both files */
	__u64 length; /* bytes */
};

/* A block under way: read in full first, then written. */
struct ringstep_copy_slot {
	__u64 offset;	/* in both files */
	__u64 identity; /* user_data of its request in flight, or 0 if the slot is free */
	__u32 filled;	/* bytes that are in the buffer */
	__u32 written;	/* of those, the ones that are in the destination */
	__u32 size;	/* bytes to read, unless the source ends before */
	__u32 uses;	/* how often the slot has been used: the generation of its requests */
};

/*
 * State of the loop copy. Zeroed, then filled in by the application down to the line; below it, the window of extents belongs
 * to both in turn, and the rest to the loop. For another copy, it may be zeroed again if nothing is in flight, or else get
 * another identity.
 */
struct ringstep_copy {
	__s32 input_fd;		/* a descriptor, or with RINGSTEP_COPY_FIXED_FILES a slot */
	__s32 output_fd;	/* a descriptor, or with RINGSTEP_COPY_FIXED_FILES a slot */
	__u32 flags;		/* RINGSTEP_COPY_FIXED_FILES and so on */
	__u32 depth;		/* blocks under way at once, 1 to RINGSTEP_COPY_SLOTS */
	__u32 block_size;	/* bytes */
	__u32 read_align_mask;	/* with O_DIRECT on the input: the alignment of offsets and lengths, minus 1; otherwise 0 */
	__u64 buffers;		/* user address of depth * block_size bytes */
	__u64 size_hint;	/* beyond it, the end is suspected: one read at a time, until one finds something */
	__u64 identity;		/* ringstep_identity_of_loop(); 0 if nothing but this loop has requests in flight on the ring */
	__u32 buffer_index;	/* with RINGSTEP_COPY_FIXED_BUFFERS */
	__u32 write_align_mask; /* with O_DIRECT on the output, like .read_align_mask. Then see .tail_size, too */
	/* ------------------------------------------------------------------------------------------------------------ */

	/* The window: extents[head] to extents[tail - 1], indices modulo its size. The loop uses them up as it begins blocks. */
	__u32 extent_head; /* by the loop */
	__u32 extent_tail; /* raised by the application while the loop does not run */

	__u32 over;	       /* RINGSTEP_COPY_ENDED, RINGSTEP_COPY_ERRORED */
	__u32 tail_size;       /* the bytes before .end that O_DIRECT cannot write: the application writes them, see .tail */
	__u64 end;	       /* the lowest offset at which a read found the end of the source */
	__u64 bytes_read;      /* live */
	__u64 bytes_written;   /* live; without those of .tail_size */
	__u64 error_offset;    /* the lowest at which a request failed */
	__u32 error;	       /* errno of that request */
	__u32 error_operation; /* enum ringstep_copy_operation */
	__u64 tail;	       /* user address of .tail_size bytes in one of the buffers, until the state is filled in anew */

	__u32 opened;  /* slots used by this copy: 0 to opened - 1 */
	__u32 idle;    /* of them, those that are free: the first entries of idle_slots. The others are under way */
	__u32 reading; /* of those under way, the ones that are being read */
	__u32 foreign; /* stale completions: see ringstep/c/identity.h */
	__u16 idle_slots[RINGSTEP_COPY_SLOTS];			    /* numbers of slots */
	struct ringstep_copy_slot slots[RINGSTEP_COPY_SLOTS];	    /* the blocks */
	struct ringstep_copy_extent extents[RINGSTEP_COPY_EXTENTS]; /* the window */
};

#endif /* RINGSTEP_LOOPS_COPY_H */
