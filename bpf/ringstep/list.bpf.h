/* SPDX-License-Identifier: MIT */
/*
 * Queues of slots (ringstep/blocks/list.h). The slots are elements of an array in the state, named whole, whose size is a power of
 * two, and have the members `__u32 next` and `__u32 previous`. A slot is in one list at a time. Pushing, popping and removing
 * cost the same whatever the length.
 *
 * Example:
 *	ringstep_list_push_back(&state->waiting, state->slots, slot);
 *	…
 *	ringstep_while (state->waiting.count && state->in_flight < state->depth)
 *		start(turn, state, ringstep_list_pop_front(&state->waiting, state->slots));
 */
#ifndef RINGSTEP_LIST_BPF_H
#define RINGSTEP_LIST_BPF_H

#include <ringstep/blocks/list.h>
#include <ringstep/mailbox.bpf.h>

/* The number of the first slot, if there is one (list->count). */
#define ringstep_list_first(list, slots) (((list)->first - 1) & ringstep_mask(slots))

/* Behind the last one. */
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

/* In front of the first one. */
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

/* In front of the slot `where`, which is one more than the number of a slot in the list; 0: behind the last one. */
#define ringstep_list_insert(list, slots, where, slot)                                                                         \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
		const __u32 ringstep__where = (where);                                                                         \
		const __u32 ringstep__previous =                                                                               \
			ringstep__where ? (slots)[(ringstep__where - 1) & ringstep_mask(slots)].previous                       \
					: ringstep__list->last;                                                                \
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

/* Takes a slot out, wherever in the list it is. */
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

/* Takes the first slot out; its number. Only of a list that is not empty. */
#define ringstep_list_pop_front(list, slots)                                                                                   \
	({                                                                                                                     \
		const __u32 ringstep__popped = ringstep_list_first(list, slots);                                               \
                                                                                                                               \
		ringstep_list_remove(list, slots, ringstep__popped);                                                           \
		ringstep__popped;                                                                                              \
	})

#endif /* RINGSTEP_LIST_BPF_H */
