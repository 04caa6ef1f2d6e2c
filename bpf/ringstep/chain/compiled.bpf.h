/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The step of a graph that was compiled: ringstep_add_graph(). The generated source has the graph as a constant, and chain_straight(), which
 * jumps from node to node. The functions below do what a node does. They are always inlined, with a constant node, so that nothing of the
 * graph is read or decided while the loop runs.
 *
 * The straight way is for what usually happens: a request succeeds, and a single path of nodes follows, up to the next request or the end of
 * the chain. For everything else, it hands the chain over to the work that all loops of chains have in common (work.bpf.h), which reads the
 * graph from the table in the state, as the loop chain does. Both ways change the same state, at any point of a chain.
 *
 * The longest step: 32 completions, 64 chains that start from their messages, 64 more messages and 2,048 pieces of work. For each completion, at
 * most 31 nodes follow, and then at most 32 nodes become ready. For each piece of work, the step computes at most 8 operations, and at most 32
 * nodes become ready. Each completion and each piece of work may find a full SQ, and the walk may submit before each completion. That makes 86,144
 * iterations, with 2,112 submits at most.
 */
#ifndef RINGSTEP_CHAIN_COMPILED_BPF_H
#define RINGSTEP_CHAIN_COMPILED_BPF_H

#include <ringstep/chain/work.bpf.h>

/* chain_fact.flags */
#define CHAIN_ALONE (1U << 0)	       /* of the graph: at most one node of a chain is ready or in flight at any time */
#define CHAIN_ONCE (1U << 1)	       /* the node has not begun before */
#define CHAIN_ENDED_KNOWN (1U << 2)    /* chain_fact.ended is right */
#define CHAIN_ONLY_RUNS (1U << 3)      /* it is no clean-up node, and does not follow one */
#define CHAIN_ONLY_CLEANS (1U << 4)    /* it is a clean-up node, or follows only those */
#define CHAIN_COMPLETES_ONCE (1U << 5) /* its request has one completion */

/* What is known of a node before the loop runs, beside what the table says. */
struct chain_fact {
	__u32 flags;
	__u32 ended;	      /* the nodes that have ended when this one begins */
	__u32 sqe_from_state; /* words of its SQE with an address: the table in the state has them */
	__u32 ops_from_state; /* operations whose constant is an address: the table in the state has them */
};

/* A node, for the functions below. */
#define CHAIN_NODE_OF(number) number, &chain_graph.nodes[number], &chain_facts[number]
#define CHAIN_NODE_ARGUMENT const __u32 node, const struct ringstep_chain_node *const of, const struct chain_fact *const fact

/* The phase of a chain that is in no list, the list, and its requests in flight, as one word */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CHAIN_UNLISTED(phase, running) ((__u64)(phase) | (__u64)(running) << 32)
#define CHAIN_RUNNING_IN(word) ((__u32)((word) >> 32))
#define CHAIN_WITHOUT_RUNNING 0xffffffffULL
#else
#define CHAIN_UNLISTED(phase, running) ((__u64)(phase) << 48 | (running))
#define CHAIN_RUNNING_IN(word) ((__u32)(word))
#define CHAIN_WITHOUT_RUNNING 0xffffffff00000000ULL
#endif

static __always_inline __u64 *chain_where(struct ringstep_chain_instance *chain)
{
	_Static_assert(offsetof(struct ringstep_chain_instance, listed) ==
				       offsetof(struct ringstep_chain_instance, phase) + 2 &&
			       offsetof(struct ringstep_chain_instance, running) ==
				       offsetof(struct ringstep_chain_instance, phase) + 4 &&
			       !(offsetof(struct ringstep_chain_instance, phase) & 7),
		       "one word");
	return (__u64 *)&chain->phase;
}

