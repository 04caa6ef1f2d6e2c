/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The values of chains: the operations that compute them, the fields of SQEs that they fill in, and memory from arenas.
 */
#ifndef RINGSTEP_CHAIN_VALUES_BPF_H
#define RINGSTEP_CHAIN_VALUES_BPF_H

#include <ringstep/loop.bpf.h>

#include <ringstep/c/loops/chain.h>

#include <linux/errno.h>

/* Masks of the numbers of instances and graphs. CHAIN is the name of the state. */
#define CHAIN_INSTANCE (sizeof(((struct CHAIN *)0)->instances) / sizeof(struct ringstep_chain_instance) - 1)
#define CHAIN_GRAPH (sizeof(((struct CHAIN *)0)->graphs) / sizeof(struct ringstep_chain_graph) - 1)
#define CHAIN_NODE RINGSTEP_CHAIN_NODES /* as a mask */

/* Returns the result of an operation on values of the chain. */
static __always_inline __u64 chain_operate(const struct ringstep_chain_instance *chain, const struct ringstep_chain_op *op)
{
	const __s64 x = chain->values[op->x & (RINGSTEP_CHAIN_VALUES - 1)];
	const __s64 y = op->constant_y ? (__s64)op->constant : chain->values[op->y & (RINGSTEP_CHAIN_VALUES - 1)];
	__u64 loaded;

	switch (op->operation) {
	case RINGSTEP_CHAIN_ADD:
		return (__u64)x + (__u64)y;
	case RINGSTEP_CHAIN_SUB:
		return (__u64)x - (__u64)y;
	case RINGSTEP_CHAIN_MIN:
		return (__u64)(x < y ? x : y);
	case RINGSTEP_CHAIN_MAX:
		return (__u64)(x > y ? x : y);
	case RINGSTEP_CHAIN_LESS:
		return x < y;
	case RINGSTEP_CHAIN_EQUAL:
		return x == y;
	case RINGSTEP_CHAIN_MULTIPLY:
		return (__u64)x * (__u64)y;
	case RINGSTEP_CHAIN_AND:
		return (__u64)x & (__u64)y;
	case RINGSTEP_CHAIN_SHIFT_RIGHT:
		return (__u64)x >> (y & 63);
	case RINGSTEP_CHAIN_LOAD:
		__builtin_memcpy(&loaded, &chain->scratch[(__u64)y & (RINGSTEP_CHAIN_SCRATCH - 1)], sizeof(loaded));
		return op->bytes < 8 ? loaded & ((1ULL << (op->bytes & 7) * 8) - 1) : loaded;
	default:
		return 0;
	}
}

/* Converts a computed number to the value of an SQE's file field. An invalid number becomes a value that the kernel refuses. */
static __always_inline __u32 chain_file(__u32 target, __s64 value)
{
	const bool fits = value >= 0 && value <= 0x7fffffff;

	switch (target) {
	case RINGSTEP_CHAIN_TO_FILE:
		return fits ? (__u32)value : ~0U;
	case RINGSTEP_CHAIN_TO_DIRECTORY:
		return value == (__s32)value ? (__u32)value : ~0U;
	case RINGSTEP_CHAIN_TO_NEW_FILE_INDEX:
		if (value == ~0U)
			return ~0U; /* IORING_FILE_INDEX_ALLOC */
		__attribute__((fallthrough));
	case RINGSTEP_CHAIN_TO_FILE_INDEX:
		return fits && value <= RINGSTEP_CHAIN_LAST_SLOT ? (__u32)value + 1 : RINGSTEP_CHAIN_LAST_SLOT + 1;
	default:
		return (__u32)value;
	}
}

/* Runs a node's operations, which set values and fields of an SQE. Returns the result of the last operation. */
ringstep_apart __u64 chain_apply(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 node,
				 struct io_uring_sqe *sqe ringstep_arg_nonnull)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node & CHAIN_NODE];
	const __u32 count = of->op_count;
	__s64 limit = ringstep_limit(count < RINGSTEP_CHAIN_OPS ? count : RINGSTEP_CHAIN_OPS);
	__u32 at = (__u32)ringstep_limit(0);
	__u64 value = 0;

	ringstep_while_at_most (limit, true) {
		const struct ringstep_chain_op *op = &of->ops[at & (RINGSTEP_CHAIN_OPS - 1)];
		const __u32 to = op->to;

		at++;
		value = chain_operate(chain, op);
		if (op->target == RINGSTEP_CHAIN_TO_VALUE)
			chain->values[to & (RINGSTEP_CHAIN_VALUES - 1)] = (__s64)value;
		else if (op->target == RINGSTEP_CHAIN_TO_FIELD8)
			((__u64 *)sqe)[to >> 3 & 7] = value;
		else if (op->target == RINGSTEP_CHAIN_TO_LENGTH)
			state->wanted = value;
		else if (op->target == RINGSTEP_CHAIN_TO_OFFSET)
			((__u64 *)sqe)[to >> 3 & 7] = value == ~0ULL ? ~1ULL : value;
		else
			((__u32 *)sqe)[to >> 2 & 15] = chain_file(op->target, (__s64)value);
	}
	return value;
}

