// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Copies a file, many blocks at a time. Each block has a slot with one request in flight. The block is read in full and then written in
 * full, and then the slot takes the next block. So reads and writes of different blocks are in flight at the same time, in any order.
 *
 * The application passes the ranges to copy as extents, in a window in the state. An endless extent stands for a whole file. It is read
 * until a read returns 0. Reads may return 0 at several positions, because the source shrinks or because blocks beyond its end were
 * tried. The lowest position counts.
 *
 * The loop writes only bytes of the source. With O_DIRECT on the output, the last bytes may be fewer than O_DIRECT can write. They stay in
 * their buffer, and the application writes them in another way (.tail_size).
 *
 * The longest step: 32 completions and 256 blocks that begin. That makes 288 iterations, with 289 submits at most.
 */
#include <ringstep/loop.bpf.h>
#include <ringstep/c/loops/copy.h>

#include <linux/errno.h>

#define READ_PART ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_COPY_READ_PART)
#define WRITE_PART ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_COPY_WRITE_PART)

/* The next action of a slot */
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
	state->tail_size = 0; /* the tail belonged to the previous end */
}

/* Returns true if a request has done nothing and can be submitted again. */
static __always_inline bool copy_try_again(__s32 result)
{
	return result == -EINTR || result == -EAGAIN;
}

static __always_inline __u64 copy_buffer(const struct ringstep_copy *state, __u32 index)
{
	return state->buffers + (__u64)index * state->block_size;
}

/* Returns the unread part of a block to its extent. Returns false if the block is not the last one begun. */
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

/* Cuts off the bytes of a block that lie behind the end of the source, and then the tail that O_DIRECT cannot write. */
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
		const __u32 filled = slot->filled + (__u32)result;

		slot->filled = filled;
		ringstep_store(&state->bytes_read, state->bytes_read + (__u32)result);
		position = slot->offset + filled;
		if (position > state->size_hint)
			state->size_hint = RINGSTEP_COPY_ENDLESS;
		if (filled < slot->size) {
			/* With O_DIRECT, a read cannot continue inside a sector. But only the end of the source stops a read there. */
			if (filled & state->read_align_mask)
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

	ringstep_store(&state->reading, state->reading - 1);
	if (state->over) {
		if (state->over & RINGSTEP_COPY_ERRORED)
			return COPY_NEXT_NOTHING;
		/* The read found nothing, or the block lies behind the end of a source that has shrunk. */
		if (!slot->filled || slot->offset >= state->end)
			return COPY_NEXT_NOTHING;
		copy_cut(state, slot, index);
		if (!slot->filled)
			return COPY_NEXT_NOTHING;
	}
	return COPY_NEXT_WRITE;
}

