// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Works like the loop `enter`, but waits in another way: for fewer completions in each later stage, or for completions of groups of
 * requests. Hooks count the requests of the groups. They run only while there are groups.
 *
 * The end of a stage need not wake the thread up: not if the wait goes on then, because there are too few completions for the next stage, too. The
 * loop sleeps until the end of the stage that has decided the last wait, for as few completions as any stage before that waits for. So a wait
 * that ends like the last one has one sleep, however many stages it passes through.
 *
 * The longest step: all requests in the SQ, 32,768 at most, and 32 completions, each with a look at 8 groups; then 8 groups, or 8 stages twice.
 * That makes 295,216 iterations, with 1 submit at most.
 */
#include <ringstep/hooks.bpf.h>
#include <ringstep/c/loops/stages.h>

static __always_inline bool stages_in_group(const struct ringstep_stages *state, __u32 index, __u64 user_data)
{
	const struct ringstep_stages_group *group = &state->groups[index & (RINGSTEP_STAGES_GROUPS - 1)];

	return state->groups_used >> (index & (RINGSTEP_STAGES_GROUPS - 1)) & 1 && (user_data & group->mask) == group->value;
}

/* Counts a request in its groups. It uses bpf_for(), because the verifier would follow every combination of groups in an unrolled loop. */
static __noinline int stages_submitted(struct ringstep_stages *state, __u64 user_data)
{
	__u32 i;

	bpf_for(i, 0, RINGSTEP_STAGES_GROUPS) {
		if (stages_in_group(state, i, user_data))
			state->groups[i & (RINGSTEP_STAGES_GROUPS - 1)].submitted++;
	}
	return 0;
}

static __noinline int stages_completed(struct ringstep_stages *state, __u64 user_data, __u32 flags)
{
	__u32 i;

	bpf_for(i, 0, RINGSTEP_STAGES_GROUPS) {
		struct ringstep_stages_group *group = &state->groups[i & (RINGSTEP_STAGES_GROUPS - 1)];

		if (!stages_in_group(state, i, user_data))
			continue;
		/* A notification ends a request whose result was already counted. */
		if (!(flags & IORING_CQE_F_NOTIF))
			group->completed++;
		if (!(flags & IORING_CQE_F_MORE))
			group->finished++;
	}
	return 0;
}

/* Returns how many completions, at least, the group still needs. */
static __always_inline __u64 stages_missing(const struct ringstep_stages_group *group)
{
	if (group->wanted == RINGSTEP_STAGES_ALL)
		return group->submitted > group->finished ? group->submitted - group->finished : 0;
	return group->wanted > group->completed ? group->wanted - group->completed : 0;
}

/* Stores in the state how many completions the groups together still need: the least of any group, or the most. */
static __noinline int stages_all_missing(struct ringstep_stages *state)
{
	const bool any = state->wait == RINGSTEP_STAGES_ANY_GROUP;
	__u32 i;

	state->missing = any ? RINGSTEP_STAGES_ALL : 0;
	bpf_for(i, 0, RINGSTEP_STAGES_GROUPS) {
		const struct ringstep_stages_group *group = &state->groups[i & (RINGSTEP_STAGES_GROUPS - 1)];
		__u64 missing;

		if (!group->wanted || !(state->groups_used >> (i & (RINGSTEP_STAGES_GROUPS - 1)) & 1))
			continue;
		missing = stages_missing(group);
		if (any ? missing < state->missing : missing > state->missing)
			state->missing = missing;
	}
	return 0;
}

static __always_inline struct ringstep_stage *stages_at(struct ringstep_stages *state)
{
	return &state->stages[state->stage & (RINGSTEP_STAGES_STAGES - 1)];
}

