/* SPDX-License-Identifier: MIT */
/*
 * Queues of slots (ringstep/c/blocks/list.h). The slots are the elements of an array in the state. Pass the array itself, not a pointer; its
 * size must be a power of two. The cost of pushing, popping and removing does not depend on the length of the list.
 *
 * A slot is in one list at a time by its members `__u32 next` and `__u32 previous`:
 *	ringstep_list_push_back(&state->waiting, state->slots, slot);
 *	…
 *	ringstep_while (state->waiting.count && state->in_flight < state->depth)
 *		start(turn, state, ringstep_list_pop_front(&state->waiting, state->slots));
 *
 * To be in several lists at once, a slot has a member of the type struct ringstep_list_link for each, of any name. The functions that end
 * in _by take that name as their last argument. Use one name for all operations on a list:
 *	struct connection {
 *		struct ringstep_list_link readable; // of state->readable
 *		struct ringstep_list_link oldest;   // of state->oldest
 *	};
 *
 *	ringstep_list_push_back_by(&state->readable, state->connections, number, readable);
 *	ringstep_list_remove_by(&state->oldest, state->connections, number, oldest);
 */
#ifndef RINGSTEP_LIST_BPF_H
#define RINGSTEP_LIST_BPF_H

#include <ringstep/c/blocks/list.h>
#include <ringstep/mailbox.bpf.h>

#define ringstep__list_push_back(list, slots, slot, next_link, previous_link)                                                  \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
                                                                                                                               \
		(slots)[ringstep__slot].next_link = 0;                                                                         \
		(slots)[ringstep__slot].previous_link = ringstep__list->last;                                                  \
		if (ringstep__list->last)                                                                                      \
			(slots)[(ringstep__list->last - 1) & ringstep_mask(slots)].next_link = ringstep__slot + 1;             \
		else                                                                                                           \
			ringstep__list->first = ringstep__slot + 1;                                                            \
		ringstep__list->last = ringstep__slot + 1;                                                                     \
		ringstep__list->count++;                                                                                       \
	} while (0)

#define ringstep__list_push_front(list, slots, slot, next_link, previous_link)                                                 \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
                                                                                                                               \
		(slots)[ringstep__slot].previous_link = 0;                                                                     \
		(slots)[ringstep__slot].next_link = ringstep__list->first;                                                     \
		if (ringstep__list->first)                                                                                     \
			(slots)[(ringstep__list->first - 1) & ringstep_mask(slots)].previous_link = ringstep__slot + 1;        \
		else                                                                                                           \
			ringstep__list->last = ringstep__slot + 1;                                                             \
		ringstep__list->first = ringstep__slot + 1;                                                                    \
		ringstep__list->count++;                                                                                       \
	} while (0)

#define ringstep__list_insert(list, slots, where, slot, next_link, previous_link)                                              \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
		const __u32 ringstep__where = (where);                                                                         \
		const __u32 ringstep__previous = ringstep__where                                                               \
							 ? (slots)[(ringstep__where - 1) & ringstep_mask(slots)].previous_link \
							 : ringstep__list->last;                                               \
                                                                                                                               \
		(slots)[ringstep__slot].next_link = ringstep__where;                                                           \
		(slots)[ringstep__slot].previous_link = ringstep__previous;                                                    \
		if (ringstep__previous)                                                                                        \
			(slots)[(ringstep__previous - 1) & ringstep_mask(slots)].next_link = ringstep__slot + 1;               \
		else                                                                                                           \
			ringstep__list->first = ringstep__slot + 1;                                                            \
		if (ringstep__where)                                                                                           \
			(slots)[(ringstep__where - 1) & ringstep_mask(slots)].previous_link = ringstep__slot + 1;              \
		else                                                                                                           \
			ringstep__list->last = ringstep__slot + 1;                                                             \
		ringstep__list->count++;                                                                                       \
	} while (0)

#define ringstep__list_remove(list, slots, slot, next_link, previous_link)                                                     \
	do {                                                                                                                   \
		struct ringstep_list *const ringstep__list = (list);                                                           \
		const __u32 ringstep__slot = (slot) & ringstep_mask(slots);                                                    \
		const __u32 ringstep__next = (slots)[ringstep__slot].next_link;                                                \
		const __u32 ringstep__previous = (slots)[ringstep__slot].previous_link;                                        \
                                                                                                                               \
		if (ringstep__next)                                                                                            \
			(slots)[(ringstep__next - 1) & ringstep_mask(slots)].previous_link = ringstep__previous;               \
		else                                                                                                           \
			ringstep__list->last = ringstep__previous;                                                             \
		if (ringstep__previous)                                                                                        \
			(slots)[(ringstep__previous - 1) & ringstep_mask(slots)].next_link = ringstep__next;                   \
		else                                                                                                           \
			ringstep__list->first = ringstep__next;                                                                \
		ringstep__list->count--;                                                                                       \
	} while (0)

#define ringstep__list_pop_front(list, slots, next_link, previous_link)                                                        \
	({                                                                                                                     \
		const __u32 ringstep__popped = ringstep_list_first(list, slots);                                               \
                                                                                                                               \
		ringstep__list_remove(list, slots, ringstep__popped, next_link, previous_link);                                \
		ringstep__popped;                                                                                              \
	})

/* Returns the number of the first slot. The list must not be empty (list->count). */
#define ringstep_list_first(list, slots) (((list)->first - 1) & ringstep_mask(slots))

/* Appends a slot to the list. */
#define ringstep_list_push_back(list, slots, slot) ringstep__list_push_back(list, slots, slot, next, previous)
/* Appends a slot to the list with these links. */
#define ringstep_list_push_back_by(list, slots, slot, link)                                                                    \
	ringstep__list_push_back(list, slots, slot, link.next, link.previous)

/* Inserts a slot at the front of the list. */
#define ringstep_list_push_front(list, slots, slot) ringstep__list_push_front(list, slots, slot, next, previous)
/* Inserts a slot at the front of the list with these links. */
#define ringstep_list_push_front_by(list, slots, slot, link)                                                                   \
	ringstep__list_push_front(list, slots, slot, link.next, link.previous)

/* Inserts a slot before the one numbered `where` - 1, which must be in the list. If `where` is 0, appends the slot. */
#define ringstep_list_insert(list, slots, where, slot) ringstep__list_insert(list, slots, where, slot, next, previous)
/* Inserts a slot before the one numbered `where` - 1, which must be in the list with these links. If `where` is 0, appends the slot. */
#define ringstep_list_insert_by(list, slots, where, slot, link)                                                                \
	ringstep__list_insert(list, slots, where, slot, link.next, link.previous)

/* Removes a slot from any place in the list. */
#define ringstep_list_remove(list, slots, slot) ringstep__list_remove(list, slots, slot, next, previous)
/* Removes a slot from any place in the list with these links. */
#define ringstep_list_remove_by(list, slots, slot, link) ringstep__list_remove(list, slots, slot, link.next, link.previous)

/* Removes the first slot and returns its number. The list must not be empty. */
#define ringstep_list_pop_front(list, slots) ringstep__list_pop_front(list, slots, next, previous)
/* Removes the first slot of the list with these links, and returns its number. The list must not be empty. */
#define ringstep_list_pop_front_by(list, slots, link) ringstep__list_pop_front(list, slots, link.next, link.previous)

#endif /* RINGSTEP_LIST_BPF_H */
