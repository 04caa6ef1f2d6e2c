/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Runs graphs of requests, thousands of chains at a time. The result of one request is filled into the requests that follow it. This is the
 * step of the loops chain and chain_large, which read from tables what the graphs are.
 *
 * Most completions need no list of work (work.bpf.h): a single path of nodes follows. The step follows it at once, up to the next request or
 * the end of the chain (chain_completed()).
 *
 * The longest step: 32 completions, 64 messages and 2,048 pieces of work. For each completion, the step computes a path of at most 31 nodes, and
 * then at most 32 nodes become ready. For each piece of work, it computes at most 8 operations, and at most 32 nodes become ready. Each completion and
 * each piece of work may find a full SQ, and the walk may submit before each completion. That makes 86,080 iterations, with 2,112 submits at most.
 */
#ifndef RINGSTEP_CHAIN_STEP_BPF_H
#define RINGSTEP_CHAIN_STEP_BPF_H

#include <ringstep/chain/work.bpf.h>

/*
 * Handles the end of a path, after a node that nothing follows. The last request of the path still counts as in flight. If exactly one
 * clean-up node is left and its request is ready-made, returns that node with RINGSTEP_CHAIN_NEXT, and the caller begins it. Otherwise
 * returns 0: the chain has ended, or waits in a list.
 */
static __always_inline __u32 chain_last(struct CHAIN *state, struct ringstep_chain_instance *chain,
					const struct ringstep_chain_graph *graph, __u32 slot)
{
	const __u32 cleanup = chain->cleanup;

	if (!(chain->running | chain->armed | chain_helpers(chain))) {
		if (!cleanup) {
			chain_hand_back(state, chain, slot, RINGSTEP_REQUESTS_IN_FLIGHT + RINGSTEP_REQUESTS_WAITING);
			return 0;
		}
		if (!(cleanup & (cleanup - 1))) {
			const __u32 node = chain_lowest(cleanup);

			if (graph->nodes[node].flags & RINGSTEP_CHAIN_READY_MADE) {
				chain->phase = RINGSTEP_CHAIN_CLEANING;
				chain->cleanup = 0;
				return RINGSTEP_CHAIN_NEXT | node;
			}
		}
	}
	ringstep__requests_count(&state->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);
	chain_enlist(state, slot);
	return 0;
}

/*
 * Computes nodes that are no requests, as far as they are a single path. `next` is the first one, as in ringstep_chain_node.next. Returns what
 * follows the last one: a request, or nothing. Returns 0 if the chain is in a list afterwards.
 */
ringstep_apart __u32 chain_compute_path(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 next)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_graph *graph = &state->graphs[chain->graph & CHAIN_GRAPH];
	enum ringstep_chain_outcome outcome = RINGSTEP_CHAIN_SUCCESS;
	__s64 limit = ringstep_limit(RINGSTEP_CHAIN_NODES);
	__u32 node = next & CHAIN_NODE;
	__s32 error = 0;

	slot &= CHAIN_INSTANCE;
	/* None comes twice, because each but the first is one that only one edge leads to. */
	ringstep_while_at_most (limit, true) {
		const struct ringstep_chain_node *of = &graph->nodes[node];
		const __u32 bit = 1U << node, kind = of->kind;
		__u32 way = RINGSTEP_CHAIN_SUCCESS;
		__u64 value;

		chain->nodes[node].runs++;
		value = chain_value(state, chain, of, slot, node, 0);
		if (kind == RINGSTEP_CHAIN_ALLOCATE) {
			value = (__u64)chain_allocate(state, of, value);
			if (value == (__u64)-ENOMEM) {
				chain->values[node] = -ENOMEM;
				outcome = RINGSTEP_CHAIN_FAILURE;
				error = ENOMEM;
				break;
			}
		} else if (kind == RINGSTEP_CHAIN_COMPUTE) {
			chain->values[of->ops[0].to & (RINGSTEP_CHAIN_VALUES - 1)] = (__s64)value;
		} else if (kind == RINGSTEP_CHAIN_FINISH) {
			chain->values[node] = (__s64)value;
			chain->ended |= bit;
			chain->cleanup |= of->cleanup;
			chain->code = (__s64)value;
			chain_end(chain, RINGSTEP_CHAIN_COMPLETED, node, 0);
			return RINGSTEP_CHAIN_NOTHING_NEXT;
		} else if (!value) {
			way = RINGSTEP_CHAIN_SHORT;
			outcome = RINGSTEP_CHAIN_FAILURE;
		}
		chain->values[node] = (__s64)value;
		next = of->next[way];
		if (!next || (next & RINGSTEP_CHAIN_NEXT_AGAIN))
			break;
		chain->ended |= bit;
		if (outcome == RINGSTEP_CHAIN_SUCCESS)
			chain->cleanup |= of->cleanup;
		outcome = RINGSTEP_CHAIN_SUCCESS;
		node = next & CHAIN_NODE;
		if (!(next & RINGSTEP_CHAIN_NEXT) || graph->nodes[node].kind == RINGSTEP_CHAIN_REQUEST)
			return next;
	}
	/* The node at hand leads to several others, to a join, or back to where the chain was before. */
	ringstep__requests_count(&state->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);
	chain_node_ended(state, slot, node, outcome, error);
	chain_enlist(state, slot);
	return 0;
}