/* Returns the length in an SQE, if no operation computes it. */
static __always_inline __u32 chain_length(const struct ringstep_chain_node *of)
{
	_Static_assert(offsetof(struct io_uring_sqe, len) == 24, "the first half of the fourth word");
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u32)of->sqe[3];
#else
	return (__u32)(of->sqe[3] >> 32);
#endif
}

/* What chain_straight() returns */
enum chain_straight {
	CHAIN_DONE,	 /* there is no more to do for this completion */
	CHAIN_SUBMITS,	 /* the SQE is to be submitted */
	CHAIN_OTHERWISE, /* nothing was done: the completion takes more */
};

/* What chain_completes() returns, beside values of enum ringstep_chain_outcome */
#define CHAIN_TAKES_MORE 4

/* Where chain_straight() is. */
struct chain_at {
	struct CHAIN *state;
	struct ringstep_chain_instance *chain;
	struct io_uring_sqe *sqe; /* the next free one */
	__u64 user_data;	  /* of one of the chain's requests */
	__u32 completed;	  /* the node whose request has completed */
	bool crowded;		  /* chains in the lists come first, or too many requests are in flight */
};

/* What chain_rest() has to do */
enum chain_rest {
	CHAIN_REST_ENDS,	 /* the node has ended, with one of the first values of enum ringstep_chain_outcome */
	CHAIN_REST_BEGINS = 4,	 /* the node has to begin */
	CHAIN_REST_LACKS_MEMORY, /* the node has ended, because the arena is full */
	CHAIN_REST_OVER,	 /* nothing follows */
};

/* Leaves the straight way. Puts the chain into a list. The completed request does not count as in flight any more. */
ringstep_apart int chain_rest(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 completed, __u32 node, __u32 rest)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];

	slot &= CHAIN_INSTANCE;
	node &= CHAIN_NODE;
	chain->running &= ~(1U << (completed & CHAIN_NODE));
	ringstep__requests_count(&state->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);
	if (rest == CHAIN_REST_BEGINS)
		chain->ready |= 1U << node;
	else if (rest != CHAIN_REST_OVER)
		chain_node_ended(state, slot, node, rest == CHAIN_REST_LACKS_MEMORY ? RINGSTEP_CHAIN_FAILURE : rest & 3,
				 rest == CHAIN_REST_LACKS_MEMORY ? ENOMEM : 0);
	chain_enlist(state, slot);
	return 0;
}

static __always_inline __u32 chain_slot(const struct chain_at *at)
{
	return at->user_data & CHAIN_INSTANCE;
}

static __always_inline enum chain_straight chain_leave(const struct chain_at *at, __u32 node, __u32 rest)
{
	chain_rest(at->state, chain_slot(at), at->completed, node, rest);
	return CHAIN_DONE;
}

/* The table in the state has the addresses, which are others in each process. */
static __always_inline const struct ringstep_chain_node *chain_in_state(const struct chain_at *at, __u32 node)
{
	return &at->state->graphs[0].nodes[node];
}

/* Returns the result of one of a node's operations. */
static __always_inline __u64 chain_computed(const struct chain_at *at, CHAIN_NODE_ARGUMENT, __u32 which)
{
	if (fact->ops_from_state & 1U << which)
		return chain_operate(at->chain, &chain_in_state(at, node)->ops[which]);
	return chain_operate(at->chain, &of->ops[which]);
}

/* Notes that a node has ended, not with a failure. */
static __always_inline void chain_notes_end(const struct chain_at *at, CHAIN_NODE_ARGUMENT, bool success)
{
	if (fact->flags & CHAIN_ENDED_KNOWN)
		at->chain->ended = fact->ended | 1U << node;
	else
		at->chain->ended |= 1U << node;
	if (success && of->cleanup)
		at->chain->cleanup |= of->cleanup;
}

/* Notes that a node begins. Who reads results takes a node that has ended for one that has begun, so once need not be counted. */
static __always_inline void chain_notes_begin(const struct chain_at *at, CHAIN_NODE_ARGUMENT)
{
	struct ringstep_chain_progress *progress = &at->chain->nodes[node];

	(void)of;
	if (fact->flags & CHAIN_ONCE)
		return;
	progress->runs++;
	progress->tries = 0;
}

