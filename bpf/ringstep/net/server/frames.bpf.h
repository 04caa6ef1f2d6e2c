/* SPDX-License-Identifier: MIT */
/*
 * The part of a server's step that finds the frames of a connection, and goes on when the author's function has handled one.
 *
 * This file is not for authors. Include <ringstep/net/server.bpf.h>, which includes this file.
 */
#ifndef RINGSTEP_NET_SERVER_FRAMES_BPF_H
#define RINGSTEP_NET_SERVER_FRAMES_BPF_H

#include <ringstep/net/server/connections.bpf.h>

/* Copies a range of a chunk to another chunk. */
ringstep_apart int ringstep__frame_copy(ringstep_server_state *state ringstep_arg_nonnull, __u64 to_place_and_at, __u32 place,
					__u64 at, __u64 end)
{
	ringstep_bytes_copy(state->buffers.bytes[to_place_and_at >> 32 & RINGSTEP__CHUNK_MASK], (__u32)to_place_and_at,
			    state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], at, end);
	return 0;
}

/* Returns true if a frame of a connection may be handled now, and there are bytes to look at. */
static __always_inline bool ringstep__server_may_handle(ringstep_server_state *state, struct ringstep_connection *link)
{
	if (link->flags & (RINGSTEP_CONNECTION_LATER | RINGSTEP_CONNECTION_PAUSED | RINGSTEP_CONNECTION_FAILED |
			   RINGSTEP_CONNECTION_CLOSING) ||
	    !link->held_first)
		return false;
	if (link->out_end > RINGSTEP__OUTPUT_SIZE - RINGSTEP__SERVER_REPLY) {
		if (!RINGSTEP__IS(link, BLOCKED))
			ringstep__server_count(state, blocked, 1);
		link->flags |= RINGSTEP_CONNECTION_BLOCKED;
		return false;
	}
	return true;
}

/* Returns the number of the chunk in which the frames of a connection are put together. */
static __always_inline __u32 ringstep__server_own_chunk(__u32 slot)
{
	return (RINGSTEP__CHUNK_MASK + 1 - RINGSTEP__SERVER_MOST + (slot & RINGSTEP__SERVER_MASK)) & RINGSTEP__CHUNK_MASK;
}

#ifndef RINGSTEP__SERVER_NEXT /* another function finds the frames */
#define RINGSTEP__SERVER_NEXT ringstep__server_next
#define RINGSTEP__FRAMES_NEED_BYTES 1 /* there is no frame without a buffer that is held */

/* Returns how long the frame at `at` is, of which `have` bytes are there. Returns 0 if that is not known yet. */
ringstep_apart __u64 ringstep__frame_total(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 have)
{
	const struct ringstep_framing *frames = ringstep__framing(state);
	const __u32 width = frames->width & 15;
	__u64 length;

	if (frames->kind == RINGSTEP_FRAMING_FIXED)
		return frames->most ? frames->most : ~0U;
	if (have < (__u64)frames->offset + width)
		return 0;
	length = ringstep__bytes_at(state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], RINGSTEP__CHUNK_SIZE,
				    at + frames->offset);
	if (frames->big)
		length = __builtin_bswap64(length) >> ((64 - 8 * width) & 63);
	else if (width < 8)
		length &= (1ULL << 8 * width) - 1;
	length = length > ~0U ? ~0U : length + frames->added;
	/* A length that does not count itself in although it should is no frame that could be handled. */
	return length < (__u64)frames->offset + width ? ~0U : length;
}

static __always_inline bool ringstep__frame_is(ringstep_server_state *state, __u32 place, __u32 at, __u32 end)
{
	state->server.frame_place = place;
	state->server.frame_at = at;
	state->server.frame_end = end;
	return end - at <= ringstep__frame_most(state);
}

