/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes registered buffers. A loop can read the header of a received message, for example, and then decide what to do with it.
 *
 * Include this file after <ringstep/loop.bpf.h>. The state must have a table (ringstep/c/blocks/buffers.h), which the application fills in
 * when it registers the buffers.
 *
 *	struct header header;
 *
 *	if (ringstep_buffer_read(turn, &state->buffers, slot, 0, &header, sizeof(header)))
 *		return ringstep_stop(turn, BROKEN);
 *
 * The loop always works on a copy, because the buffer's memory may change at any time. Use the bytes that were checked; do not read them
 * again. Which buffers a loop can reach depends on the engine:
 * - A kernel that shows registered buffers to loops (kernel/next; the kit looks for this in BTF): every registered buffer, by the slot
 *   that it was registered in. This includes buffers outside the process's memory. The table is not used.
 * - Other kernels that run loops (Linux 7.3): buffers in the table that lie in the memory region, behind the state
 *   (LoopOptions::extra_bytes). register_buffers() refuses other buffers there.
 * - The user engine: buffers in the table, at any address in the process.
 * So buffers in the memory region work everywhere.
 */
#ifndef RINGSTEP_BUFFERS_BPF_H
#define RINGSTEP_BUFFERS_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/turn.bpf.h>

#include <ringstep/c/blocks/buffers.h>

/* The kit's own names, because <errno.h> cannot be included after a vmlinux.h. */
#define RINGSTEP__ENOENT 2
#define RINGSTEP__EOPNOTSUPP 95
#define RINGSTEP__ERANGE 34

/* Returns the address of `length` bytes at `offset` in a buffer. Sets `error` to 0, or to a negative errno and then returns 0. */
static __always_inline __u64 ringstep__buffer_at(const struct ringstep_buffers *buffers, __u32 index, __u64 offset,
						 __u32 length, int *error)
{
	const struct ringstep_buffer *buffer = &buffers->at[index & (RINGSTEP_BUFFERS - 1)];
	const __u64 size = buffer->length;

	*error = -RINGSTEP__ENOENT;
	if (index >= RINGSTEP_BUFFERS || !size)
		return 0;
	*error = -RINGSTEP__ERANGE;
	if (offset > size || length > size - offset)
		return 0;
	*error = 0;
	return buffer->address + offset;
}

#ifdef __bpf__
extern int bpf_io_uring_read_buffer___ringstep(struct iou_ctx___ringstep *ctx, __u32 index, __u64 offset, void *dst,
					       __u32 dst__sz) __ksym __weak;
extern int bpf_io_uring_write_buffer___ringstep(struct iou_ctx___ringstep *ctx, __u32 index, __u64 offset, const void *src,
						__u32 src__sz) __ksym __weak;

/* Copies `length` bytes between the memory region, at offset `at`, and the step's memory. */
static __noinline int ringstep__region_copy(struct ringstep_control *control, __u64 at, __u8 *memory, __u32 length, bool write)
{
	__u8 *const region = (__u8 *)control;
	__u32 i;

	bpf_for(i, 0, length) {
		__u64 place = at + i, room, mask;

		barrier_var(place);
		if (place >= ringstep_geometry.mem_size)
			return -RINGSTEP__EOPNOTSUPP;
		/* A processor that guesses the branch wrong gets place 0, and none behind the region. */
		room = ringstep_geometry.mem_size - 1 - place;
		barrier_var(room);
		mask = ~((__s64)room >> 63);
		barrier_var(mask);
		place &= mask;
		if (write)
			region[place] = memory[i];
		else
			memory[i] = region[place];
	}
	return 0;
}

static __always_inline int ringstep__buffer_copy(struct ringstep_turn *turn, const struct ringstep_buffers *buffers,
						 __u32 index, __u64 offset, void *memory, __u32 length, bool write)
{
	const __u64 region_size = ringstep_geometry.mem_size;
	__u64 address, at;
	int error;

	if (bpf_ksym_exists(bpf_io_uring_read_buffer___ringstep))
		return write ? bpf_io_uring_write_buffer___ringstep(turn->engine.ring, index, offset, memory, length)
			     : bpf_io_uring_read_buffer___ringstep(turn->engine.ring, index, offset, memory, length);
	address = ringstep__buffer_at(buffers, index, offset, length, &error);
	if (error)
		return error;
	at = address - turn->control->address;
	if (at > region_size || length > region_size - at)
		return -RINGSTEP__EOPNOTSUPP;
	return ringstep__region_copy(turn->control, at, (__u8 *)memory, length, write);
}
#else
static __always_inline int ringstep__buffer_copy(struct ringstep_turn *turn, const struct ringstep_buffers *buffers,
						 __u32 index, __u64 offset, void *memory, __u32 length, bool write)
{
	int error;
	void *const there = (void *)(unsigned long)ringstep__buffer_at(buffers, index, offset, length, &error);

	(void)turn;
	if (error)
		return error;
	__builtin_memcpy(write ? there : memory, write ? memory : there, length);
	return 0;
}
#endif

/*
 * Copies `length` bytes from a registered buffer, starting at `offset`, to the step's memory: a local variable or a field of the state.
 * Returns 0, or a negative errno: -ENOENT (-2) if the slot `index` has no registered buffer, -ERANGE (-34) if the buffer is too short, or
 * -EOPNOTSUPP (-95) if this kernel does not show the buffer to loops. `length` must be a constant, or a number whose bound the
 * verifier knows.
 *
 * Example: if (ringstep_buffer_read(turn, &state->buffers, slot, 0, &header, sizeof(header))) …
 */
static __always_inline int ringstep_buffer_read(struct ringstep_turn *turn, const struct ringstep_buffers *buffers, __u32 index,
						__u64 offset, void *to, __u32 length)
{
	return ringstep__buffer_copy(turn, buffers, index, offset, to, length, false);
}

/*
 * Copies `length` bytes from the step's memory into a registered buffer, starting at `offset`. Returns 0 or the errors of
 * ringstep_buffer_read(), and `length` must have a bound that the verifier knows. A request that uses the buffer during the copy may see
 * the old bytes or the new ones.
 *
 * Example: ringstep_buffer_write(turn, &state->buffers, slot, offsetof(struct header, hops), &hops, sizeof(hops));
 */
static __always_inline int ringstep_buffer_write(struct ringstep_turn *turn, const struct ringstep_buffers *buffers,
						 __u32 index, __u64 offset, const void *from, __u32 length)
{
	return ringstep__buffer_copy(turn, buffers, index, offset, (void *)(unsigned long)from, length, true);
}

#endif /* RINGSTEP_BUFFERS_BPF_H */