/* Returns true if a node must not begin now. */
static __always_inline bool chain_refuses(const struct chain_at *at, CHAIN_NODE_ARGUMENT)
{
	if (fact->flags & CHAIN_ONCE)
		return false;
	if (at->chain->nodes[node].runs >= of->limit)
		return true;
	return !(fact->flags & CHAIN_ALONE) && (at->chain->running & 1U << node);
}

/* Finds the chain that a completion is for. Returns false if there is none. */
static __always_inline bool chain_find(struct chain_at *at, const struct io_uring_cqe *cqe)
{
	const __u64 user_data = cqe->user_data;

	at->user_data = user_data;
	at->completed = user_data >> RINGSTEP_IDENTITY_PART_SHIFT & CHAIN_NODE;
	at->chain = &at->state->instances[user_data & CHAIN_INSTANCE];
	return at->chain->data == (user_data & ~((__u64)CHAIN_NODE << RINGSTEP_IDENTITY_PART_SHIFT)) && cqe->res >= 0;
}

/*
 * Ends the request of a node. Returns RINGSTEP_CHAIN_SUCCESS, SHORT or END. Returns CHAIN_TAKES_MORE, and does nothing, if more follows than a
 * single path.
 */
static __always_inline __u32 chain_completes(const struct chain_at *at, const struct io_uring_cqe *cqe, CHAIN_NODE_ARGUMENT)
{
	struct ringstep_chain_instance *chain = at->chain;
	const __u32 bit = 1U << node;
	const __u64 where = *chain_where(chain);
	__u32 outcome = RINGSTEP_CHAIN_SUCCESS;
	__s64 moved = cqe->res;

	/* A chain in no list has no other work to do. */
	if (fact->flags & CHAIN_ALONE) {
		if ((fact->flags & CHAIN_ONLY_CLEANS || where != CHAIN_UNLISTED(RINGSTEP_CHAIN_RUNNING, bit)) &&
		    (fact->flags & CHAIN_ONLY_RUNS || where != CHAIN_UNLISTED(RINGSTEP_CHAIN_CLEANING, bit)))
			return CHAIN_TAKES_MORE;
	} else {
		const __u64 rest = where & CHAIN_WITHOUT_RUNNING;

		if (!(CHAIN_RUNNING_IN(where) & bit))
			return CHAIN_TAKES_MORE;
		if ((fact->flags & CHAIN_ONLY_CLEANS || rest != CHAIN_UNLISTED(RINGSTEP_CHAIN_RUNNING, 0)) &&
		    (fact->flags & CHAIN_ONLY_RUNS || rest != CHAIN_UNLISTED(RINGSTEP_CHAIN_CLEANING, 0)))
			return CHAIN_TAKES_MORE;
	}
	if (!(fact->flags & CHAIN_COMPLETES_ONCE) && (cqe->flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)))
		return CHAIN_TAKES_MORE;
	if ((of->timeout.seconds | of->timeout.nanoseconds) && (chain->armed & bit))
		return CHAIN_TAKES_MORE;
	if (of->flags & RINGSTEP_CHAIN_TRANSFER) {
		const __u64 wanted = of->flags & RINGSTEP_CHAIN_FED_LENGTH || !(of->flags & RINGSTEP_CHAIN_READY_MADE)
					     ? chain->nodes[node].wanted
					     : chain_length(of);

		if (of->flags & RINGSTEP_CHAIN_CONTINUE)
			moved += chain->values[node];
		if ((__u64)moved < wanted) {
			if (cqe->res && (of->flags & RINGSTEP_CHAIN_CONTINUE))
				return CHAIN_TAKES_MORE;
			if (moved) {
				if (!of->next[RINGSTEP_CHAIN_SHORT])
					return CHAIN_TAKES_MORE;
				outcome = RINGSTEP_CHAIN_SHORT;
			} else {
				if (!of->next[RINGSTEP_CHAIN_END])
					return CHAIN_TAKES_MORE;
				outcome = RINGSTEP_CHAIN_END;
			}
		}
	}
	if (!of->next[RINGSTEP_CHAIN_SUCCESS] && outcome == RINGSTEP_CHAIN_SUCCESS)
		return CHAIN_TAKES_MORE;
	chain->values[node] = moved;
	chain_notes_end(at, node, of, fact, true);
	if (!(fact->flags & CHAIN_ALONE))
		chain->running = CHAIN_RUNNING_IN(where) & ~bit;
	return outcome;
}