/* Sets aside the end of a line, CR LF or LF, which lies in front of `end`. */
static __always_inline __u32 ringstep__line_end(ringstep_server_state *state, __u32 place, __u32 at, __u32 end)
{
	const __u8(*bytes)[RINGSTEP__CHUNK_SIZE] = &state->buffers.bytes[place & RINGSTEP__CHUNK_MASK];
	__u32 before = end - 2;

	if (ringstep__framing(state)->kind != RINGSTEP_FRAMING_LINES)
		return end;
	barrier_var(before);
	return end - at > 1 && (*bytes)[before & (RINGSTEP__CHUNK_SIZE - 1)] == '\r' ? end - 2 : end - 1;
}

/* Returns the position of the first end of a line in a range of a chunk, or the end of the range if there is none. */
ringstep_apart __u64 ringstep__frame_stop(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 end)
{
	return ringstep_bytes_find(state->buffers.bytes[place & RINGSTEP__CHUNK_MASK], at, end, '\n');
}

/* Finds the next frame of a connection. Its bytes are in the buffer that they came in, or are put together in the connection's own chunk. */
ringstep_apart int ringstep__server_next(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	const __u32 own = ringstep__server_own_chunk(slot);
	const bool lines = ringstep__framing(state)->kind == RINGSTEP_FRAMING_LINES;
	const __u32 most = ringstep__frame_most(state);
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	__s64 limit = ringstep_limit(RINGSTEP__NEXT_BUFFERS);

	if (!ringstep__server_may_handle(state, link))
		return RINGSTEP__NEXT_NONE;
	state->server.frame_give = 0;
	ringstep_while_at_most (limit, link->held_first) {
		const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;
		struct ringstep_server_held *held = &state->held[id];
		const __u32 at = held->at, partial = link->partial;
		__u64 end = held->end, take, total = 0;
		bool whole;

		if (end > RINGSTEP__CHUNK_SIZE)
			end = RINGSTEP__CHUNK_SIZE;
		if (at >= end) {
			ringstep__server_give_back(state, ringstep__server_unhold(state, link));
			continue;
		}
		if (lines) {
			const __u64 stop = ringstep__frame_stop(state, id, at, end);

			whole = stop < end;
			take = whole ? stop + 1 - at : end - at;
		} else {
			total = partial ? ringstep__frame_total(state, own, 0, partial)
					: ringstep__frame_total(state, id, at, end - at);
			if (total > most)
				return RINGSTEP__NEXT_TOO_LONG;
			take = total ? total : (__u64)ringstep__framing(state)->offset + ringstep__framing(state)->width;
			take = take > partial ? take - partial : 0;
			whole = total && take <= end - at;
			if (take > end - at)
				take = end - at;
		}
		held->at = at + (__u32)take;
		if (!partial && whole) {
			if (held->at >= end)
				state->server.frame_give = ringstep__server_unhold(state, link) + 1;
			return ringstep__frame_is(state, id, at, ringstep__line_end(state, id, at, at + (__u32)take))
				       ? RINGSTEP__NEXT_FRAME
				       : RINGSTEP__NEXT_TOO_LONG;
		}
		/* The end of a line needs up to two bytes more than the line. */
		if (partial + take > (lines ? most + 2 : most) || partial + take > RINGSTEP__CHUNK_SIZE)
			return RINGSTEP__NEXT_TOO_LONG;
		ringstep__frame_copy(state, (__u64)own << 32 | partial, id, at, at + take);
		if (!partial)
			ringstep__server_partial(state, link);
		link->partial = partial + (__u32)take;
		if (held->at >= end)
			ringstep__server_give_back(state, ringstep__server_unhold(state, link));
		if (!lines && !whole) {
			total = ringstep__frame_total(state, own, 0, link->partial);
			if (total > most)
				return RINGSTEP__NEXT_TOO_LONG;
			whole = total == link->partial;
		}
		if (whole) {
			const __u32 length = link->partial;

			link->partial = 0;
			return ringstep__frame_is(state, own, 0, ringstep__line_end(state, own, 0, length))
				       ? RINGSTEP__NEXT_FRAME
				       : RINGSTEP__NEXT_TOO_LONG;
		}
	}
	return link->held_first ? RINGSTEP__NEXT_AGAIN : RINGSTEP__NEXT_NONE;
}

