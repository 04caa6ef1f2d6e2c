/* SPDX-License-Identifier: MIT */
/* State of the loop "letters", which sends back every message that it gets. */
#ifndef LETTERS_H
#define LETTERS_H

#include <ringstep/c/blocks/mailbox.h>

#define LETTERS_SLOTS 64
#define LETTERS_BATCH 16 /* messages in one turn */
#define LETTERS_GUARDS 16
#define LETTERS_STOP 0xffffffffU /* a message: the loop stops */

struct letters {
	__u32 most_turns; /* stops after so many turns; 0: no limit */
	__u32 turns;
	__u32 budget;
	__u32 stopped;
	__u32 uncollected; /* when it stopped */
	__u32 __reserved;
	__u64 before[LETTERS_GUARDS]; /* nothing writes here, nor to .after */
	struct ringstep_mailbox mailbox;
	__u64 inbox[2 * LETTERS_SLOTS];
	__u32 outbox[LETTERS_SLOTS];
	__u64 after[LETTERS_GUARDS];
};

#endif
