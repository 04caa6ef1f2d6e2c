/* SPDX-License-Identifier: MIT */
/*
 * The loop's side of a ring of provided buffers (ringstep/c/net/buffer_ring.h).
 *
 * Include this file after <ringstep/loop.bpf.h>. `buffers` is a pointer to the struct with the members of RINGSTEP_BUFFER_RING().
 *
 *	struct ringstep_slice slice;
 *
 *	ringstep_prep_recv_multishot(sqe, socket, 0, 0, 0);
 *	ringstep_buffer_ring_select(sqe, &state->buffers);
 *	...
 *	ringstep_for_each_cqe(turn, cqe) {
 *		if (!ringstep_buffer_ring_take(&state->buffers, cqe, &slice))
 *			continue;			// no bytes have come
 *		do {
 *			parse(state, ringstep_slice_bytes(&state->buffers, &slice), slice.at, slice.end);
 *			ringstep_buffer_ring_give_back(&state->buffers, &slice);
 *		} ringstep_again_while (ringstep_buffer_ring_next(&state->buffers, &slice));
 *	}
 *
 * A completion brings one slice, which is a range of bytes of one buffer; with bundles (ringstep_buffer_ring_select_bundle()) it may bring more. Each
 * slice must be given back, in any order, in this turn or in a later one. Its bytes stay as they are until then. The number of a buffer from a
 * completion is masked, so the bytes are within reach of the verifier whatever the completion says.
 *
 * A request that finds no buffer ends with -ENOBUFS. Submit it again when buffers have come back (ringstep_buffer_ring_available()): the
 * requests that have waited longest first, so that none starves.
 */
#ifndef RINGSTEP_NET_BUFFER_RING_BPF_H
#define RINGSTEP_NET_BUFFER_RING_BPF_H

#include <ringstep/bounded.bpf.h>
#include <ringstep/c/net/buffer_ring.h>
#include <ringstep/mailbox.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/turn.bpf.h>

/* Bytes of one buffer that a completion has brought. */
struct ringstep_slice {
	__u32 id;  /* the number of the buffer */
	__u32 at;  /* the position of the first byte in the buffer */
	__u32 end; /* the position behind the last byte */
	/* for ringstep_buffer_ring_next() */
	__u32 left;  /* bytes that the completion has brought in further buffers */
	__u32 place; /* of the buffer in the ring */
	__u32 more;  /* the kernel keeps the last buffer */
};

/* Lets the kernel pick a buffer of the ring for this request. */
#define ringstep_buffer_ring_select(sqe, buffers) ringstep_sqe_set_buf_group(sqe, (__u16)(buffers)->ring.group)

/* Like ringstep_buffer_ring_select(), for a receive. If the kernel can do that, it may fill several buffers before it completes. */
#define ringstep_buffer_ring_select_bundle(sqe, buffers)                                                                       \
	do {                                                                                                                   \
		ringstep_buffer_ring_select(sqe, buffers);                                                                     \
		if ((buffers)->ring.features & RINGSTEP_BUFFER_RING_BUNDLES)                                                   \
			(sqe)->ioprio |= IORING_RECVSEND_BUNDLE;                                                               \
	} while (0)

/* Returns how many buffers the kernel has. */
#define ringstep_buffer_ring_available(buffers) ((buffers)->ring.available)

/* Returns the bytes of a slice's buffer: an array, for the functions of <ringstep/bytes.bpf.h>. */
#define ringstep_slice_bytes(buffers, slice) ((buffers)->bytes[(slice)->id & ringstep_mask((buffers)->bytes)])

/* Returns the entry with this place in the ring. Two masks, so that neither number needs a comparison. */
static __always_inline struct ringstep_buffer_entry *
ringstep__buffer_entry(const struct ringstep_buffer_ring *ring, struct ringstep_buffer_entry *entries, __u32 place, __u32 mask)
{
	return &entries[(ring->first & (RINGSTEP_BUFFER_RING_SPARE - 1)) + (place & mask)];
}

/* Hands a buffer to the kernel. */
static __always_inline void ringstep__buffer_push(struct ringstep_buffer_ring *ring, struct ringstep_buffer_entry *entries,
						  __u32 mask, __u32 id, __u32 size)
{
	const __u32 tail = ring->tail;
	struct ringstep_buffer_entry *entry = ringstep__buffer_entry(ring, entries, tail, mask);

	/* Not the last field: in the first entry it is the tail. */
	entry->address = ring->address + (__u64)id * size;
	entry->length = size;
	entry->id = (__u16)id;
	ring->tail = tail + 1;
	ring->available++;
	ringstep__ring_store(&ringstep__buffer_entry(ring, entries, 0, mask)->tail, (__u16)(tail + 1));
}

