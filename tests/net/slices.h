// SPDX-License-Identifier: MIT
/* The state of a loop that takes bytes of several sockets from a ring of buffers. */
#pragma once

#include <ringstep/c/blocks/list.h>
#include <ringstep/c/net/buffer_ring.h>

#define SLICES_SOCKETS 4
#define SLICES_BYTES 65536
#define SLICES_KEPT 256

struct slices_socket {
	__u32 fd; /* set by the application */
	__u32 next;
	__u32 previous;
	__u32 armed;
	__u32 ended;
	__u32 length; /* bytes that have come */
	__u32 starved;
	__u32 error;
	__u8 bytes[SLICES_BYTES];
};

struct slices_kept {
	__u32 id;
	__u32 reserved;
};

struct slices {
	__u32 hold; /* set by the application: slices that are kept for a while */
	__u32 bundles;
	__u32 kept_first; /* counts slices that were given back */
	__u32 kept_end;	  /* counts slices that were taken */
	__u32 ended;
	__u32 most_slices; /* of one completion */
	__u32 of_one;
	__u32 shared; /* slices that did not begin at the begin of a buffer */
	__u32 i;
	__u32 reserved;
	struct ringstep_list starving;
	__u32 reserved_too;
	struct slices_kept kept[SLICES_KEPT];
	struct slices_socket sockets[SLICES_SOCKETS];
	struct {
		RINGSTEP_BUFFER_RING(16, 256);
	} buffers;
};
