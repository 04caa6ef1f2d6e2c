/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the steps of all loops that run graphs of requests have in common: the work of chains, one piece after the other.
 *
 * A chain that has work to do is in one of three lists. The step takes one piece of work after the other from the lists: a request to
 * begin, a computation, a cancellation, or a timeout to set or to remove. So the step never walks over nodes inside a walk over chains,
 * which the verifier would have to follow. A piece of work fills in the next free SQE, and the step claims that SQE only if there is
 * something to submit.
 *
 * The file that includes this one defines CHAIN, which is the name of the loop's state.
 */
#ifndef RINGSTEP_CHAIN_WORK_BPF_H
#define RINGSTEP_CHAIN_WORK_BPF_H

#include <ringstep/loop.bpf.h>
#include <ringstep/requests.bpf.h>

#include <ringstep/c/loops/chain.h>
#include <ringstep/c/result.h>

#include <linux/errno.h>

#include <ringstep/chain/values.bpf.h>

/* The most pieces of work, and the most messages, in one turn. */
#define CHAIN_WORK_BATCH 2048

#define CHAIN_ENDLESS 0x7fffffffffffffffULL

/* The bits of user_data that differ between the requests of a chain. */
#define CHAIN_KIND_AND_NODE                                                                                                    \
	(3ULL << RINGSTEP_IDENTITY_KIND_SHIFT | (__u64)RINGSTEP_IDENTITY_PART << RINGSTEP_IDENTITY_PART_SHIFT)

static __always_inline __u64 chain_data(const struct ringstep_chain_instance *chain, enum ringstep_identity_kind kind,
					__u32 node)
{
	return chain->data | ringstep_identity_of_part(kind, node);
}

static __always_inline __u32 chain_lowest(__u32 bits)
{
	__u32 lowest = (__u32)__builtin_ctz(bits);

	barrier_var(lowest); /* otherwise the compiler, which knows that it is less than 32, would leave the mask out */
	return lowest & CHAIN_NODE;
}

/* Returns non-zero if the chain has requests to submit that do not belong to a node: cancellations and timeouts. */
static __always_inline __u32 chain_helpers(const struct ringstep_chain_instance *chain)
{
	return chain->cancel | (chain->arm & ~chain->taken_back) | chain->disarm;
}

/* Returns true if the chain's work is done regardless of the depth, because it adds no request that stays in flight for long. */
static __always_inline bool chain_urgent(const struct ringstep_chain_instance *chain)
{
	return chain_helpers(chain) || !chain->ready;
}

/*
 * Puts a chain that has work to do into the list for it. Chains in progress come before new ones, so that each gives back the files and
 * memory that it has before new ones take more. Urgent work has a list of its own, so that work that waits for completions does not
 * hold it up.
 */
static __always_inline void chain_enlist(struct CHAIN *state, __u32 slot)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	__u32 list = chain->ended | chain->running ? RINGSTEP_CHAIN_UNDER_WAY : RINGSTEP_CHAIN_NEW;

	if (chain_urgent(chain))
		list = RINGSTEP_CHAIN_URGENT;
	if (chain->listed) {
		if (chain->listed == list || (list != RINGSTEP_CHAIN_URGENT && chain->listed != RINGSTEP_CHAIN_URGENT))
			return;
		ringstep_list_remove(&state->work[chain->listed & 3], state->instances, slot);
	}
	ringstep_list_push_back(&state->work[list & 3], state->instances, slot);
	chain->listed = list;
}

static __always_inline void chain_end(struct ringstep_chain_instance *chain, enum ringstep_chain_reason reason, __u32 node,
				      __s32 error)
{
	if (chain->phase == RINGSTEP_CHAIN_ENDING)
		return;
	if (chain->phase == RINGSTEP_CHAIN_CLEANING) {
		/* Clean-up continues. Its error counts only if the chain had completed before. */
		if (reason != RINGSTEP_CHAIN_FAILED || chain->reason != RINGSTEP_CHAIN_COMPLETED)
			return;
	} else {
		chain->phase = RINGSTEP_CHAIN_ENDING;
		chain->ready = 0;
		chain->continuing = 0;
		chain->arm = 0;
		chain->cancel = chain->running;
	}
	chain->reason = reason;
	chain->node = node;
	chain->error = error;
}