/* Makes a slice of the next bytes of a buffer: `bytes`, or as many as it has room for. The rest is in the buffers that follow in the ring. */
static __always_inline bool ringstep__buffer_take(struct ringstep_buffer_ring *ring, struct ringstep_buffer_use *use, __u32 id,
						  __u32 size, __u32 bytes, bool more, struct ringstep_slice *slice)
{
	const __u32 taken = use->taken;
	__u32 room;

	if (unlikely(use->full || taken > size)) {
		ring->foreign++;
		return false;
	}
	room = size - taken;
	slice->id = id;
	slice->place = use->place;
	slice->at = taken;
	slice->end = taken + (bytes < room ? bytes : room);
	slice->left = bytes < room ? 0 : bytes - room;
	slice->more = more;
	use->taken = slice->end;
	use->open++;
	if (!more || slice->left) {
		use->full = 1;
		ring->available--;
	}
	return true;
}

/*
 * Takes the bytes that a completion has brought, and stores the first slice of them. Returns false if the completion has no buffer. A completion with
 * a buffer and a result of 0 or less brings a slice without bytes.
 */
#define ringstep_buffer_ring_take(buffers, cqe, slice)                                                                         \
	({                                                                                                                     \
		const __u32 ringstep__id = (cqe)->flags >> IORING_CQE_BUFFER_SHIFT & ringstep_mask((buffers)->bytes);          \
		bool ringstep__taken = false;                                                                                  \
                                                                                                                               \
		if ((cqe)->flags & IORING_CQE_F_BUFFER)                                                                        \
			ringstep__taken = ringstep__buffer_take(                                                               \
				&(buffers)->ring, &(buffers)->uses[ringstep__id], ringstep__id, sizeof((buffers)->bytes[0]),   \
				(cqe)->res > 0 ? (__u32)(cqe)->res : 0, (cqe)->flags & IORING_CQE_F_BUF_MORE, slice);          \
		ringstep__taken;                                                                                               \
	})

/*
 * Takes the next slice of a completion that has brought bytes in several buffers, which lie behind each other in the ring. Returns false if there is
 * none. Call it before another completion is taken. The slice before it may have been given back.
 */
#define ringstep_buffer_ring_next(buffers, slice)                                                                              \
	({                                                                                                                     \
		bool ringstep__taken = false;                                                                                  \
                                                                                                                               \
		if ((slice)->left) {                                                                                           \
			const __u32 ringstep__id = ringstep__buffer_entry(&(buffers)->ring, (buffers)->entries,                \
									  (slice)->place + 1, ringstep_mask((buffers)->bytes)) \
							   ->id &                                                              \
						   ringstep_mask((buffers)->bytes);                                            \
			ringstep__taken =                                                                                      \
				ringstep__buffer_take(&(buffers)->ring, &(buffers)->uses[ringstep__id], ringstep__id,          \
						      sizeof((buffers)->bytes[0]), (slice)->left, (slice)->more, slice);       \
		}                                                                                                              \
		ringstep__taken;                                                                                               \
	})

/* Gives a slice back. The kernel gets its buffer when all bytes of the buffer have been given back and it puts no more into it. */
#define ringstep_buffer_ring_give_back(buffers, slice)                                                                         \
	ringstep__buffer_give_back(&(buffers)->ring, (buffers)->uses, (buffers)->entries, ringstep_mask((buffers)->bytes),     \
				   (slice)->id, sizeof((buffers)->bytes[0]))

static __always_inline void ringstep__buffer_give_back(struct ringstep_buffer_ring *ring, struct ringstep_buffer_use *uses,
						       struct ringstep_buffer_entry *entries, __u32 mask, __u32 id, __u32 size)
{
	struct ringstep_buffer_use *use = &uses[id & mask];

	if (use->open)
		use->open--;
	if (use->open || !use->full)
		return;
	use->full = 0;
	use->taken = 0;
	use->place = ring->tail;
	ringstep__buffer_push(ring, entries, mask, id & mask, size);
}

#endif /* RINGSTEP_NET_BUFFER_RING_BPF_H */