/*
 * Does a node that is no request. Returns RINGSTEP_CHAIN_SUCCESS, or RINGSTEP_CHAIN_FAILURE for a branch whose condition does not hold and for
 * an allocation from an arena that is full.
 */
static __always_inline __u32 chain_computes(const struct chain_at *at, CHAIN_NODE_ARGUMENT)
{
	struct ringstep_chain_instance *chain = at->chain;
	__u32 outcome = RINGSTEP_CHAIN_SUCCESS;
	__u64 value;

	chain_notes_begin(at, node, of, fact);
	value = chain_computed(at, node, of, fact, 0);
	if (of->kind == RINGSTEP_CHAIN_ALLOCATE) {
		value = (__u64)chain_allocate(at->state, of, value);
		if (value == (__u64)-ENOMEM)
			outcome = RINGSTEP_CHAIN_FAILURE;
	} else if (of->kind == RINGSTEP_CHAIN_COMPUTE) {
		chain->values[of->ops[0].to & (RINGSTEP_CHAIN_VALUES - 1)] = (__s64)value;
	} else if (of->kind == RINGSTEP_CHAIN_BRANCH && !value) {
		outcome = RINGSTEP_CHAIN_FAILURE;
	}
	chain->values[node] = (__s64)value;
	chain_notes_end(at, node, of, fact, outcome == RINGSTEP_CHAIN_SUCCESS);
	if (of->kind == RINGSTEP_CHAIN_FINISH) {
		chain->code = (__s64)value;
		if (fact->flags & CHAIN_ALONE)
			chain->running = 0;
		chain_end(chain, RINGSTEP_CHAIN_COMPLETED, node, 0);
	}
	return outcome;
}

/* Fills in a field of the SQE. */
static __always_inline void chain_fills_in(const struct chain_at *at, CHAIN_NODE_ARGUMENT, __u32 which)
{
	const struct ringstep_chain_op *op = &of->ops[which];
	__u64 value;

	if (which >= of->op_count)
		return;
	if (op->target == RINGSTEP_CHAIN_TO_LENGTH) {
		at->sqe->len = (__u32)at->chain->nodes[node].wanted;
		return;
	}
	value = chain_computed(at, node, of, fact, which);
	if (op->target == RINGSTEP_CHAIN_TO_FIELD8)
		((__u64 *)at->sqe)[op->to >> 3 & 7] = value;
	else if (op->target == RINGSTEP_CHAIN_TO_OFFSET)
		((__u64 *)at->sqe)[op->to >> 3 & 7] = value == ~0ULL ? ~1ULL : value;
	else if (op->target == RINGSTEP_CHAIN_TO_VALUE)
		at->chain->values[op->to & (RINGSTEP_CHAIN_VALUES - 1)] = (__s64)value;
	else
		((__u32 *)at->sqe)[op->to >> 2 & 15] = chain_file(op->target, (__s64)value);
}

