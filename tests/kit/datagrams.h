/* SPDX-License-Identifier: MIT */
/* State of the loop "datagrams": answers each datagram with its own bytes. */
#ifndef DATAGRAMS_H
#define DATAGRAMS_H

#include <ringstep/c/sockets.h>

#define DATAGRAMS_BUFFERS 8
#define DATAGRAMS_SIZE 512

struct datagrams {
	__s32 socket; /* set by the application */
	__u32 left;   /* set by the application: stop after so many answers */
	__u32 begun;
	__u32 receiving;
	__u32 starved; /* how often the receive ended because no buffer was left */
	__u32 taken;   /* answers submitted and not complete */
	__s32 error;
	__u32 __reserved;
	struct ringstep_message receive;
	struct ringstep_message answers[DATAGRAMS_BUFFERS];
	struct ringstep_iovec parts[DATAGRAMS_BUFFERS];
	__u64 buffers[DATAGRAMS_BUFFERS][DATAGRAMS_SIZE / 8];
};

#endif