/*
 * Begins the ready-made request of a node. It takes the place of a completed one among those in flight. If other chains come first, or the
 * request needs more work, puts the chain into a list. Returns true if the SQE is to be submitted.
 */
static __always_inline bool chain_begin_next(struct CHAIN *state, struct ringstep_chain_instance *chain,
					     const struct ringstep_chain_node *of, __u32 slot, __u32 node,
					     struct io_uring_sqe *sqe)
{
	/* Chains in the lists must not wait forever. */
	if (unlikely(state->work[RINGSTEP_CHAIN_UNDER_WAY].count ||
		     ringstep_requests_in_flight(state->requests.counts) > ringstep_load(&state->depth) ||
		     !chain_fits(state, chain, of, slot, node))) {
		ringstep__requests_count(&state->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);
		chain->ready |= 1U << node;
		chain_enlist(state, slot);
		return false;
	}
	chain->running |= 1U << node;
	chain_fill(state, chain, of, slot, node, sqe);
	return true;
}

/*
 * Handles a completion. What follows is done at once, if it is a single path of nodes that are ready-made or no requests, or the end of the
 * chain. Returns true if the SQE is to be submitted.
 */
ringstep_apart int chain_completed(struct CHAIN *state ringstep_arg_nonnull, __u64 user_data, __s32 result, __u32 flags,
				   struct io_uring_sqe *sqe ringstep_arg_nonnull)
{
	const __u32 slot = user_data & CHAIN_INSTANCE;
	const __u32 node = user_data >> RINGSTEP_IDENTITY_PART_SHIFT & CHAIN_NODE;
	const __u32 bit = 1U << node;
	struct ringstep_chain_instance *chain = &state->instances[slot];
	const struct ringstep_chain_graph *graph = &state->graphs[chain->graph & CHAIN_GRAPH];
	const struct ringstep_chain_node *of = &graph->nodes[node];
	const __u32 running = chain->running;
	__u32 outcome = RINGSTEP_CHAIN_SUCCESS, next;
	__s64 moved = result;

	if (chain->data != (user_data & ~((__u64)CHAIN_NODE << RINGSTEP_IDENTITY_PART_SHIFT)) || !(running & bit) ||
	    result < 0 || (flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)))
		return chain_completed_otherwise(state, user_data, result, flags);
	/* A chain in no list has no other work to do. */
	if (chain->listed || chain->phase == RINGSTEP_CHAIN_ENDING || (chain->armed & bit))
		return chain_completed_otherwise(state, user_data, result, flags);
	if (of->flags & RINGSTEP_CHAIN_TRANSFER) {
		if (of->flags & RINGSTEP_CHAIN_CONTINUE)
			moved += chain->values[node];
		if ((__u64)moved < chain->nodes[node].wanted) {
			if (result && (of->flags & RINGSTEP_CHAIN_CONTINUE))
				return chain_completed_otherwise(state, user_data, result, flags);
			outcome = moved ? RINGSTEP_CHAIN_SHORT : RINGSTEP_CHAIN_END;
		}
	}
	next = of->next[outcome];
	if (next & RINGSTEP_CHAIN_NEXT_AGAIN) {
		const __u32 again = next & CHAIN_NODE;

		if (chain->nodes[again].runs >= graph->nodes[again].limit || (running & ~bit & 1U << again))
			next = 0;
	}
	if (!next)
		return chain_completed_otherwise(state, user_data, result, flags);
	chain->values[node] = moved;
	chain->ended |= bit;
	chain->cleanup |= of->cleanup;
	chain->running = running & ~bit;
	if ((next & RINGSTEP_CHAIN_NEXT) && graph->nodes[next & CHAIN_NODE].kind != RINGSTEP_CHAIN_REQUEST)
		next = chain_compute_path(state, slot, next);
	if (next == RINGSTEP_CHAIN_NOTHING_NEXT)
		next = chain_last(state, chain, graph, slot);
	if (!next)
		return false;
	next &= CHAIN_NODE;
	return chain_begin_next(state, chain, &graph->nodes[next], slot, next, sqe);
}