/* Moves to the stage of the current time. Returns false if it is the same one as before. */
static __always_inline bool stages_move(struct ringstep_stages *state)
{
	__s64 limit = ringstep_limit(RINGSTEP_STAGES_STAGES);
	__u64 now;

	if (!ringstep_expired(state->stage_end))
		return false;
	now = bpf_ktime_get_ns();
	ringstep_while_at_most (limit, state->stage + 1 < state->stage_count && state->stage_end <= now) {
		ringstep_store(&state->stage, state->stage + 1);
		state->stage_end = ringstep_later(state->stage_end, stages_at(state)->nanoseconds);
	}
	return true;
}

/* Stores in the state when the stage `aim` ends, which is a later one, and how few completions may end the wait by then. */
static __noinline int stages_look_ahead(struct ringstep_stages *state)
{
	__u32 i;

	bpf_for(i, (state->stage & (RINGSTEP_STAGES_STAGES - 1)) + 1, (state->aim & (RINGSTEP_STAGES_STAGES - 1)) + 1) {
		const struct ringstep_stage *stage = &state->stages[i & (RINGSTEP_STAGES_STAGES - 1)];

		if (stage->completions < state->fewest)
			state->fewest = stage->completions;
		state->aim_end = ringstep_later(state->aim_end, stage->nanoseconds);
	}
	return 0;
}

/* Chooses the stage whose end the next sleep may last until. `ready`: the completions in the CQ. */
static __always_inline void stages_take_aim(struct ringstep_stages *state, __u32 ready)
{
	if (ready >= stages_at(state)->completions) {
		/* The wait is over. Unless the end of the stage that it slept until has brought this about, completions have. */
		if (!ringstep_expired(state->aim_end))
			state->aim = state->stage;
	} else if (state->aim < state->stage || ready >= state->fewest) {
		state->aim = state->stage; /* it woke up for nothing */
	}
}

/* Moves to the stage of the current time, and sets up its wait. */
static __always_inline void stages_go_on(struct ringstep_turn *turn, struct ringstep_stages *state)
{
	struct ringstep_enter *enter = &state->enter;

	if (enter->phase == RINGSTEP_ENTER_BEGIN) {
		ringstep_store(&state->stage, 0);
		state->stage_end = ringstep_later(bpf_ktime_get_ns(), stages_at(state)->nanoseconds);
	} else if (stages_move(state) || state->aim != state->stage) {
		stages_take_aim(state, ringstep_enter_ready(turn, enter));
	}
	enter->min_complete = stages_at(state)->completions;
	state->fewest = enter->min_complete;
	state->aim_end = state->stage_end;
	if (state->aim != state->stage)
		stages_look_ahead(state);
	/* Only the end of the last stage is the end of the wait. */
	enter->wake_at = state->aim_end;
	enter->deadline = state->stage + 1 < state->stage_count ? RINGSTEP_NO_DEADLINE : state->stage_end;
}

RINGSTEP_LOOP(stages, struct ringstep_stages)
{
	if (state->groups_used) {
		struct io_uring_sqe *sqe;
		struct io_uring_cqe *cqe;

		ringstep_for_each_submission(turn, &state->enter, sqe)
			stages_submitted(state, sqe->user_data);
		ringstep_for_each_completion(turn, &state->enter, cqe)
			stages_completed(state, cqe->user_data, cqe->flags);
	}
	if (state->wait == RINGSTEP_STAGES_STEPS) {
		stages_go_on(turn, state);
	} else {
		__u32 missing;

		stages_all_missing(state);
		/* This is more than any CQ holds, and the wait is limited to the size of the CQ. */
		missing = state->missing > 1 << 30 ? 1 << 30 : (__u32)state->missing;
		/* Waits for completions beyond those that the hook has seen, because the others may not be of the groups. */
		ringstep_enter_ready(turn, &state->enter);
		state->enter.min_complete = missing ? state->enter.seen - *turn->head + missing : 0;
		state->fewest = state->enter.min_complete;
	}
	return ringstep_enter_early(turn, &state->enter, state->fewest);
}