/* Makes the nodes in `arriving` ready, which the edges of an ended node lead to, once enough edges have arrived. */
ringstep_apart int chain_arrive(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 arriving)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_graph *graph = &state->graphs[chain->graph & CHAIN_GRAPH];

	/* Each iteration clears a bit of a local variable. */
	ringstep_while (arriving) {
		const __u32 node = chain_lowest(arriving);
		const __u32 bit = 1U << node;
		const struct ringstep_chain_node *to = &graph->nodes[node];
		struct ringstep_chain_progress *progress = &chain->nodes[node];

		arriving &= arriving - 1;
		if (++progress->arrivals < to->join)
			continue;
		progress->arrivals = 0;
		if ((chain->ready | chain->running) & bit)
			chain_end(chain, RINGSTEP_CHAIN_FAILED, node, EBUSY);
		else if (progress->runs && progress->runs >= to->limit)
			chain_end(chain, RINGSTEP_CHAIN_FAILED, node, ELOOP);
		else
			chain->ready |= bit;
		if (chain->phase == RINGSTEP_CHAIN_ENDING)
			break;
	}
	return 0;
}

/* Ends a node with its final outcome. */
static __always_inline void chain_node_ended(struct CHAIN *state, __u32 slot, __u32 node, enum ringstep_chain_outcome outcome,
					     __s32 error)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node];
	__u32 arriving;

	chain->ended |= 1U << node;
	if (outcome != RINGSTEP_CHAIN_FAILURE)
		chain->cleanup |= of->cleanup;
	if (chain->phase == RINGSTEP_CHAIN_ENDING)
		return;
	arriving = of->edges[outcome & 3];
	if (arriving)
		chain_arrive(state, slot, arriving);
	else if (error && !(of->flags & RINGSTEP_CHAIN_MAY_FAIL))
		chain_end(chain, RINGSTEP_CHAIN_FAILED, node, error);
}

/* Handles the completion of a node's request. */
static __always_inline void chain_node_completed(struct CHAIN *state, __u32 slot, __u32 node, __s32 result, __u32 flags)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node];
	struct ringstep_chain_progress *progress = &chain->nodes[node];
	const __u32 bit = 1U << node;
	const bool goes_on = chain->phase != RINGSTEP_CHAIN_ENDING;
	enum ringstep_chain_outcome outcome = RINGSTEP_CHAIN_SUCCESS;
	__s64 before = 0;

	if (flags & IORING_CQE_F_MORE) { /* a zero-copy send: the buffer is still in use */
		chain->values[node] = result;
		return;
	}
	if (flags & IORING_CQE_F_NOTIF)
		result = (__s32)chain->values[node];
	chain->running &= ~bit;
	chain->cancel &= ~bit;
	chain->arm &= ~bit;
	chain->disarm |= chain->armed & bit;
	chain->taken_back |= chain->armed & bit;
	chain->armed &= ~bit;
	ringstep__requests_count(&state->requests, -RINGSTEP_REQUESTS_IN_FLIGHT);

	if (of->flags & RINGSTEP_CHAIN_CONTINUE)
		before = chain->values[node];
	if (result == -ETIME && (of->flags & RINGSTEP_CHAIN_TIME_IS_SUCCESS))
		result = 0;
	if (result < 0) {
		if ((chain->late & bit) && (result == -ECANCELED || result == -EINTR)) {
			result = chain->unguarded & bit ? -chain->guard_error : -ETIME;
		} else if ((result == -EAGAIN || result == -EINTR) && goes_on && progress->tries < of->tries) {
			progress->tries++;
			chain->continuing |= bit;
			chain->ready |= bit;
			chain_enlist(state, slot);
			return;
		}
		outcome = RINGSTEP_CHAIN_FAILURE;
		chain->values[node] = result;
	} else {
		chain->values[node] = before + result;
		if ((of->flags & RINGSTEP_CHAIN_TRANSFER) && (__u64)(before + result) < progress->wanted) {
			outcome = before + result ? RINGSTEP_CHAIN_SHORT : RINGSTEP_CHAIN_END;
			if (result && goes_on && (of->flags & RINGSTEP_CHAIN_CONTINUE)) {
				chain->continuing |= bit;
				chain->ready |= bit;
				chain_enlist(state, slot);
				return;
			}
			if (of->flags & RINGSTEP_CHAIN_NEEDS_ALL) {
				/* The node's value stays the number of bytes moved. Without an edge for a short result, the node fails. */
				if (!of->edges[outcome & 3])
					outcome = RINGSTEP_CHAIN_FAILURE;
				result = -EIO;
			}
		}
	}
	chain_node_ended(state, slot, node, outcome, ringstep_error_of(result));
	chain_enlist(state, slot);
}

