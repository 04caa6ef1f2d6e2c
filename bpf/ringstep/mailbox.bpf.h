/* SPDX-License-Identifier: MIT */
/*
 * The loop's side of a mailbox (ringstep/c/blocks/mailbox.h).
 *
 * A step that uses a mailbox begins with ringstep_mailbox_wake(). It then calls ringstep_mailbox_receive() until there is no message left,
 * and ringstep_mailbox_deliver() for each slot that has completed. It ends with
 *
 *	return ringstep_submit_and_wait(turn, ringstep_mailbox_sleep(&state->mailbox, state->inbox) ? 1 : 0);
 *
 * Pass the arrays themselves, not pointers: the sizes of the arrays, which must be powers of two, bound the indices.
 */
#ifndef RINGSTEP_MAILBOX_BPF_H
#define RINGSTEP_MAILBOX_BPF_H

#include <ringstep/c/blocks/mailbox.h>
#include <ringstep/turn.bpf.h>

/* Returns the mask for indices into an array. The array's size must be a power of two; otherwise this does not compile. */
#define ringstep_mask(array)                                                                                                   \
	((__u32)(sizeof(array) / sizeof((array)[0]) - 1) +                                                                     \
	 0 * sizeof(char[(sizeof(array) / sizeof((array)[0]) & (sizeof(array) / sizeof((array)[0]) - 1)) ? -1 : 1]))

/* Marks the loop as awake, so that senders do not wake it. */
static __always_inline void ringstep_mailbox_wake(struct ringstep_mailbox *mailbox)
{
	if (ringstep_load(&mailbox->asleep))
		ringstep_store(&mailbox->asleep, 0);
}

static __always_inline bool ringstep__mailbox_receive(struct ringstep_mailbox *mailbox, const __u64 *inbox, __u32 mask,
						      __u32 *message)
{
	const __u64 entry = ringstep_load(&inbox[mailbox->received & mask]);

	if ((__u32)entry != mailbox->received + 1)
		return false; /* the entry is of an earlier round, or not completely written */
	mailbox->received++;
	*message = (__u32)(entry >> 32);
	return true;
}

/*
 * Takes the next message and stores it in `message`, as it was passed to Mailbox::send(). Returns false if there is none. The verifier
 * does not know the message's value, so use it with a mask.
 *
 * Example: ringstep_while_at_most (limit, ringstep_mailbox_receive(&state->mailbox, state->inbox, &slot)) { … slots[slot & ringstep_mask(slots)] … }
 */
#define ringstep_mailbox_receive(mailbox, inbox, message)                                                                      \
	ringstep__mailbox_receive(mailbox, inbox, ringstep_mask(inbox), message)

/* Returns true if there is a message. */
#define ringstep_mailbox_has_mail(mailbox, inbox)                                                                              \
	((__u32)ringstep_load(&(inbox)[(mailbox)->received & ringstep_mask(inbox)]) == (mailbox)->received + 1)

/* Delivers a slot to the application, which then also sees everything that the step has written into the slot before. */
#define ringstep_mailbox_deliver(mailbox, outbox, slot)                                                                        \
	do {                                                                                                                   \
		const __u32 ringstep__delivered = (mailbox)->delivered;                                                        \
                                                                                                                               \
		(outbox)[ringstep__delivered & ringstep_mask(outbox)] = (slot);                                                \
		ringstep_store(&(mailbox)->delivered, ringstep__delivered + 1);                                                \
	} while (0)

/* Returns the number of slots that were delivered and that the application has not taken yet. */
static __always_inline __u32 ringstep_mailbox_uncollected(const struct ringstep_mailbox *mailbox)
{
	return mailbox->delivered - ringstep_load(&mailbox->collected);
}

/*
 * Marks the loop as asleep, so that the next sender wakes it. Returns true if the loop may wait, false if a message is already there.
 *
 * Either the loop sees the message, or its sender sees that the loop is asleep: both sides write first and then read, with a full
 * barrier in between.
 */
#define ringstep_mailbox_sleep(mailbox, inbox)                                                                                 \
	({                                                                                                                     \
		ringstep__store_fully(&(mailbox)->asleep, 1);                                                                  \
		!ringstep_mailbox_has_mail(mailbox, inbox);                                                                    \
	})

#endif /* RINGSTEP_MAILBOX_BPF_H */
