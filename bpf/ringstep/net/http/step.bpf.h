/* SPDX-License-Identifier: MIT */
/*
 * The part of an HTTP server's step that cuts the bytes of a connection into requests.
 *
 * A frame is a head, with its body behind it if both fit into a chunk. A longer body follows in further frames of up to a chunk. A frame that has come
 * whole, in one buffer, stays there, unless its body has chunks. Others are put together in the connection's own chunk.
 *
 * This file is not for authors. It is a part of the loop http.
 */
#ifndef RINGSTEP_NET_HTTP_STEP_BPF_H
#define RINGSTEP_NET_HTTP_STEP_BPF_H

#include <ringstep/net/http/parse.bpf.h>

#define RINGSTEP__HTTP_PIECES 16   /* the most pieces of a body that are looked at before others have their turn */
#define RINGSTEP__HTTP_BETWEEN 512 /* the most bytes between chunks of one piece */

/* Returns the array that a chunk is. */
static __always_inline struct ringstep_http_bytes *ringstep__http_chunk(ringstep_server_state *state, __u32 place)
{
	_Static_assert(sizeof(state->buffers.bytes[0]) == sizeof(struct ringstep_http_bytes), "a chunk has the longest head");
	return (struct ringstep_http_bytes *)&state->buffers.bytes[place & RINGSTEP__CHUNK_MASK];
}

static __always_inline struct ringstep_http_request *ringstep__http_request(ringstep_server_state *state, __u32 slot)
{
	return &state->connections[slot & RINGSTEP__SERVER_MASK].own.request;
}

/* Takes bytes of the first buffer that is held, up to the position `at`. If none are left in it, gives it back, or when the frame was handled. */
static __always_inline void ringstep__http_take(ringstep_server_state *state, struct ringstep_connection *link, __u32 at,
						bool in_place)
{
	struct ringstep_server_held *held = &state->held[(link->held_first - 1) & RINGSTEP__CHUNK_MASK];

	held->at = at;
	if (at < held->end && at < RINGSTEP_HTTP_SIZE)
		return;
	if (in_place)
		state->server.frame_give = ringstep__server_unhold(state, link) + 1;
	else
		ringstep__server_give_back(state, ringstep__server_unhold(state, link));
}

/* A frame is there, from `at` to `end` of a chunk. */
static __always_inline int ringstep__http_frame(ringstep_server_state *state, struct ringstep_connection *link, __u32 place,
						__u32 at, __u32 end)
{
	state->server.frame_place = place;
	state->server.frame_at = at;
	state->server.frame_end = end;
	link->partial = 0;
	return RINGSTEP__NEXT_FRAME;
}

/* Parses a head whose first bytes are in the buffer that is held. */
ringstep_apart int ringstep__http_first(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_request *request = ringstep__http_request(state, slot);
	const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;
	const __u32 at = state->held[id].at & (RINGSTEP_HTTP_SIZE - 1);
	__u32 end = state->held[id].end, take;

	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	take = at < end ? end - at : 0;
	ringstep_http_begin(request);
	ringstep_http_head(request, ringstep__http_chunk(state, id), at, end);
	if (request->flags & RINGSTEP_HTTP_COMPLETE) {
		const __u32 head = request->head;

		if (request->phase == RINGSTEP_HTTP_IN_LENGTH && request->left > state->own.longest_body)
			request->status = request->status ? request->status : 413;
		if (!request->status &&
		    (request->phase == RINGSTEP_HTTP_IN_END ||
		     (request->phase == RINGSTEP_HTTP_IN_LENGTH && head <= take && request->left <= take - head))) {
			const __u32 length = head + (__u32)request->left;

			request->phase = RINGSTEP_HTTP_IN_END;
			ringstep__http_take(state, link, at + length, true);
			return ringstep__http_frame(state, link, id, at, at + length);
		}
		take = head < take ? head : take;
	} else if (take >= RINGSTEP_HTTP_SIZE && !request->status) {
		/* The buffer is full, and so would be the connection's own chunk. */
		request->status = request->flags & RINGSTEP_HTTP_STARTED ? 431 : 414;
	}
	if (request->status)
		return ringstep__http_frame(state, link, id, 0, 0);
	ringstep__frame_copy(state, (__u64)ringstep__server_own_chunk(slot) << 32, id, at, (__u64)at + take);
	request->filled = take;
	link->partial = 1;
	ringstep__server_partial(state, link);
	ringstep__http_take(state, link, at + take, false);
	return 0;
}