/*
 * Handles the completion of a timeout. Its time is over, or it could not be set, or a request that cancels everything has cancelled it. In
 * each case, the node or chain that it guards must not continue without it.
 */
static __always_inline void chain_timed_out(struct CHAIN *state, __u32 slot, __u32 node, __s32 result)
{
	const bool lost = result < 0 && result != -ETIME;
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const __u32 bit = 1U << node;

	/* A timeout that was taken back has gone. If its node has been submitted again, it may have another one now. */
	if (chain->taken_back & bit) {
		chain->taken_back &= ~bit;
		if (chain->arm & bit)
			chain_enlist(state, slot);
		return;
	}
	if (!(chain->armed & bit))
		return;
	chain->armed &= ~bit;
	if (node == RINGSTEP_CHAIN_WHOLE_CHAIN) {
		if (lost)
			chain_end(chain, RINGSTEP_CHAIN_FAILED, RINGSTEP_CHAIN_WHOLE_CHAIN, ringstep_error_of(result));
		else
			chain_end(chain, RINGSTEP_CHAIN_TIMED_OUT, 0, ETIME);
	} else {
		chain->late |= bit;
		if (lost) {
			chain->unguarded |= bit;
			chain->guard_error = ringstep_error_of(result);
		}
		chain->cancel |= chain->running & bit;
	}
	chain_enlist(state, slot);
}

/* Runs a node that is not a request, and ends it at once. */
static __always_inline void chain_compute(struct CHAIN *state, __u32 slot, __u32 node, const struct ringstep_chain_node *of)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	enum ringstep_chain_outcome outcome = RINGSTEP_CHAIN_SUCCESS;
	const __u64 value = chain_apply(state, slot, node, (struct io_uring_sqe *)state->sqe);
	__s32 error = 0;

	chain->values[node] = (__s64)value;
	if (of->kind == RINGSTEP_CHAIN_ALLOCATE) {
		chain->values[node] = chain_allocate(state, of, value);
		if (chain->values[node] == -ENOMEM)
			error = ENOMEM;
	} else if (of->kind == RINGSTEP_CHAIN_FINISH) {
		chain->ended |= 1U << node;
		chain->cleanup |= of->cleanup;
		chain->code = (__s64)value;
		chain_end(chain, RINGSTEP_CHAIN_COMPLETED, node, 0);
		return;
	}
	if (error || (of->kind == RINGSTEP_CHAIN_BRANCH && !value))
		outcome = RINGSTEP_CHAIN_FAILURE;
	chain_node_ended(state, slot, node, outcome, error);
}

/* Copies the request of a node that begins to an SQE, without the values that operations compute. */
static __always_inline void chain_copy(struct ringstep_chain_instance *chain, const struct ringstep_chain_node *of, __u32 node,
				       struct io_uring_sqe *sqe)
{
	chain->nodes[node].runs++;
	chain->nodes[node].tries = 0;
	ringstep_prep_copy(sqe, of->sqe, chain_data(chain, RINGSTEP_IDENTITY_REQUEST, node));
}

/* Makes the request of a node that begins, in an SQE. The builder must have marked it as ready-made. */
static __always_inline void chain_fill(struct CHAIN *state, struct ringstep_chain_instance *chain,
				       const struct ringstep_chain_node *of, __u32 slot, __u32 node, struct io_uring_sqe *sqe)
{
	const __u32 count = of->op_count, flags = of->flags;

	chain_copy(chain, of, node, sqe);
	if (flags & RINGSTEP_CHAIN_TRANSFER) {
		if (!(flags & RINGSTEP_CHAIN_FED_LENGTH))
			chain->nodes[node].wanted = ((const struct io_uring_sqe *)of->sqe)->len;
		if (flags & RINGSTEP_CHAIN_CONTINUE)
			chain->values[node] = 0;
	}
	if (!count)
		return;
	chain_fill_in(state, chain, of, slot, node, sqe, 0);
	if (count == 1)
		return;
	chain_fill_in(state, chain, of, slot, node, sqe, 1);
	if (count == 2)
		return;
	chain_fill_more(state, slot, node, sqe);
}

