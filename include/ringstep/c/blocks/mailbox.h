/* SPDX-License-Identifier: MIT */
/*
 * A mailbox in a loop's state. Any thread sends the numbers of slots to the loop, and the loop sends them back, without locks
 * and while the loop runs.
 *
 * Application and loop share a table of slots. The application fills in a free slot and sends its number. From then on, only
 * the loop may access the slot, until it delivers the number. A number is in one place at a time, so neither queue can be full.
 *
 *	struct my_state {
 *		struct ringstep_mailbox mailbox;
 *		__u64 inbox[2 * MY_SLOTS];	// room for one message more about each slot, a power of two
 *		__u32 outbox[MY_SLOTS];
 *		struct my_slot slots[MY_SLOTS];
 *	};
 */
#ifndef RINGSTEP_BLOCKS_MAILBOX_H
#define RINGSTEP_BLOCKS_MAILBOX_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Each group of fields has one writer, and a cache line of its own. */
struct ringstep_mailbox {
	/* application, any thread */
	__u32 sent; /* messages to the loop, those included that are being written */
	__u32 __reserved_sender[15];

	/* application, the one thread that collects */
	__u32 collected; /* of those delivered */
	__u32 __reserved_collector[15];

	/* loop; asleep is cleared by senders, too */
	__u32 received;	 /* of those sent */
	__u32 delivered; /* to the application */
	__u32 asleep;	 /* not zero: whoever sends has to wake the loop up */
	__u32 __reserved_loop[13];
};

#endif /* RINGSTEP_BLOCKS_MAILBOX_H */
