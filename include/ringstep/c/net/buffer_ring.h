/* SPDX-License-Identifier: MIT */
/*
 * Buffers that the kernel picks for receives and reads (a provided-buffer ring), in the state of a loop. The loop looks at the
 *bytes that were received, and gives each buffer back.
 *
 *	struct my_state {
 *		struct {
 *			RINGSTEP_BUFFER_RING(256, 2048);	// 256 buffers of 2048 bytes
 *		} buffers;
 *	};
 *
 * Both numbers are powers of two. There are 32,768 buffers at most. The C++ side is BufferRing (ringstep/net/buffer_ring.hpp),
 *which registers the ring and fills it. The loop's side is ringstep/net/buffer_ring.bpf.h.
 */
#ifndef RINGSTEP_NET_BUFFER_RING_H
#define RINGSTEP_NET_BUFFER_RING_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* An entry of the ring, the kernel's struct io_uring_buf. The last field of the first entry is the ring's tail. */
struct ringstep_buffer_entry {
	__u64 address;
	__u32 length;
	__u16 id;
	__u16 tail;
} __attribute__((aligned(16)));

/* The bits of struct ringstep_buffer_ring.features: what the kernel does with the ring */
#define RINGSTEP_BUFFER_RING_INCREMENTAL 1U /* it takes a buffer bit by bit, so several completions share one (Linux 6.12) */
#define RINGSTEP_BUFFER_RING_BUNDLES 2U	    /* a receive may fill several buffers at once (Linux 6.10) */

/* What a loop keeps for a ring of buffers. The application fills it in before the loop runs. */
struct ringstep_buffer_ring {
	__u64 address;	 /* of the first buffer, in the process */
	__u32 first;	 /* where the ring begins in the array of entries, so that it lies on whole pages */
	__u32 features;	 /* RINGSTEP_BUFFER_RING_ bits */
	__u32 group;	 /* the number by which requests name the ring */
	__u32 tail;	 /* entries that were ever given to the kernel */
	__u32 available; /* buffers that the kernel has, as far as completions tell */
	__u32 foreign;	 /* completions that named a buffer which the kernel did not have */
};

/* What a loop keeps for each buffer. */
struct ringstep_buffer_use {
	__u32 place; /* which entry of the ring, counted like the tail, the buffer was last given to the kernel by */
	__u32 taken; /* bytes of it that completions have brought */
	__u32 open;  /* how many completions have brought bytes that were not given back */
	__u32 full;  /* not 0: the kernel puts no more bytes into it */
};

/* Entries that are only there so that the others lie on whole pages, of up to 64 KiB. */
#define RINGSTEP_BUFFER_RING_SPARE 4096
/* The largest number of buffers of a ring */
#define RINGSTEP_BUFFER_RING_MOST 32768

/* The members of a struct with a ring of `count` buffers of `size` bytes. */
#define RINGSTEP_BUFFER_RING(count, size)                                                                                      \
	struct ringstep_buffer_ring ring;                                                                                      \
	struct ringstep_buffer_use uses[count];                                                                                \
	struct ringstep_buffer_entry entries[(count) + RINGSTEP_BUFFER_RING_SPARE];                                            \
	__u8 bytes[count][size]

#endif /* RINGSTEP_NET_BUFFER_RING_H */