/* Begins the request of a node, which takes the place of the completed one among those in flight. */
static __always_inline enum chain_straight chain_begins(const struct chain_at *at, CHAIN_NODE_ARGUMENT)
{
	struct ringstep_chain_instance *chain = at->chain;
	__u64 *const words = (__u64 *)at->sqe;

	/* Chains in the lists must not wait forever. */
	if (at->crowded)
		return chain_leave(at, node, CHAIN_REST_BEGINS);
	if (of->flags & RINGSTEP_CHAIN_FED_LENGTH) {
		const __u64 length = chain_computed(at, node, of, fact, 0);

		if (length > RINGSTEP_CHAIN_LARGEST)
			return chain_leave(at, node, CHAIN_REST_BEGINS);
		chain->nodes[node].wanted = length;
	} else if (of->flags & RINGSTEP_CHAIN_TRANSFER) {
		chain->nodes[node].wanted = chain_length(of);
	}
	if (of->flags & RINGSTEP_CHAIN_CONTINUE)
		chain->values[node] = 0;
	chain_notes_begin(at, node, of, fact);
	if (fact->flags & CHAIN_ALONE)
		chain->running = 1U << node;
	else
		chain->running |= 1U << node;
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		if (i == 4)
			words[i] = chain->data | ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, node);
		else
			words[i] = fact->sqe_from_state & 1U << i ? chain_in_state(at, node)->sqe[i] : of->sqe[i];
	}
#pragma GCC unroll 8
	for (__u32 i = 0; i < RINGSTEP_CHAIN_OPS; i++)
		chain_fills_in(at, node, of, fact, i);
	return CHAIN_SUBMITS;
}

/* Returns true if something else than the nodes keeps the chain from ending now. */
static __always_inline bool chain_is_held(const struct chain_at *at, __u32 flags)
{
	const struct ringstep_chain_instance *chain = at->chain;

	if (!(flags & CHAIN_ALONE) && (chain->running | chain->cancel))
		return true;
	return chain->armed | chain->taken_back;
}

/* Ends a path. The chain ends with it, if nothing keeps it from that. */
static __always_inline enum chain_straight chain_is_over(const struct chain_at *at, __u32 flags)
{
	if (chain_is_held(at, flags))
		return chain_leave(at, 0, CHAIN_REST_OVER);
	chain_hand_back(at->state, at->chain, chain_slot(at), RINGSTEP_REQUESTS_IN_FLIGHT + RINGSTEP_REQUESTS_WAITING);
	return CHAIN_DONE;
}

/* Ends a path that one clean-up node is left of. Returns true if that node begins now. */
static __always_inline bool chain_cleans_up(const struct chain_at *at, __u32 flags)
{
	if (chain_is_held(at, flags))
		return false;
	*chain_where(at->chain) = CHAIN_UNLISTED(RINGSTEP_CHAIN_CLEANING, 0);
	at->chain->cleanup = 0;
	return true;
}

/* The generated source defines these. */
static const struct ringstep_chain_graph chain_graph;
static __always_inline enum chain_straight chain_straight(const struct chain_at *at, const struct io_uring_cqe *cqe);
static __always_inline enum chain_straight chain_starts(const struct chain_at *at);

/*
 * Starts new chains straight from their messages, as long as no chain waits in a list, none is cancelled, and each begins with a request that is
 * ready-made. Chains for which there are no places in flight stay in the inbox. Returns true if there is nothing else to receive or to do now.
 */
