// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs requests in groups, with barriers. A barrier is submitted when every request pushed before it in its group has completed.
 * Requests pushed after it in its group are submitted when the barrier has completed. A barrier of the whole ring applies to all groups.
 *
 * Requests behind a barrier of the whole ring wait in one list, in the order in which they were pushed. They join their groups when
 * the barrier has completed. A group exists as long as it has requests. Each of its requests has the group's number in `own.number`.
 */
#define RINGSTEP_CQE_BATCH 128
#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>
#include <ringstep/c/loops/drain.h>

/* own.number of a request in the list `behind` */
#define BEHIND (1U << 31)

static __always_inline __u32 bucket_of(__u64 key)
{
	return (__u32)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (RINGSTEP_DRAIN_REQUESTS - 1);
}

static __always_inline struct ringstep_drain_group *group_at(struct ringstep_drain *state, __u32 number)
{
	return &state->groups[number & ringstep_mask(state->groups)];
}

/* Returns the number of the group with this key, and makes a new group if there is none. */
static __always_inline __u32 group_of(struct ringstep_drain *state, __u64 key)
{
	const __u32 bucket = bucket_of(key);
	struct ringstep_drain_group *group;
	__u32 number;

	state->at = state->buckets[bucket];
	ringstep_while (state->at && group_at(state, state->at - 1)->key != key)
		state->at = group_at(state, state->at - 1)->next;
	if (state->at)
		return (state->at - 1) & ringstep_mask(state->groups);

	if (state->free) {
		number = (state->free - 1) & ringstep_mask(state->groups);
		state->free = group_at(state, number)->next;
	} else {
		number = state->opened++ & ringstep_mask(state->groups);
	}
	group = group_at(state, number);
	group->key = key;
	group->next = state->buckets[bucket];
	group->in_flight = 0;
	group->barrier = 0;
	state->buckets[bucket] = number + 1;
	ringstep_store(&state->groups_active, state->groups_active + 1);
	return number;
}

/* Removes a group. It must have no requests in flight and none waiting. */
static __always_inline void forget_group(struct ringstep_drain *state, __u32 number)
{
	struct ringstep_drain_group *group = group_at(state, number);
	const __u32 bucket = bucket_of(group->key);

	if (state->buckets[bucket] == number + 1) {
		state->buckets[bucket] = group->next;
	} else {
		state->at = state->buckets[bucket];
		ringstep_while (state->at && group_at(state, state->at - 1)->next != number + 1)
			state->at = group_at(state, state->at - 1)->next;
		if (state->at)
			group_at(state, state->at - 1)->next = group->next;
	}
	group->next = state->free;
	state->free = number + 1;
	ringstep_store(&state->groups_active, state->groups_active - 1);
}

/* Notes that a request of the group may be ready to be submitted, or that the group may be empty. look_after_group() then checks it. */
static __always_inline void group_is_due(struct ringstep_drain *state, __u32 number)
{
	struct ringstep_drain_group *group = group_at(state, number);

	if (group->due)
		return;
	group->due = 1;
	group->next_due = state->due;
	state->due = number + 1;
}

static __always_inline bool group_can_start(struct ringstep_drain *state, struct ringstep_drain_group *group)
{
	__u32 first;

	if (!group->waiting.count || group->barrier)
		return false;
	first = ringstep_list_first(&group->waiting, state->slots);
	return !(state->slots[first].own.options & RINGSTEP_DRAIN_BARRIER) || !group->in_flight;
}

static __always_inline void submit_of_group(struct ringstep_turn *turn, struct ringstep_drain *state,
					    struct ringstep_drain_group *group, __u32 slot)
{
	group->in_flight++;
	if (state->slots[slot].own.options & RINGSTEP_DRAIN_BARRIER) {
		group->barrier = 1;
		state->barriers++;
	}
	ringstep_request_submit(turn, state, slot);
}

static __always_inline void completed(struct ringstep_drain *state, __u32 slot)
{
	struct ringstep_drain_group *group;
	__u32 number;

	if (state->slots[slot].own.options & RINGSTEP_DRAIN_ALL) {
		state->all = 0;
		return;
	}
	number = state->slots[slot].own.number & ringstep_mask(state->groups);
	group = group_at(state, number);
	group->in_flight--;
	group->barrier = 0; /* a barrier is in flight alone */
	if (group->waiting.count || !group->in_flight)
		group_is_due(state, number);
}