/* Returns true if a ready-made request can be made as it is. Computes its length, if that is fed. */
static __always_inline bool chain_fits(struct CHAIN *state, struct ringstep_chain_instance *chain,
				       const struct ringstep_chain_node *of, __u32 slot, __u32 node)
{
	__u64 length;

	if (!(of->flags & RINGSTEP_CHAIN_FED_LENGTH))
		return true;
	length = chain_value(state, chain, of, slot, node, 0);
	chain->nodes[node].wanted = length;
	return length <= RINGSTEP_CHAIN_LARGEST;
}

/* Hands a chain that has ended to the application. `counts`: what the chain counts for in the counts of requests. */
static __always_inline void chain_hand_back(struct CHAIN *state, struct ringstep_chain_instance *chain, __u32 slot,
					    __u64 counts)
{
	chain->phase = RINGSTEP_CHAIN_OUTSIDE;
	chain->data = 0; /* later completions do not belong to the slot, which is now the application's */
	ringstep__requests_count(&state->requests, -counts);
	ringstep_mailbox_deliver(&state->mailbox, state->outbox, slot);
}

/* Handles a completion that needs more than chain_completed() does, and puts the chain into a list if there is more to do for it. */
ringstep_apart int chain_completed_otherwise(struct CHAIN *state ringstep_arg_nonnull, __u64 user_data, __s32 result,
					     __u32 flags)
{
	const __u32 slot = user_data & CHAIN_INSTANCE;
	const __u32 node = user_data >> RINGSTEP_IDENTITY_PART_SHIFT & CHAIN_NODE;
	const __u32 kind = ringstep_identity_kind_of(user_data);
	struct ringstep_chain_instance *chain = &state->instances[slot];
	const bool current = (user_data & ~CHAIN_KIND_AND_NODE) == chain->data;

	if (kind == RINGSTEP_IDENTITY_REQUEST && current && (chain->running & 1U << node)) {
		chain_node_completed(state, slot, node, result, flags);
	} else {
		ringstep__request_foreign(&state->requests, user_data);
		if (kind == RINGSTEP_IDENTITY_TIMEOUT && current)
			chain_timed_out(state, slot, node, result);
	}
	return 0;
}

/* Prepares a node to begin or to continue. Returns true if the SQE is to be submitted. */
static __always_inline bool chain_begin(struct CHAIN *state, __u32 slot, __u32 node, struct io_uring_sqe *to)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node];
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)state->sqe;
	const __u32 bit = 1U << node;
	__u64 done = 0;

	if (chain->continuing & bit) {
		chain->continuing &= ~bit;
		done = of->flags & RINGSTEP_CHAIN_CONTINUE ? (__u64)chain->values[node] : 0;
	} else if ((of->flags & RINGSTEP_CHAIN_READY_MADE) && chain_fits(state, chain, of, slot, node)) {
		chain->running |= bit;
		ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_IN_FLIGHT);
		chain_fill(state, chain, of, slot, node, to);
		return true;
	} else {
		chain->nodes[node].runs++;
		chain->nodes[node].tries = 0;
		if (of->flags & RINGSTEP_CHAIN_CONTINUE)
			chain->values[node] = 0;
	}
	chain->late &= ~bit;
	chain->unguarded &= ~bit;
	if (of->timeout.seconds < 0) {
		chain->values[node] = -ETIME;
		chain_node_ended(state, slot, node, RINGSTEP_CHAIN_FAILURE, ETIME);
		return false;
	}
	if (of->kind != RINGSTEP_CHAIN_REQUEST) {
		chain_compute(state, slot, node, of);
		return false;
	}
	ringstep_prep_copy(sqe, of->sqe, chain_data(chain, RINGSTEP_IDENTITY_REQUEST, node));
	state->wanted = sqe->len;
	chain_apply(state, slot, node, (struct io_uring_sqe *)state->sqe);
	if (state->wanted < done || state->wanted > (of->flags & RINGSTEP_CHAIN_TRANSFER ? CHAIN_ENDLESS : 0xffffffff)) {
		/* The length is negative or does not fit into its field. */
		chain->values[node] = -EOVERFLOW;
		chain_node_ended(state, slot, node, RINGSTEP_CHAIN_FAILURE, EOVERFLOW);
		return false;
	}
	if (of->flags & RINGSTEP_CHAIN_TRANSFER) {
		__u64 left = state->wanted - done;

		chain->nodes[node].wanted = state->wanted;
		sqe->addr += done;
		if ((of->flags & RINGSTEP_CHAIN_HAS_OFFSET) && sqe->off != ~0ULL)
			sqe->off += done;
		if (left > RINGSTEP_CHAIN_LARGEST)
			left = RINGSTEP_CHAIN_LARGEST;
		sqe->len = (__u32)left;
	} else {
		sqe->len = (__u32)state->wanted;
	}
	chain->running |= bit;
	if (of->timeout.seconds | of->timeout.nanoseconds)
		chain->arm |= bit;
	ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_IN_FLIGHT);
	ringstep_prep_copy(to, state->sqe, state->sqe[4]);
	return true;
}