static __always_inline enum copy_next copy_after_write(struct ringstep_copy *state, struct ringstep_copy_slot *slot,
						       __s32 result)
{
	const __u32 before = slot->written;
	__u32 written;

	if (result >= 0) {
		const __u32 filled = slot->filled;

		written = before + (__u32)result;
		if (written >= filled)
			written = filled;
		else
			written &= ~state->write_align_mask;
		ringstep_store(&state->bytes_written, state->bytes_written + (written - before));
		slot->written = written;
		if (written == filled)
			return COPY_NEXT_NOTHING;
		if (written == before)
			result = -EIO; /* there is no progress and no error, so trying again might never end */
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

static __always_inline void copy_prep_read(const struct ringstep_copy *state, const struct ringstep_copy_slot *slot,
					   __u32 index, __u64 identity, struct io_uring_sqe *sqe)
{
	const __u64 offset = state->flags & RINGSTEP_COPY_READ_NEXT ? ~0ULL : slot->offset + slot->filled;

	ringstep_prep_read(sqe, state->input_fd, copy_buffer(state, index) + slot->filled, slot->size - slot->filled, offset);
	copy_set_fixed(state, sqe, IORING_OP_READ_FIXED);
	ringstep_sqe_set_data64(sqe, identity);
}

static __always_inline void copy_prep_write(const struct ringstep_copy *state, const struct ringstep_copy_slot *slot,
					    __u32 index, __u64 identity, struct io_uring_sqe *sqe)
{
	const __u64 offset = state->flags & RINGSTEP_COPY_WRITE_NEXT ? ~0ULL : slot->offset + slot->written;

	ringstep_prep_write(sqe, state->output_fd, copy_buffer(state, index) + slot->written, slot->filled - slot->written,
			    offset);
	copy_set_fixed(state, sqe, IORING_OP_WRITE_FIXED);
	ringstep_sqe_set_data64(sqe, identity);
}

/* Returns true if there is a block to begin and a slot for it. */
static __always_inline bool copy_may_begin(const struct ringstep_copy *state)
{
	const struct ringstep_copy_extent *extent = &state->extents[state->extent_head & (RINGSTEP_COPY_EXTENTS - 1)];

	if (state->over || state->extent_head == state->extent_tail)
		return false;
	if (!state->idle && (state->opened >= state->depth || state->opened >= RINGSTEP_COPY_SLOTS || !state->block_size))
		return false;
	return extent->offset < state->size_hint || !state->reading;
}

/* Takes an idle slot. The slot used last comes first, because its buffer is still in the processor's cache. */
static __always_inline __u32 copy_take_slot(struct ringstep_copy *state)
{
	if (!state->idle)
		return state->opened++;
	return state->idle_slots[--state->idle & (RINGSTEP_COPY_SLOTS - 1)];
}

static __always_inline void copy_free_slot(struct ringstep_copy *state, struct ringstep_copy_slot *slot, __u32 index)
{
	slot->identity = 0;
	state->idle_slots[state->idle++ & (RINGSTEP_COPY_SLOTS - 1)] = (__u16)index;
}

static __always_inline void copy_begin(struct ringstep_turn *turn, struct ringstep_copy *state)
{
	struct ringstep_copy_extent *extent = &state->extents[state->extent_head & (RINGSTEP_COPY_EXTENTS - 1)];
	const __u32 index = copy_take_slot(state) & (RINGSTEP_COPY_SLOTS - 1);
	struct ringstep_copy_slot *slot = &state->slots[index];
	const __u64 identity = state->identity | READ_PART | ringstep_identity_of_slot(index, ++slot->uses);

	slot->identity = identity;
	slot->offset = extent->offset;
	slot->size = extent->length < state->block_size ? (__u32)extent->length : state->block_size;
	slot->filled = 0;
	slot->written = 0;
	extent->offset += slot->size;
	extent->length -= slot->size;
	if (!extent->length)
		state->extent_head++;
	ringstep_store(&state->reading, state->reading + 1);
	copy_prep_read(state, slot, index, identity, ringstep_get_sqe(turn));
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
	__s64 limit = ringstep_limit(RINGSTEP_COPY_SLOTS); /* each block that begins takes a slot */
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe) {
		const __u32 index = cqe->user_data & (RINGSTEP_COPY_SLOTS - 1);
		struct ringstep_copy_slot *slot = &state->slots[index];
		enum copy_next next;
		struct io_uring_sqe *sqe;

		if (unlikely(cqe->user_data != slot->identity)) {
			state->foreign++;
			continue;
		}
		if (cqe->user_data & WRITE_PART)
			next = copy_after_write(state, slot, cqe->res);
		else
			next = copy_after_read(state, slot, index, cqe->res);
		if (next == COPY_NEXT_NOTHING) {
			copy_free_slot(state, slot, index);
			continue;
		}
		sqe = ringstep_get_sqe(turn);
		if (next == COPY_NEXT_WRITE) {
			const __u64 identity = (cqe->user_data & ~READ_PART) | WRITE_PART;

			slot->identity = identity;
			copy_prep_write(state, slot, index, identity, sqe);
		} else {
			copy_prep_read(state, slot, index, cqe->user_data, sqe);
		}
	}

	ringstep_while_at_most (limit, true) {
		if (!copy_may_begin(state)) /* in here, the compiler does not load again what it has looked at */
			break;
		copy_begin(turn, state);
	}

	if (state->opened == state->idle)
		return ringstep_stop(turn, copy_code(state));
	return ringstep_submit_and_wait(turn, 1);
}