/* Returns true if the first request in `behind` may go. A barrier of the whole ring waits for all requests outside that list. */
static __always_inline bool behind_can_go(struct ringstep_drain *state)
{
	__u32 first;

	if (!state->behind.count || state->all)
		return false;
	first = ringstep_list_first(&state->behind, state->slots);
	return !(state->slots[first].own.options & RINGSTEP_DRAIN_ALL) ||
	       (!ringstep_requests_in_flight(state->requests.counts) &&
		ringstep_requests_waiting(state->requests.counts) == state->behind.count);
}

static __always_inline void cancel_waiting(struct ringstep_drain *state, __u32 slot)
{
	const __u32 number = state->slots[slot].own.number;

	if (number == BEHIND) {
		ringstep_list_remove(&state->behind, state->slots, slot);
	} else {
		ringstep_list_remove(&group_at(state, number)->waiting, state->slots, slot);
		group_is_due(state, number & ringstep_mask(state->groups));
	}
	ringstep_request_refuse(state, slot, -ECANCELED);
}

/* Gets the next request that must join its group, from behind a completed barrier or from the application. */
static __always_inline bool next_request(struct ringstep_turn *turn, struct ringstep_drain *state, __u32 *slot)
{
	enum ringstep_mail mail;

	if (behind_can_go(state)) {
		*slot = ringstep_list_pop_front(&state->behind, state->slots);
		return true;
	}
	if (!state->budget || !ringstep_requests_receive(state, slot, &mail)) {
		state->receives = 0;
		return false;
	}
	state->budget--;
	if (mail == RINGSTEP_MAIL_REQUEST) {
		if (!state->all && !state->behind.count && !(state->slots[*slot].own.options & RINGSTEP_DRAIN_ALL))
			return true;
		state->slots[*slot].own.number = BEHIND;
		ringstep_list_push_back(&state->behind, state->slots, *slot);
	} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
		cancel_waiting(state, *slot);
	} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
		ringstep_request_cancel(turn, state, *slot);
	}
	return false;
}

static __always_inline void join_group(struct ringstep_turn *turn, struct ringstep_drain *state, __u32 slot)
{
	struct ringstep_drain_group *group;
	__u32 number;

	if (state->slots[slot].own.options & RINGSTEP_DRAIN_ALL) {
		state->all = 1;
		state->barriers++;
		ringstep_request_submit(turn, state, slot);
		return;
	}
	number = group_of(state, state->slots[slot].own.group);
	group = group_at(state, number);
	state->slots[slot].own.number = number;
	if (group->waiting.count || group->barrier ||
	    ((state->slots[slot].own.options & RINGSTEP_DRAIN_BARRIER) && group->in_flight))
		ringstep_list_push_back(&group->waiting, state->slots, slot);
	else
		submit_of_group(turn, state, group, slot);
}

/* Submits a request of the first due group. If none may be submitted, the group is not due any more, and is removed if it is empty. */
static __always_inline void look_after_group(struct ringstep_turn *turn, struct ringstep_drain *state)
{
	const __u32 number = (state->due - 1) & ringstep_mask(state->groups);
	struct ringstep_drain_group *group = group_at(state, number);

	if (group_can_start(state, group)) {
		submit_of_group(turn, state, group, ringstep_list_pop_front(&group->waiting, state->slots));
		return;
	}
	state->due = group->next_due;
	group->due = 0;
	if (!group->in_flight && !group->waiting.count)
		forget_group(state, number);
}

RINGSTEP_LOOP(drain, struct ringstep_drain)
{
	struct io_uring_cqe *cqe;
	__u32 slot;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot)) {
			completed(state, slot);
			ringstep_request_deliver(state, slot);
		}
	}
	ringstep_while (state->due)
		look_after_group(turn, state);

	state->budget = ringstep_requests_room(turn);
	state->receives = 1;
	ringstep_while (state->receives) {
		if (next_request(turn, state, &slot))
			join_group(turn, state, slot);
	}
	/* Other requests may have waited for a cancelled one. */
	ringstep_while (state->due)
		look_after_group(turn, state);
	return ringstep_requests_end(turn, state, 1, !state->budget);
}