/* Returns the result of one of a node's operations. Out of line, because few operations are anything but a sum with a constant. */
ringstep_apart __u64 chain_operation(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 node, __u32 which)
{
	const struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node & CHAIN_NODE];

	return chain_operate(chain, &of->ops[which & (RINGSTEP_CHAIN_OPS - 1)]);
}

static __always_inline __u64 chain_value(struct CHAIN *state, const struct ringstep_chain_instance *chain,
					 const struct ringstep_chain_node *of, __u32 slot, __u32 node, __u32 which)
{
	const struct ringstep_chain_op *op = &of->ops[which];

	if (likely(op->plain))
		return (__u64)chain->values[op->x & (RINGSTEP_CHAIN_VALUES - 1)] + op->constant;
	return chain_operation(state, slot, node, which);
}

/*
 * Does one of a ready-made request's operations. Its length is known by now, if that is fed. The pointers are handed over, because the
 * compiler would compute them anew after each store.
 */
static __always_inline void chain_fill_in(struct CHAIN *state, struct ringstep_chain_instance *chain,
					  const struct ringstep_chain_node *of, __u32 slot, __u32 node,
					  struct io_uring_sqe *sqe, __u32 which)
{
	const struct ringstep_chain_op *op = &of->ops[which];
	const __u32 target = op->target, to = op->to;
	__u64 value;

	if (target == RINGSTEP_CHAIN_TO_LENGTH) {
		sqe->len = (__u32)chain->nodes[node].wanted;
		return;
	}
	value = chain_value(state, chain, of, slot, node, which);
	if (target == RINGSTEP_CHAIN_TO_FIELD8)
		((__u64 *)sqe)[to >> 3 & 7] = value;
	else if (target == RINGSTEP_CHAIN_TO_FILE)
		((__u32 *)sqe)[to >> 2 & 15] = value <= 0x7fffffff ? (__u32)value : ~0U;
	else if (target == RINGSTEP_CHAIN_TO_VALUE)
		chain->values[to & (RINGSTEP_CHAIN_VALUES - 1)] = (__s64)value;
	else if (target == RINGSTEP_CHAIN_TO_OFFSET)
		((__u64 *)sqe)[to >> 3 & 7] = value == ~0ULL ? ~1ULL : value;
	else
		((__u32 *)sqe)[to >> 2 & 15] = chain_file(target, (__s64)value);
}

/* Does the operations of a ready-made request from the third on. */
ringstep_apart int chain_fill_more(struct CHAIN *state ringstep_arg_nonnull, __u32 slot, __u32 node,
				   struct io_uring_sqe *sqe ringstep_arg_nonnull)
{
	struct ringstep_chain_instance *chain = &state->instances[slot & CHAIN_INSTANCE];
	const struct ringstep_chain_node *of = &state->graphs[chain->graph & CHAIN_GRAPH].nodes[node & CHAIN_NODE];
	const __u32 count = of->op_count;
	__s64 limit = ringstep_limit(RINGSTEP_CHAIN_OPS - 2);
	__u32 at = (__u32)ringstep_limit(2);

	ringstep_while_at_most (limit, at < count) {
		chain_fill_in(state, chain, of, slot & CHAIN_INSTANCE, node & CHAIN_NODE, sqe, at & (RINGSTEP_CHAIN_OPS - 1));
		at++;
	}
	return 0;
}

/* Allocates `size` bytes from the arena of an ALLOCATE node. Returns their address, which has the node's alignment, or -ENOMEM. */
static __always_inline __s64 chain_allocate(struct CHAIN *state, const struct ringstep_chain_node *of, __u64 size)
{
	struct ringstep_chain_arena *arena = &state->arenas[of->sqe[0] & (RINGSTEP_CHAIN_ARENAS - 1)];
	const __u64 used = arena->used;
	const __u64 left_out = -(arena->address + used) & of->sqe[1];

	if (used > arena->size || left_out > arena->size - used || size > arena->size - used - left_out)
		return -ENOMEM;
	ringstep_store(&arena->used, used + left_out + size); /* another thread may read it */
	return (__s64)(arena->address + used + left_out);
}

#endif /* RINGSTEP_CHAIN_VALUES_BPF_H */
