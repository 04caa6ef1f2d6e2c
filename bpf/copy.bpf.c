// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Copies a file, many blocks at once. Each block has a slot, with one request in flight: it is read in full, then written in full,
 * then the slot takes the next block. So reads and writes of different blocks are under way together, in any order.
 *
 * What is to be copied comes as extents, from a window in the state. An endless one stands for all of a file: reading goes on until
 * a read finds nothing more. Where that happens in several places, because the source shrinks or because blocks beyond its end
 * were tried, the lowest counts.
 *
 * Only bytes of the source are ever written. With O_DIRECT on the output, the last few of them may be less than it can write: they
 * stay in their buffer, and the application writes them in another way (.tail_size).
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/loops/copy.h>

#include <linux/errno.h>

/* What a slot does next. */
enum copy_next {
	COPY_NEXT_NOTHING,
	COPY_NEXT_READ,
	COPY_NEXT_WRITE,
};

static __always_inline void copy_failed(struct ringstep_copy *state, __u64 offset, __u32 error, __u32 operation)
{
	if ((state->over & RINGSTEP_COPY_ERRORED) && state->error_offset <= offset)
		return;
	state->over |= RINGSTEP_COPY_ERRORED;
	state->error_offset = offset;
	state->error = error;
	state->error_operation = operation;
}

static __always_inline void copy_ended(struct ringstep_copy *state, __u64 offset)
{
	if ((state->over & RINGSTEP_COPY_ENDED) && state->end <= offset)
		return;
	state->over |= RINGSTEP_COPY_ENDED;
	state->end = offset;
	state->tail_size = 0; /* it belonged to the end before */
}

/* Whether a request ended without having done anything, through no fault of its own. */
static __always_inline bool copy_try_again(__s32 result)
{
	return result == -EINTR || result == -EAGAIN;
}

static __always_inline __u64 copy_buffer(const struct ringstep_copy *state, __u32 index)
{
	return state->buffers + (__u64)index * state->block_size;
}

/* Gives the part of a block that is not read yet back to its extent. Returns false if the block is not the last one begun. */
static __always_inline bool copy_give_back(struct ringstep_copy *state, struct ringstep_copy_slot *slot)
{
	struct ringstep_copy_extent *extent = &state->extents[state->extent_head & (RINGSTEP_COPY_EXTENTS - 1)];
	const __u32 rest = slot->size - slot->filled;

	if (state->extent_head == state->extent_tail || extent->offset != slot->offset + slot->size)
		return false;
	extent->offset -= rest;
	extent->length += rest;
	slot->size = slot->filled;
	return true;
}

/* Cuts off what a block has from behind the end, and of what ends there the part that O_DIRECT cannot write. */
static __always_inline void copy_cut(struct ringstep_copy *state, struct ringstep_copy_slot *slot, __u32 index)
{
	__u32 tail;

	if (slot->offset + slot->filled > state->end)
		slot->filled = (__u32)(state->end - slot->offset);
	tail = slot->filled & state->write_align_mask;
	if (!tail)
		return;
	slot->filled -= tail;
	state->tail = copy_buffer(state, index) + slot->filled;
	state->tail_size = tail;
}

static __always_inline enum copy_next copy_after_read(struct ringstep_copy *state, struct ringstep_copy_slot *slot, __u32 index,
						      __s32 result)
{
	__u64 position;

	if (result > 0) {
		slot->filled += (__u32)result;
		ringstep_store(&state->bytes_read, state->bytes_read + (__u32)result);
		position = slot->offset + slot->filled;
		if (position > state->size_hint)
			state->size_hint = RINGSTEP_COPY_ENDLESS;
		if (slot->filled < slot->size) {
			/* With O_DIRECT there is no reading on from the middle of a sector: only the end of the source leaves one. */
			if (slot->filled & state->read_align_mask)
				copy_ended(state, position);
			else if (!(state->over & RINGSTEP_COPY_ERRORED) &&
				 !((state->flags & RINGSTEP_COPY_AT_ONCE) && copy_give_back(state, slot)))
				return COPY_NEXT_READ;
		}
	} else {
		position = slot->offset + slot->filled;
		if (!result)
			copy_ended(state, position);
		else if (!copy_try_again(result))
			copy_failed(state, position, -(__u32)result, RINGSTEP_COPY_READ);
		else if (!(state->over & RINGSTEP_COPY_ERRORED))
			return COPY_NEXT_READ;
	}

	state->reading--;
	if (state->over) {
		if (state->over & RINGSTEP_COPY_ERRORED)
			return COPY_NEXT_NOTHING;
		/* Found empty, or filled from behind the end of a source that has shrunk since. */
		if (!slot->filled || slot->offset >= state->end)
			return COPY_NEXT_NOTHING;
		copy_cut(state, slot, index);
		if (!slot->filled)
			return COPY_NEXT_NOTHING;
	}
	return COPY_NEXT_WRITE;
}

static __always_inline enum copy_next copy_after_write(struct ringstep_copy *state, struct ringstep_copy_slot *slot, __s32 result)
{
	const __u32 before = slot->written;
	__u32 written;

	if (result >= 0) {
		written = before + (__u32)result;
		if (written >= slot->filled)
			written = slot->filled;
		else
			written &= ~state->write_align_mask;
		ringstep_store(&state->bytes_written, state->bytes_written + (written - before));
		slot->written = written;
		if (written == slot->filled)
			return COPY_NEXT_NOTHING;
		if (written == before)
			result = -EIO; /* no progress and no reason given: asking again and again might be for ever */
	}
	if (result < 0 && !copy_try_again(result))
		copy_failed(state, slot->offset + before, -(__u32)result, RINGSTEP_COPY_WRITE);
	return state->over & RINGSTEP_COPY_ERRORED ? COPY_NEXT_NOTHING : COPY_NEXT_WRITE;
}