static __always_inline bool chain_starts_from_messages(struct ringstep_turn *turn, struct CHAIN *state, bool *again)
{
	const __u32 depth = ringstep_load(&state->depth);
	const __u32 places = depth - ringstep_requests_in_flight(state->requests.counts);
	const bool complete = places == 0 && depth != 0;
	__u32 received, space, most = RINGSTEP_REQUESTS_BATCH_IN;
	struct chain_at at = {.state = state};
	__u64 identity;
	__s64 limit;

	/* A chain that is cancelled already must not begin. */
	if (!chain_graph.first || ringstep_requests_has_cancel(state) ||
	    (state->work[RINGSTEP_CHAIN_URGENT].count | state->work[RINGSTEP_CHAIN_UNDER_WAY].count |
	     state->work[RINGSTEP_CHAIN_NEW].count))
		return false;
	*again = false;
	if (complete)
		return true;
	space = ringstep__sq_room(turn);
	if (!space)
		return false;
	received = ringstep_requests_received(state);
	identity = state->requests.identity;
	most = space < most ? space : most;
	most = (__s32)places < (__s32)most ? places : most;
	limit = ringstep_limit((__s32)most > 0 ? most : 0);
	ringstep_while_at_most (limit, true) {
		const __u64 entry = ringstep_load(&state->inbox[received & ringstep_mask(state->inbox)]);

		at.user_data = entry >> 32 & CHAIN_INSTANCE;
		at.chain = &state->instances[at.user_data];
		if ((__u32)entry != received + 1 || (entry >> 32 & RINGSTEP_REQUEST_CANCEL) ||
		    (at.chain->timeout.seconds | at.chain->timeout.nanoseconds))
			break;
		received++;
		at.chain->data = identity | at.chain->identity;
		*chain_where(at.chain) = CHAIN_UNLISTED(RINGSTEP_CHAIN_RUNNING, 0);
		at.sqe = ringstep__sqe_at_cursor(turn);
		turn->sq_at = ringstep__forget(turn->sq_at + 1);
		chain_starts(&at);
	}
	ringstep__requests_count(&state->requests, (__u64)(received - state->mailbox.received) *
							   (RINGSTEP_REQUESTS_IN_FLIGHT + RINGSTEP_REQUESTS_WAITING));
	state->mailbox.received = received;
	*again = ringstep_requests_in_flight(state->requests.counts) < depth;
	return ringstep_limit_reached(limit) && state->requests.counts;
}

static __always_inline int chain_take_turn(struct ringstep_turn *turn, struct CHAIN *state)
{
	__s64 messages = ringstep_limit(RINGSTEP_REQUESTS_BATCH_IN), work = ringstep_limit(CHAIN_WORK_BATCH);
	struct chain_at at = {.state = state};
	struct io_uring_cqe *cqe;
	__u32 message = 0, list;
	bool straight, again;

	ringstep_requests_begin(state);
	at.crowded = state->work[RINGSTEP_CHAIN_UNDER_WAY].count ||
		     ringstep_requests_in_flight(state->requests.counts) > ringstep_load(&state->depth);
	ringstep__for_each_cqe_submitting(turn, cqe)
	{
		enum chain_straight way = CHAIN_OTHERWISE;

		if (chain_find(&at, cqe) && ringstep_sq_has_room(turn)) {
			/* Otherwise the verifier of Linux 6.12 would keep apart whether somebody has looked at the cursor. */
			turn->sq_at = ringstep__forget(turn->sq_at);
			at.sqe = ringstep__sqe_at_cursor(turn);
			way = chain_straight(&at, cqe);
		}
		if (way == CHAIN_SUBMITS) {
			turn->sq_at = ringstep__forget(turn->sq_at + 1);
		} else if (way == CHAIN_OTHERWISE) {
			ringstep__walk_count(turn, cqe);
			chain_completed_otherwise(state, cqe->user_data, cqe->res, cqe->flags);
		}
	}

	straight = chain_starts_from_messages(turn, state, &again);
	if (straight)
		goto end;
	ringstep_while_at_most (messages, ringstep_mailbox_receive(&state->mailbox, state->inbox, &message))
		chain_received(state, message);

	ringstep_while_at_most (work, (list = chain_next_list(state)) != 0) {
		if (chain_work(state, list, ringstep_next_sqe(turn)))
			ringstep_claim_sqe(turn);
	}
	again = ringstep_limit_reached(messages) || ringstep_limit_reached(work);
end:
	return ringstep_requests_end_leaving(turn, state, 1, again, straight);
}

#endif /* RINGSTEP_CHAIN_COMPILED_BPF_H */