/* Adds what is in the buffer that is held to a head. */
ringstep_apart int ringstep__http_further(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_request *request = ringstep__http_request(state, slot);
	const __u32 own = ringstep__server_own_chunk(slot);
	const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;
	const __u32 at = state->held[id].at & (RINGSTEP_HTTP_SIZE - 1), filled = request->filled & (RINGSTEP_HTTP_SIZE - 1);
	__u32 end = state->held[id].end, take;

	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	take = at < end ? end - at : 0;
	if (take > RINGSTEP_HTTP_SIZE - filled)
		take = RINGSTEP_HTTP_SIZE - filled;
	ringstep__frame_copy(state, (__u64)own << 32 | filled, id, at, (__u64)at + take);
	ringstep_http_head(request, ringstep__http_chunk(state, own), 0, filled + take);
	if (request->flags & RINGSTEP_HTTP_COMPLETE) {
		const __u32 head = request->head;

		/* What is behind the head was copied for nothing. */
		take = head > filled && head - filled < take ? head - filled : take;
		if (request->phase == RINGSTEP_HTTP_IN_LENGTH && request->left > state->own.longest_body)
			request->status = request->status ? request->status : 413;
	} else if (filled + take >= RINGSTEP_HTTP_SIZE && !request->status) {
		request->status = request->flags & RINGSTEP_HTTP_STARTED ? 431 : 414;
	}
	request->filled = filled + take;
	ringstep__http_take(state, link, at + take, false);
	if (request->status)
		return ringstep__http_frame(state, link, own, 0, 0);
	if (request->phase == RINGSTEP_HTTP_IN_END)
		return ringstep__http_frame(state, link, own, 0, filled + take);
	return 0;
}

/* Adds what is in the buffer that is held to a body. */
ringstep_apart int ringstep__http_body(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_request *request = ringstep__http_request(state, slot);
	const __u32 own = ringstep__server_own_chunk(slot), phase = request->phase;
	const __u32 id = (link->held_first - 1) & RINGSTEP__CHUNK_MASK;
	const __u32 at = state->held[id].at & (RINGSTEP_HTTP_SIZE - 1);
	__u32 end = state->held[id].end, filled = request->filled;

	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	if (filled > RINGSTEP_HTTP_SIZE)
		filled = RINGSTEP_HTTP_SIZE;
	if (phase == RINGSTEP_HTTP_IN_LENGTH || phase == RINGSTEP_HTTP_IN_CHUNK) {
		const __u64 left = request->left;
		__u32 take = at < end ? end - at : 0;

		if (take > RINGSTEP_HTTP_SIZE - filled)
			take = RINGSTEP_HTTP_SIZE - filled;
		if (take > left)
			take = (__u32)left;
		ringstep__frame_copy(state, (__u64)own << 32 | filled, id, at, (__u64)at + take);
		filled += take;
		request->filled = filled;
		request->left = left - take;
		if (left == take)
			request->phase = phase == RINGSTEP_HTTP_IN_LENGTH ? RINGSTEP_HTTP_IN_END : RINGSTEP_HTTP_IN_CHUNK_CR;
		ringstep__http_take(state, link, at + take, false);
	} else {
		const __u32 stop = end > at + RINGSTEP__HTTP_BETWEEN ? at + RINGSTEP__HTTP_BETWEEN : end;
		const __u32 next = (__u32)ringstep_http_between_chunks(request, ringstep__http_chunk(state, id), at, stop);

		if (request->phase == RINGSTEP_HTTP_IN_CHUNK && request->body > state->own.longest_body && !request->status)
			request->status = 413;
		ringstep__http_take(state, link, next, false);
		if (request->status)
			return ringstep__http_frame(state, link, own, 0, 0);
	}
	if (request->phase == RINGSTEP_HTTP_IN_END) {
		request->flags &= ~RINGSTEP_HTTP_MORE;
		return ringstep__http_frame(state, link, own, 0, filled);
	}
	if (filled >= RINGSTEP_HTTP_SIZE) {
		request->flags |= RINGSTEP_HTTP_MORE;
		return ringstep__http_frame(state, link, own, 0, filled);
	}
	return 0;
}