static __always_inline void copy_set_fixed(const struct ringstep_copy *state, struct io_uring_sqe *sqe, __u8 fixed_opcode)
{
	if (!state->flags)
		return;
	if (state->flags & RINGSTEP_COPY_FIXED_BUFFERS) {
		sqe->opcode = fixed_opcode;
		sqe->buf_index = (__u16)state->buffer_index;
	}
	if (state->flags & RINGSTEP_COPY_FIXED_FILES)
		ringstep_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
}

static __always_inline void copy_prep_read(const struct ringstep_copy *state, const struct ringstep_copy_slot *slot, __u32 index,
					   struct io_uring_sqe *sqe)
{
	const __u64 offset = state->flags & RINGSTEP_COPY_READ_NEXT ? ~0ULL : slot->offset + slot->filled;

	ringstep_prep_read(sqe, state->input_fd, copy_buffer(state, index) + slot->filled, slot->size - slot->filled, offset);
	copy_set_fixed(state, sqe, IORING_OP_READ_FIXED);
	ringstep_sqe_set_data64(sqe, state->tag | index);
}

static __always_inline void copy_prep_write(const struct ringstep_copy *state, const struct ringstep_copy_slot *slot, __u32 index,
					    struct io_uring_sqe *sqe)
{
	const __u64 offset = state->flags & RINGSTEP_COPY_WRITE_NEXT ? ~0ULL : slot->offset + slot->written;

	ringstep_prep_write(sqe, state->output_fd, copy_buffer(state, index) + slot->written, slot->filled - slot->written, offset);
	copy_set_fixed(state, sqe, IORING_OP_WRITE_FIXED);
	ringstep_sqe_set_data64(sqe, state->tag | index | RINGSTEP_COPY_USER_DATA_WRITE);
}

/* Whether there is a block to begin, and a slot for it. */
static __always_inline bool copy_may_begin(const struct ringstep_copy *state)
{
	const struct ringstep_copy_extent *extent = &state->extents[state->extent_head & (RINGSTEP_COPY_EXTENTS - 1)];

	if (state->over || state->extent_head == state->extent_tail)
		return false;
	if (!state->idle && (state->opened >= state->depth || state->opened >= RINGSTEP_COPY_SLOTS || !state->block_size))
		return false;
	return extent->offset < state->size_hint || !state->reading;
}

/* The slot used last comes first: its buffer is still in the processor's cache. */
static __always_inline __u32 copy_take_slot(struct ringstep_copy *state)
{
	if (!state->idle)
		return state->opened++;
	return state->idle_slots[--state->idle & (RINGSTEP_COPY_SLOTS - 1)];
}

static __always_inline void copy_free_slot(struct ringstep_copy *state, __u32 index)
{
	state->idle_slots[state->idle++ & (RINGSTEP_COPY_SLOTS - 1)] = (__u16)index;
}

static __always_inline void copy_begin(struct ringstep_turn *turn, struct ringstep_copy *state)
{
	struct ringstep_copy_extent *extent = &state->extents[state->extent_head & (RINGSTEP_COPY_EXTENTS - 1)];
	const __u32 index = copy_take_slot(state) & (RINGSTEP_COPY_SLOTS - 1);
	struct ringstep_copy_slot *slot = &state->slots[index];

	slot->offset = extent->offset;
	slot->size = extent->length < state->block_size ? (__u32)extent->length : state->block_size;
	slot->filled = 0;
	slot->written = 0;
	extent->offset += slot->size;
	extent->length -= slot->size;
	if (!extent->length)
		state->extent_head++;
	state->reading++;
	copy_prep_read(state, slot, index, ringstep_get_sqe(turn));
}

static __always_inline enum ringstep_copy_code copy_code(const struct ringstep_copy *state)
{
	if (state->over & RINGSTEP_COPY_ERRORED)
		return RINGSTEP_COPY_FAILED;
	if (state->over)
		return RINGSTEP_COPY_DONE;
	return state->extent_head == state->extent_tail ? RINGSTEP_COPY_EXTENTS_USED : RINGSTEP_COPY_INVALID;
}

RINGSTEP_LOOP(copy, struct ringstep_copy)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
		const __u32 index = cqe->user_data & (RINGSTEP_COPY_SLOTS - 1);
		struct ringstep_copy_slot *slot = &state->slots[index];
		enum copy_next next;
		struct io_uring_sqe *sqe;

		if (unlikely(cqe->user_data >> 32 != state->tag >> 32))
			continue; /* of a request that another loop has left in flight */
		if (cqe->user_data & RINGSTEP_COPY_USER_DATA_WRITE)
			next = copy_after_write(state, slot, cqe->res);
		else
			next = copy_after_read(state, slot, index, cqe->res);
		if (next == COPY_NEXT_NOTHING) {
			copy_free_slot(state, index);
			continue;
		}
		sqe = ringstep_get_sqe(turn);
		if (next == COPY_NEXT_WRITE)
			copy_prep_write(state, slot, index, sqe);
		else
			copy_prep_read(state, slot, index, sqe);
	}

	ringstep_while (copy_may_begin(state))
		copy_begin(turn, state);

	if (state->opened == state->idle)
		return ringstep_stop(turn, copy_code(state));
	return ringstep_submit_and_wait(turn, 1);
}
