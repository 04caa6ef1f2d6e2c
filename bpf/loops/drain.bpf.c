// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs requests in groups, with barriers. A barrier is submitted when every request pushed before it in its group has completed.
 * Requests pushed after it in its group are submitted when the barrier has completed. A barrier of the whole ring applies to all groups.
 *
 * Requests behind a barrier of the whole ring wait in one list, in the order in which they were pushed. They join their groups when
 * the barrier has completed. A group exists as long as it has requests. Each of its requests has the group's number in `own.number`.
 *
 * The longest step: the loop takes 128 completions, and 64 messages or submissions. Up to 32 groups or links count as one of these. If links
 * lead in a circle, the loop follows 4,096 of them before it notices. That makes 6,272 iterations, with 64 submits at most.
 */
#define RINGSTEP_CQE_BATCH 128
#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>
#include <ringstep/table.bpf.h>
#include <ringstep/c/loops/drain.h>

/* What a message or a submission takes from the room of a turn. A link, or a look at a group without a submission, takes 1. */
#define SUBMISSION 32

/* own.number of a request in the list `behind` */
#define BEHIND (1U << 31)

static __always_inline struct ringstep_drain_group *group_at(struct ringstep_drain *state, __u32 number)
{
	return &state->groups[number & ringstep_mask(state->groups)];
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

/* What the next message, or the next request behind a completed barrier, is */
enum next {
	NEXT_NOTHING, /* there is none */
	NEXT_JOINS,   /* a request that must join its group */
	NEXT_DONE,    /* nothing else is to be done for it */
};

static __always_inline enum next next_request(struct ringstep_turn *turn, struct ringstep_drain *state, __u32 *slot)
{
	enum ringstep_mail mail;

	if (behind_can_go(state)) {
		*slot = ringstep_list_pop_front(&state->behind, state->slots);
		return NEXT_JOINS;
	}
	if (!ringstep_requests_receive(state, slot, &mail))
		return NEXT_NOTHING;
	if (mail == RINGSTEP_MAIL_REQUEST) {
		if (!state->all && !state->behind.count && !(state->slots[*slot].own.options & RINGSTEP_DRAIN_ALL))
			return NEXT_JOINS;
		state->slots[*slot].own.number = BEHIND;
		ringstep_list_push_back(&state->behind, state->slots, *slot);
	} else if (mail == RINGSTEP_MAIL_CANCEL_WAITING) {
		cancel_waiting(state, *slot);
	} else if (mail == RINGSTEP_MAIL_CANCEL_IN_FLIGHT) {
		ringstep_request_cancel(turn, state, *slot);
	}
	return NEXT_DONE;
}

static __always_inline void join_group(struct ringstep_turn *turn, struct ringstep_drain *state, __u32 slot, __s64 *room)
{
	struct ringstep_drain_group *group;
	__u32 number;

	if (state->slots[slot].own.options & RINGSTEP_DRAIN_ALL) {
		state->all = 1;
		state->barriers++;
		ringstep_request_submit(turn, state, slot);
		return;
	}
	number = ringstep_table_find_or_make(&state->table, state->buckets, state->groups, state->slots[slot].own.group, *room);
	group = group_at(state, number);
	state->slots[slot].own.number = number;
	if (group->waiting.count || group->barrier ||
	    ((state->slots[slot].own.options & RINGSTEP_DRAIN_BARRIER) && group->in_flight))
		ringstep_list_push_back(&group->waiting, state->slots, slot);
	else
		submit_of_group(turn, state, group, slot);
}

/*
 * Submits a request of the first due group and returns true. If none may be submitted, the group is not due any more, and is removed if it is
 * empty.
 */
static __always_inline bool look_after_group(struct ringstep_turn *turn, struct ringstep_drain *state, __s64 *room)
{
	const __u32 number = (state->due - 1) & ringstep_mask(state->groups);
	struct ringstep_drain_group *group = group_at(state, number);

	if (group_can_start(state, group)) {
		submit_of_group(turn, state, group, ringstep_list_pop_front(&group->waiting, state->slots));
		return true;
	}
	state->due = group->next_due;
	group->due = 0;
	if (!group->in_flight && !group->waiting.count)
		ringstep_table_forget(&state->table, state->buckets, state->groups, number, *room);
	return false;
}

/* Submits requests of due groups, as long as there is room. */
static __always_inline void look_after_groups(struct ringstep_turn *turn, struct ringstep_drain *state, __s64 *room)
{
	ringstep_while_at_most (*room, state->due) {
		if (look_after_group(turn, state, room))
			*room -= SUBMISSION - 1;
	}
}

RINGSTEP_LOOP(drain, struct ringstep_drain)
{
	__s64 room;
	__u32 delivered = ringstep_requests_delivered(state);
	struct io_uring_cqe *cqe;
	enum next next;
	__u32 slot;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe(turn, cqe) {
		if (ringstep_request_completed(turn, state, cqe, &slot)) {
			completed(state, slot);
			ringstep_request_deliver_later(state, slot, delivered);
		}
	}
	ringstep_requests_deliver(state, delivered);

	/* A group that a barrier has held up may have thousands of requests. Those for which there is no room go in the next turn. */
	room = ringstep_limit(ringstep_requests_room(turn) * SUBMISSION);
	look_after_groups(turn, state, &room);
	ringstep_while_at_most (room, (next = next_request(turn, state, &slot)) != NEXT_NOTHING) {
		room -= SUBMISSION - 1;
		if (next != NEXT_JOINS)
			continue;
		barrier_var(
			slot); /* otherwise the compiler would leave the mask out, and Linux 6.12 forgets the bound between iterations */
		join_group(turn, state, slot & ringstep_mask(state->slots), &room);
	}
	/* Other requests may have waited for a cancelled one. */
	look_after_groups(turn, state, &room);
	return ringstep_requests_end(turn, state, 1, ringstep_limit_reached(room));
}