#else
#define RINGSTEP__FRAMES_NEED_BYTES 0
#endif /* RINGSTEP__SERVER_NEXT */

/* Returns what the author's function gets. */
static __always_inline struct ringstep_frame ringstep__server_frame(ringstep_server_state *state, __u32 slot, __u32 too_long)
{
	struct ringstep_frame frame;

	frame.bytes = &state->buffers.bytes[state->server.frame_place & RINGSTEP__CHUNK_MASK];
	frame.place = state->server.frame_place;
	frame.at = state->server.frame_at;
	frame.end = too_long ? frame.at : state->server.frame_end;
	frame.length = frame.end - frame.at;
	frame.too_long = too_long;
	frame.slot = slot;
	return frame;
}

/* Tells the application something about a connection. */
static __always_inline void ringstep__server_tell(ringstep_server_state *state, __u32 slot, __u32 generation, __u32 event)
{
	ringstep_mailbox_deliver(&state->mailbox, state->outbox,
				 event << RINGSTEP_SERVER_KIND_SHIFT |
					 (generation & RINGSTEP_SERVER_GENERATION) << RINGSTEP_SERVER_GENERATION_SHIFT |
					 (slot & RINGSTEP_SERVER_SLOT));
}

/*
 * Returns true if the application has left so many events that there may be no room for those of more connections. Besides its OPENED, a
 * connection adds at most five before the application takes one of them: FRAME, BROKEN or ROOM, NUDGED, and CLOSED.
 */
static __always_inline bool ringstep__server_is_unheard(const ringstep_server_state *state)
{
	return ringstep__server_options.later && ringstep_mailbox_uncollected(&state->mailbox) >= 2 * RINGSTEP__SERVER_MOST;
}

/*
 * Goes on after the author's function has returned. Returns RINGSTEP__NEXT_NONE if there is surely no frame behind this one, and otherwise
 * RINGSTEP__NEXT_AGAIN.
 */
ringstep_apart int ringstep__server_handled(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, int verdict)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	const __u32 give = state->server.frame_give;

	ringstep__server_count(state, frames, 1);
	link->frames++;
	if (verdict == RINGSTEP_LATER && ringstep__server_options.later) {
		struct ringstep_server_frame *frame = &state->frames[slot & RINGSTEP__SERVER_MASK];

		link->flags = (link->flags | RINGSTEP_CONNECTION_LATER) & ~RINGSTEP_CONNECTION_TOLD;
		ringstep_store(&state->wishes[slot & RINGSTEP__SERVER_MASK].flush, 0);
		link->kept = give;
		frame->place = state->server.frame_place;
		frame->at = state->server.frame_at;
		frame->end = state->server.frame_end;
		ringstep_store(&frame->handed, (link->generation & RINGSTEP_SERVER_GENERATION) + 1);
		ringstep__server_tell(state, slot, link->generation, RINGSTEP_SERVER_FRAME);
		return RINGSTEP__NEXT_AGAIN;
	}
	if (give)
		ringstep__server_give_back(state, give - 1);
	if (likely(verdict == RINGSTEP_KEEP))
		return RINGSTEP__FRAMES_NEED_BYTES && !link->held_first ? RINGSTEP__NEXT_NONE : RINGSTEP__NEXT_AGAIN;
	if (RINGSTEP__SENDS_FILES && verdict == RINGSTEP__READING) {
		link->flags |= RINGSTEP_CONNECTION_LATER;
		return RINGSTEP__NEXT_AGAIN;
	}
	if (verdict == RINGSTEP_CLOSE)
		link->flags |= RINGSTEP_CONNECTION_CLOSING;
	else if (verdict == RINGSTEP_FINISH)
		link->flags |= RINGSTEP_CONNECTION_FINISHING;
	else
		ringstep__server_fail(link, -RINGSTEP__ECANCELED);
	return RINGSTEP__NEXT_AGAIN;
}

#endif /* RINGSTEP_NET_SERVER_FRAMES_BPF_H */
