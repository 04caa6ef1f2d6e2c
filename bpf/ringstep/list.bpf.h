/* SPDX-License-Identifier: MIT */
/*
 * Queues of slots (ringstep/c/blocks/list.h). The slots are the elements of an array in the state. Pass the array itself, not a pointer; its
 * size must be a power of two. Its elements must have the members `__u32 next` and `__u32 previous`. A slot may be in one list at a time.
 * The cost of pushing, popping and removing does not depend on the length of the list.
 *
 * Example:
 *	ringstep_list_push_back(&state->waiting, state->slots, slot);
 *	…
 *	ringstep_while (state->waiting.count && state->in_flight < state->depth)
 *		start(turn, state, ringstep_list_pop_front(&state->waiting, state->slots));
 */
#ifndef RINGSTEP_LIST_BPF_H
#define RINGSTEP_LIST_BPF_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/mailbox.bpf.h>

/* Returns the number of the first slot. The list must not be empty (list->count). */
#define ringstep_list_first(list, slots) (((list)->first - 1) & ringstep_mask(slots))

/* Appends a slot to the list. */
#define ringstep_list_push_back(list, slots, slot)                                                                             \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
                                                                                                                               \
		(slots)[ringstep__slot].next = 0;                                                                              \
		(slots)[ringstep__slot].previous = ringstep__list->last;                                                       \
		if (ringstep__list->last)                                                                                      \
			(slots)[(ringstep__list->last - 1) & ringstep_mask(slots)].next = ringstep__slot + 1;                  \
		else                                                                                                           \
			ringstep__list->first = ringstep__slot + 1;                                                            \
		ringstep__list->last = ringstep__slot + 1;                                                                     \
		ringstep__list->count++;                                                                                       \
	} while (0)

/* Inserts a slot at the front of the list. */
#define ringstep_list_push_front(list, slots, slot)                                                                            \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
                                                                                                                               \
		(slots)[ringstep__slot].previous = 0;                                                                          \
		(slots)[ringstep__slot].next = ringstep__list->first;                                                          \
		if (ringstep__list->first)                                                                                     \
			(slots)[(ringstep__list->first - 1) & ringstep_mask(slots)].previous = ringstep__slot + 1;             \
		else                                                                                                           \
			ringstep__list->last = ringstep__slot + 1;                                                             \
		ringstep__list->first = ringstep__slot + 1;                                                                    \
		ringstep__list->count++;                                                                                       \
	} while (0)

/* Inserts a slot before the one numbered `where` - 1, which must be in the list. If `where` is 0, appends the slot. */
#define ringstep_list_insert(list, slots, where, slot)                                                                         \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
		const __u32 ringstep__where = (where);                                                                         \
		const __u32 ringstep__previous = ringstep__where                                                               \
							 ? (slots)[(ringstep__where - 1) & ringstep_mask(slots)].previous      \
							 : ringstep__list->last;                                               \
                                                                                                                               \
		(slots)[ringstep__slot].next = ringstep__where;                                                                \
		(slots)[ringstep__slot].previous = ringstep__previous;                                                         \
		if (ringstep__previous)                                                                                        \
			(slots)[(ringstep__previous - 1) & ringstep_mask(slots)].next = ringstep__slot + 1;                    \
		else                                                                                                           \
			ringstep__list->first = ringstep__slot + 1;                                                            \
		if (ringstep__where)                                                                                           \
			(slots)[(ringstep__where - 1) & ringstep_mask(slots)].previous = ringstep__slot + 1;                   \
		else                                                                                                           \
			ringstep__list->last = ringstep__slot + 1;                                                             \
		ringstep__list->count++;                                                                                       \
	} while (0)

/* Removes a slot from any place in the list. */
#define ringstep_list_remove(list, slots, slot)                                                                                \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
		const __u32 ringstep__next = (slots)[ringstep__slot].next;                                                     \
		const __u32 ringstep__previous = (slots)[ringstep__slot].previous;                                             \
                                                                                                                               \
		if (ringstep__next)                                                                                            \
			(slots)[(ringstep__next - 1) & ringstep_mask(slots)].previous = ringstep__previous;                    \
		else                                                                                                           \
			ringstep__list->last = ringstep__previous;                                                             \
		if (ringstep__previous)                                                                                        \
			(slots)[(ringstep__previous - 1) & ringstep_mask(slots)].next = ringstep__next;                        \
		else                                                                                                           \
			ringstep__list->first = ringstep__next;                                                                \
		ringstep__list->count--;                                                                                       \
	} while (0)

/* Removes the first slot and returns its number. The list must not be empty. */
#define ringstep_list_pop_front(list, slots)                                                                                   \
	({                                                                                                                     \
		const __u32 ringstep__popped = ringstep_list_first(list, slots);                                               \
                                                                                                                               \
		ringstep_list_remove(list, slots, ringstep__popped);                                                           \
		ringstep__popped;                                                                                              \
	})

#endif /* RINGSTEP_LIST_BPF_H */