/* A head is complete, and its body is still to come. */
static __always_inline void ringstep__http_continue(ringstep_server_state *state, __u32 slot)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	if (conn->own.request.flags & RINGSTEP_HTTP_CONTINUE && !(conn->own.request.flags & RINGSTEP_HTTP_1_0))
		ringstep_reply(conn, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* --- A file that is being sent ----------------------------------------------------------------------------------------------- */

static __always_inline struct ringstep_http_transfer *ringstep__http_transfer(ringstep_server_state *state, __u32 slot)
{
	return &state->connections[slot & RINGSTEP__SERVER_MASK].own.transfer;
}

/* No more of a file is sent. */
static __always_inline void ringstep__http_transfer_end(ringstep_server_state *state, struct ringstep_connection *link,
							struct ringstep_http_transfer *transfer)
{
	state->own.file[(transfer->file - 1) & (RINGSTEP_HTTP_FILES - 1)].users--;
	transfer->file = 0;
	link->flags &= ~RINGSTEP_CONNECTION_LATER;
}

/* Looks at a connection that a file is being sent to. */
static __always_inline void ringstep__http_sending(ringstep_server_state *state, struct ringstep_connection *link,
						   struct ringstep_http_transfer *transfer)
{
	if (RINGSTEP__IS(link, FAILED)) {
		if (!(link->in_flight & RINGSTEP__PART_BIT(READ)))
			ringstep__http_transfer_end(state, link, transfer);
		return;
	}
	/* If its peer does not read, it must not keep buffers for long that others need. */
	if (link->out_begin == link->out_end)
		link->flags &= ~RINGSTEP_CONNECTION_BLOCKED;
	else if (link->held_first)
		link->flags |= RINGSTEP_CONNECTION_BLOCKED;
}

/* --- The next frame ---------------------------------------------------------------------------------------------------------- */

/* Finds the next frame of a connection. */
ringstep_apart int ringstep__http_next(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_request *request = ringstep__http_request(state, slot);
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	__s64 limit = ringstep_limit(RINGSTEP__HTTP_PIECES);
	int next;

	if (transfer->file) {
		ringstep__http_sending(state, link, transfer);
		return RINGSTEP__NEXT_NONE;
	}
	if (!link->partial && request->flags & RINGSTEP_HTTP_MORE && !RINGSTEP__IS(link, LATER)) {
		/* The application has handled a part of a body, and more is to come. */
		request->flags &= ~RINGSTEP_HTTP_MORE;
		request->head = 0;
		request->filled = 0;
		link->partial = 1;
		ringstep__server_partial(state, link);
	}
	if (!ringstep__server_may_handle(state, link))
		return RINGSTEP__NEXT_NONE;
	state->server.frame_give = 0;
	if (!link->partial || !(request->flags & RINGSTEP_HTTP_COMPLETE)) {
		next = link->partial ? ringstep__http_further(state, slot) : ringstep__http_first(state, slot);
		if (next)
			return next;
		if (!(request->flags & RINGSTEP_HTTP_COMPLETE))
			return link->held_first ? RINGSTEP__NEXT_AGAIN : RINGSTEP__NEXT_NONE;
		if (!link->held_first)
			ringstep__http_continue(state, slot);
	}
	ringstep_while_at_most (limit, link->held_first) {
		next = ringstep__http_body(state, slot);
		if (next)
			return next;
	}
	return link->held_first ? RINGSTEP__NEXT_AGAIN : RINGSTEP__NEXT_NONE;
}

#endif /* RINGSTEP_NET_HTTP_STEP_BPF_H */
