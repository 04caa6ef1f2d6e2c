/* SPDX-License-Identifier: MIT */
/*
 * Looking into registered buffers: the header of what was received, before deciding what becomes of it.
 *
 * Include it after <ringstep/loop.bpf.h>. The state has a table (ringstep/blocks/buffers.h), which the application fills in as it
 * registers the buffers.
 *
 *	struct header header;
 *
 *	if (ringstep_buffer_read(turn, &state->buffers, slot, 0, &header, sizeof(header)))
 *		return ringstep_stop(turn, BROKEN);
 *
 * It is always a copy: the memory may change while the loop looks at it, so what was checked is what has to be used. How it is done
 * depends on who runs the loop:
 * - A kernel that shows registered buffers to loops (kernel/next; the kit looks for it in BTF): any registered buffer, by the
 *   slot it was registered in, wherever it lies, also one that the process does not see; the table does not matter.
 * - Other kernels that run loops (Linux 7.3): buffers of the table that lie in the MEM region, behind the state
 *   (LoopOptions::extra_bytes). register_buffers() refuses others there.
 * - The user engine: buffers of the table, wherever in the process they lie.
 * So buffers in the MEM region are good everywhere.
 */
#ifndef RINGSTEP_BUFFERS_BPF_H
#define RINGSTEP_BUFFERS_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/turn.bpf.h>

#include <ringstep/blocks/buffers.h>

/* Not <errno.h>, which a vmlinux.h may stand in front of. */
#define RINGSTEP__ENOENT 2
#define RINGSTEP__EOPNOTSUPP 95
#define RINGSTEP__ERANGE 34

/* Where that part of a buffer lies in the process; 0 and the error if it does not. */
static __always_inline __u64 ringstep__buffer_at(const struct ringstep_buffers *buffers, __u32 index, __u64 offset, __u32 length, int *error)
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

/* Copies between the MEM region, at that offset, and memory of the step's. */
static __noinline int ringstep__region_copy(struct ringstep_control *control, __u64 at, __u8 *memory, __u32 length, bool write)
{
	__u8 *const region = (__u8 *)control;
	__u32 i;

	bpf_for(i, 0, length) {
		__u64 place = at + i;

		barrier_var(place);
		if (place >= ringstep_geometry.mem_size)
			return -RINGSTEP__EOPNOTSUPP;
		if (write)
			region[place] = memory[i];
		else
			memory[i] = region[place];
	}
	return 0;
}

static __always_inline int ringstep__buffer_copy(struct ringstep_turn *turn, const struct ringstep_buffers *buffers, __u32 index,
						 __u64 offset, void *memory, __u32 length, bool write)
{
	const __u64 region_size = ringstep_geometry.mem_size;
	__u64 address, at;
	int error;

	if (bpf_ksym_exists(bpf_io_uring_read_buffer___ringstep))
		return write ? bpf_io_uring_write_buffer___ringstep(turn->engine.ring, index, offset, memory, length) :
			       bpf_io_uring_read_buffer___ringstep(turn->engine.ring, index, offset, memory, length);
	address = ringstep__buffer_at(buffers, index, offset, length, &error);
	if (error)
		return error;
	at = address - turn->control->address;
	if (at > region_size || length > region_size - at)
		return -RINGSTEP__EOPNOTSUPP;
	return ringstep__region_copy(turn->control, at, (__u8 *)memory, length, write);
}
#else
static __always_inline int ringstep__buffer_copy(struct ringstep_turn *turn, const struct ringstep_buffers *buffers, __u32 index,
						 __u64 offset, void *memory, __u32 length, bool write)
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
 * Copies length bytes from a registered buffer, from that offset on, to memory of the step's: a local variable, or a place in the
 * state. All of it or nothing. The length is a constant, or a number that the verifier sees the bound of. Returns 0; -ENOENT (-2) if no such
 * buffer is registered; -ERANGE (-34) if it ends before; -EOPNOTSUPP (-95) if this kernel does not show it to loops.
 *
 * Example: if (ringstep_buffer_read(turn, &state->buffers, slot, 0, &header, sizeof(header))) …
 */
static __always_inline int ringstep_buffer_read(struct ringstep_turn *turn, const struct ringstep_buffers *buffers, __u32 index,
						__u64 offset, void *to, __u32 length)
{
	return ringstep__buffer_copy(turn, buffers, index, offset, to, length, false);
}

/*
 * Copies length bytes from memory of the step's into a registered buffer. The same rules. A request that is using the buffer
 * meanwhile may see the old bytes or the new ones.
 *
 * Example: ringstep_buffer_write(turn, &state->buffers, slot, offsetof(struct header, hops), &hops, sizeof(hops));
 */
static __always_inline int ringstep_buffer_write(struct ringstep_turn *turn, const struct ringstep_buffers *buffers, __u32 index,
						 __u64 offset, const void *from, __u32 length)
{
	return ringstep__buffer_copy(turn, buffers, index, offset, (void *)(unsigned long)from, length, true);
}

#endif /* RINGSTEP_BUFFERS_BPF_H */
