/* SPDX-License-Identifier: MIT */
/*
 * The loop's side of a mailbox (ringstep/blocks/mailbox.h).
 *
 * A step that uses one: ringstep_mailbox_wake() at its beginning, then ringstep_mailbox_receive() until there is nothing more,
 * ringstep_mailbox_deliver() for each slot that is done with, and at its end
 *
 *	return ringstep_submit_and_wait(turn, ringstep_mailbox_sleep(&state->mailbox, state->inbox) ? 1 : 0);
 *
 * The arrays are named whole, not as pointers: their sizes, powers of two, are what bounds the indices.
 */
#ifndef RINGSTEP_MAILBOX_BPF_H
#define RINGSTEP_MAILBOX_BPF_H

#include <ringstep/blocks/mailbox.h>
#include <ringstep/turn.bpf.h>

/* The number that an index into an array is cut down with. The array's size has to be a power of two, or this does not compile. */
#define ringstep_mask(array)                                                                                                   \
	((__u32)(sizeof(array) / sizeof((array)[0]) - 1) +                                                                     \
	 0 * sizeof(char[(sizeof(array) / sizeof((array)[0]) & (sizeof(array) / sizeof((array)[0]) - 1)) ? -1 : 1]))

/* The loop looks at its mail: nobody has to wake it up. */
static __always_inline void ringstep_mailbox_wake(struct ringstep_mailbox *mailbox)
{
	if (ringstep_load(&mailbox->asleep))
		ringstep_store(&mailbox->asleep, 0);
}

static __always_inline bool ringstep__mailbox_receive(struct ringstep_mailbox *mailbox, const __u64 *inbox, __u32 mask, __u32 *message)
{
	const __u64 entry = ringstep_load(&inbox[mailbox->received & mask]);

	if ((__u32)entry != mailbox->received + 1)
		return false; /* of an earlier round, or not written to the end */
	mailbox->received++;
	*message = (__u32)(entry >> 32);
	return true;
}

/*
 * Takes the next message, as Mailbox::send() was given it; false if there is none. The verifier knows nothing of what it is: use
 * it with a mask.
 *
 * Example: while (budget-- && ringstep_mailbox_receive(&state->mailbox, state->inbox, &slot)) { … slots[slot & ringstep_mask(slots)] … }
 */
#define ringstep_mailbox_receive(mailbox, inbox, message)                                                                      \
	ringstep__mailbox_receive(mailbox, inbox, ringstep_mask(inbox), message)

/* Whether there is a message. */
#define ringstep_mailbox_has_mail(mailbox, inbox)                                                                              \
	((__u32)ringstep_load(&(inbox)[(mailbox)->received & ringstep_mask(inbox)]) == (mailbox)->received + 1)

/* Hands a slot to the application; what the step has written into it before is there when its number is. */
#define ringstep_mailbox_deliver(mailbox, outbox, slot)                                                                        \
	do {                                                                                                                   \
		const __u32 ringstep__delivered = (mailbox)->delivered;                                                        \
                                                                                                                               \
		(outbox)[ringstep__delivered & ringstep_mask(outbox)] = (slot);                                                \
		ringstep_store(&(mailbox)->delivered, ringstep__delivered + 1);                                                \
	} while (0)

/* Delivered, and not yet collected. */
static __always_inline __u32 ringstep_mailbox_uncollected(const struct ringstep_mailbox *mailbox)
{
	return mailbox->delivered - ringstep_load(&mailbox->collected);
}

/*
 * Whether the loop may wait: from now on, whoever sends wakes it up. False if there is mail already.
 *
 * Either we see what was sent, or whoever sent it sees that we are asleep: both sides write first and look then, with a full
 * barrier in between.
 */
#define ringstep_mailbox_sleep(mailbox, inbox)                                                                                 \
	({                                                                                                                     \
		(void)__sync_lock_test_and_set(&(mailbox)->asleep, 1);                                                         \
		!ringstep_mailbox_has_mail(mailbox, inbox);                                                                    \
	})

#endif /* RINGSTEP_MAILBOX_BPF_H */