static __always_inline void chain_do_urgent(struct CHAIN *state, __u32 slot)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)state->sqe;
	const __u32 arm = chain->arm & ~chain->taken_back;
	__u32 node;

	if (arm) {
		/* Computed from numbers, because the compiler may swap the pointers of a subtraction, which the verifier then refuses. */
		__u64 timeout = offsetof(struct CHAIN, instances) + slot * sizeof(*chain) +
				offsetof(struct ringstep_chain_instance, timeout);

		node = chain_lowest(arm);
		chain->arm &= ~(1U << node);
		chain->armed |= 1U << node;
		if (node != RINGSTEP_CHAIN_WHOLE_CHAIN)
			timeout = offsetof(struct CHAIN, graphs) +
				  (chain->graph & CHAIN_GRAPH) * sizeof(struct ringstep_chain_graph) +
				  offsetof(struct ringstep_chain_graph, nodes) + node * sizeof(struct ringstep_chain_node) +
				  offsetof(struct ringstep_chain_node, timeout);
		ringstep_prep_timeout(sqe, state->address + timeout, 0, 0);
		sqe->user_data = chain_data(chain, RINGSTEP_IDENTITY_TIMEOUT, node);
	} else if (chain->cancel) {
		node = chain_lowest(chain->cancel);
		chain->cancel &= chain->cancel - 1;
		ringstep_prep_cancel64(sqe, chain_data(chain, RINGSTEP_IDENTITY_REQUEST, node), 0);
		sqe->user_data = chain_data(chain, RINGSTEP_IDENTITY_HELPER, node);
	} else {
		node = chain_lowest(chain->disarm);
		chain->disarm &= chain->disarm - 1;
		ringstep_prep_timeout_remove(sqe, chain_data(chain, RINGSTEP_IDENTITY_TIMEOUT, node), 0);
		sqe->user_data = chain_data(chain, RINGSTEP_IDENTITY_HELPER, node);
	}
	state->requests.cancels++;
	if (!chain_urgent(chain))
		chain_enlist(state, slot);
}

/* Handles a chain that has no node left to begin. If it has no request in flight either, the chain cleans up and then ends. */
static __always_inline void chain_settle(struct CHAIN *state, __u32 slot)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];

	ringstep_list_remove(&state->work[chain->listed & 3], state->instances, slot);
	chain->listed = 0;
	if (chain->running)
		return;
	if (chain->cleanup) {
		chain->phase = RINGSTEP_CHAIN_CLEANING;
		chain->ready = chain->cleanup;
		chain->cleanup = 0;
		chain_enlist(state, slot);
	} else if (chain->armed) {
		chain->disarm |= chain->armed;
		chain->taken_back |= chain->armed;
		chain->armed = 0;
		chain_enlist(state, slot);
	} else {
		chain_hand_back(state, chain, slot, RINGSTEP_REQUESTS_WAITING);
	}
}

