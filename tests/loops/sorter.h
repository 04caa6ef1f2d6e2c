/* SPDX-License-Identifier: MIT */
/*
 * State of the loop "sorter": records come in from one socket, into a registered buffer. By its header the loop decides whether a
 * record goes on to the other socket, with a stamp on it, or is dropped.
 */
#ifndef SORTER_H
#define SORTER_H

#include <ringstep/c/blocks/buffers.h>

enum sorter_kind {
	SORTER_KEEP = 1,
	SORTER_DROP = 2,
	SORTER_END = 3, /* the loop stops with code 0 */
};

/* How it stops otherwise. */
enum sorter_code {
	SORTER_IDLE = 1,  /* nothing came in for that long */
	SORTER_ERROR = 2, /* state.error */
};

struct sorter_header {
	__u32 kind;
	__u32 length; /* of the record, this included */
	__u64 number;
	__u64 stamp; /* written by the loop: kept records counted */
};

struct sorter {
	/* set by the test */
	struct ringstep_buffers buffers;
	__u64 address; /* of the buffer, for requests */
	__u64 offset;  /* of records in it */
	__u64 idle;    /* nanoseconds */
	__s32 input, output;
	__u32 size; /* most of a record */
	__u32 slot;
	__u32 poll_ns; /* for which to poll devices before each wait */

	/* by the loop */
	__s32 error;
	__u32 started;
	__u64 deadline;
	__u64 kept, dropped;
	struct sorter_header last;
};

#endif