/*
 * Submits the request that follows a completed one at once, if that is simple: exactly one node follows, whose request is made as it is and
 * counts no bytes. Returns false, without effect, if the completion needs more work. This is what chain_completed() does in such a case, without
 * the call.
 */
static __always_inline bool chain_goes_on(struct ringstep_turn *turn, struct CHAIN *state, const struct io_uring_cqe *cqe)
{
	const __u32 slot = cqe->user_data & CHAIN_INSTANCE;
	const __u32 node = cqe->user_data >> RINGSTEP_IDENTITY_PART_SHIFT & CHAIN_NODE;
	const __u32 bit = 1U << node;
	struct ringstep_chain_instance *chain = &state->instances[slot];
	const struct ringstep_chain_graph *graph = &state->graphs[chain->graph & CHAIN_GRAPH];
	const struct ringstep_chain_node *of = &graph->nodes[node], *to;
	const __u32 running = chain->running, after = of->next[RINGSTEP_CHAIN_SUCCESS], next = after & CHAIN_NODE;

	to = &graph->nodes[next];
	if (!(after & RINGSTEP_CHAIN_NEXT) || to->op_count || to->kind != RINGSTEP_CHAIN_REQUEST ||
	    ((of->flags | to->flags) & RINGSTEP_CHAIN_TRANSFER) || cqe->res < 0 ||
	    (cqe->flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)) ||
	    chain->data != (cqe->user_data & ~((__u64)CHAIN_NODE << RINGSTEP_IDENTITY_PART_SHIFT)))
		return false;
	/* A chain in no list has no other work to do. Chains in the lists must not wait forever. */
	if (!(running & bit) || chain->listed || chain->phase != RINGSTEP_CHAIN_RUNNING || (chain->armed & bit) ||
	    state->work[RINGSTEP_CHAIN_UNDER_WAY].count ||
	    ringstep_requests_in_flight(state->requests.counts) > ringstep_load(&state->depth))
		return false;
	if ((after & RINGSTEP_CHAIN_NEXT_AGAIN) && (chain->nodes[next].runs >= to->limit || (running & ~bit & 1U << next)))
		return false;
	chain->values[node] = cqe->res;
	chain->ended |= bit;
	chain->cleanup |= of->cleanup;
	chain->running = (running & ~bit) | 1U << next;
	chain_copy(chain, to, next, ringstep_get_sqe(turn));
	return true;
}

static __always_inline int chain_take_turn(struct ringstep_turn *turn, struct CHAIN *state)
{
	__s64 messages = ringstep_limit(RINGSTEP_REQUESTS_BATCH_IN), work = ringstep_limit(CHAIN_WORK_BATCH);
	struct io_uring_cqe *cqe;
	__u32 message = 0, list;

	ringstep_requests_begin(state);
	ringstep_for_each_cqe_submitting(turn, cqe) {
		if (chain_goes_on(turn, state, cqe))
			continue;
		if (chain_completed(state, cqe->user_data, cqe->res, cqe->flags, ringstep_next_sqe(turn)))
			ringstep_claim_sqe(turn);
	}

	ringstep_while_at_most (messages, ringstep_mailbox_receive(&state->mailbox, state->inbox, &message))
		chain_received(state, message);

	ringstep_while_at_most (work, (list = chain_next_list(state)) != 0) {
		if (chain_work(state, list, ringstep_next_sqe(turn)))
			ringstep_claim_sqe(turn);
	}
	return ringstep_requests_end(turn, state, 1, ringstep_limit_reached(messages) || ringstep_limit_reached(work));
}

#endif /* RINGSTEP_CHAIN_STEP_BPF_H */