/* Does one piece of work of the first chain in a list. Returns true if the SQE is to be submitted. */
ringstep_apart int chain_work(struct CHAIN *state ringstep_arg_nonnull, __u32 list,
			      struct io_uring_sqe *sqe ringstep_arg_nonnull)
{
	const __u32 slot = ringstep_list_first(&state->work[list & 3], state->instances);
	struct ringstep_chain_instance *chain = &state->instances[slot];
	const struct ringstep_chain_graph *graph = &state->graphs[chain->graph & CHAIN_GRAPH];
	const __u32 ready = chain->ready;
	int submits = false;

	/*
	 * A new chain that begins with a ready-made request has nothing else to do for now. Nothing in this list has timeouts to set. A chain
	 * whose first request is tried again is in it, too.
	 */
	if (list == RINGSTEP_CHAIN_NEW && graph->first && !chain->continuing) {
		const __u32 node = graph->first & CHAIN_NODE;

		ringstep_list_remove(&state->work[RINGSTEP_CHAIN_NEW], state->instances, slot);
		chain->listed = 0;
		chain->ready = 0;
		chain->running = ready;
		ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_IN_FLIGHT);
		chain_fill(state, chain, &graph->nodes[node], slot, node, sqe);
		return true;
	}
	if (chain_helpers(chain)) {
		chain_do_urgent(state, slot);
		ringstep_prep_copy(sqe, state->sqe, state->sqe[4]);
		submits = true;
	} else if (ready) {
		const __u32 node = chain_lowest(ready);

		chain->ready = ready & (ready - 1);
		submits = chain_begin(state, slot, node, sqe);
		/* Its timeout goes next, whatever the depth. */
		if (chain_helpers(chain))
			chain_enlist(state, slot);
	}
	if (!chain_helpers(chain) && !chain->ready)
		chain_settle(state, slot);
	return submits;
}

ringstep_apart int chain_received(struct CHAIN *state ringstep_arg_nonnull, __u32 message)
{
	const __u32 slot = message & CHAIN_INSTANCE;
	struct ringstep_chain_instance *chain = &state->instances[slot];

	if (message & RINGSTEP_REQUEST_CANCEL) {
		state->requests.attempted++;
		/* The slot may belong to the application again, which may fill it in during this turn. */
		if (!ringstep__message_is_for(&chain->identity, message) || chain->phase != RINGSTEP_CHAIN_RUNNING)
			return 0;
		chain_end(chain, RINGSTEP_CHAIN_CANCELLED, 0, ECANCELED);
	} else {
		chain->phase = RINGSTEP_CHAIN_RUNNING;
		chain->data = state->requests.identity | chain->identity;
		chain->ready = state->graphs[chain->graph & CHAIN_GRAPH].roots;
		ringstep__requests_count(&state->requests, RINGSTEP_REQUESTS_WAITING);
		if (likely(!(chain->timeout.seconds | chain->timeout.nanoseconds) && chain->ready)) {
			ringstep_list_push_back(&state->work[RINGSTEP_CHAIN_NEW], state->instances, slot);
			chain->listed = RINGSTEP_CHAIN_NEW;
			return 0;
		}
		if (chain->timeout.seconds < 0)
			chain_end(chain, RINGSTEP_CHAIN_TIMED_OUT, 0, ETIME);
		else
			chain->arm = 1U << RINGSTEP_CHAIN_WHOLE_CHAIN;
	}
	chain_enlist(state, slot);
	return 0;
}

/* Returns the list to take work from, or 0 if no work may be done now. */
static __always_inline __u32 chain_next_list(const struct CHAIN *state)
{
	if (state->work[RINGSTEP_CHAIN_URGENT].count)
		return RINGSTEP_CHAIN_URGENT;
	if (ringstep_requests_in_flight(state->requests.counts) >= ringstep_load(&state->depth))
		return 0;
	if (state->work[RINGSTEP_CHAIN_UNDER_WAY].count)
		return RINGSTEP_CHAIN_UNDER_WAY;
	return state->work[RINGSTEP_CHAIN_NEW].count ? RINGSTEP_CHAIN_NEW : 0;
}

#endif /* RINGSTEP_CHAIN_WORK_BPF_H */
