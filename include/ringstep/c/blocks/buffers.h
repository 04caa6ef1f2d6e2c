/* SPDX-License-Identifier: MIT */
/*
 * Registered buffers that a loop accesses: a table of them in its state, for kernels that do not show them to loops.
 *
 *	struct my_state {
 *		struct ringstep_buffers buffers;	// filled in by register_buffers() of blocks/buffers.hpp
 *		...
 *	};
 */
#ifndef RINGSTEP_BLOCKS_BUFFERS_H
#define RINGSTEP_BLOCKS_BUFFERS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* As many as the table has. A power of two. */
#define RINGSTEP_BUFFERS 16

/* Where a registered buffer lies. */
struct ringstep_buffer {
	__u64 address; /* in the process */
	__u64 length;  /* 0: there is none */
};

/* What a loop keeps in its state to look into registered buffers. */
struct ringstep_buffers {
	struct ringstep_buffer at[RINGSTEP_BUFFERS]; /* by the index that they are registered with */
};

#endif /* RINGSTEP_BLOCKS_BUFFERS_H */
