// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A server of HTTP/1.1. It answers requests for some paths by itself, with what the application has set for them, sends files, refuses malformed
 * requests, and hands all others to the application.
 *
 * The longest step handles 32 completions, each of which may begin a connection and clear its 95 words, or copy 16 words of a refusal. It handles 64
 * messages and 64 expired timers, and looks at 64 sends. It handles 16 frames: for each, it parses a head of 8192 bytes, which takes 30,752
 * iterations by words and by bytes, copies it, looks at 16 pieces of 512 iterations, compares 256 paths, copies an answer four times, and gives back 64 buffers. For a file, it compares
 * 64 paths, looks at 64 fields, and reads four lists of tags and a range, in 19,000 words and bytes. It starts 64 receives again, and a drain looks
 * at 64 connections. That makes 1,075,984 iterations, with 116 submits at most.
 */
#include <ringstep/c/loops/http.h>

#define RINGSTEP_SERVER_TYPE struct ringstep_http
#define RINGSTEP_SERVER_FRAMES 16
#define RINGSTEP__SERVER_NEXT ringstep__http_next
#define RINGSTEP__SERVER_FILES
#include <ringstep/net/server.bpf.h>

#include <ringstep/net/http/files.bpf.h>

#define COPIES 4 /* of an answer that the application changes meanwhile */

/* Returns the hash of a path, which is in a chunk from `at` to `end`. */
ringstep_apart __u64 path_hash(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 end)
{
	return ringstep_bytes_hash(ringstep__http_chunk(state, place)->at, at, end, 0);
}

/* Returns one more than the number of the answer for a path, which is in a chunk from `at` to `end`. Returns 0 if there is none. */
ringstep_apart __u32 find_answer(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at, __u64 end,
				 __u64 hash)
{
	const struct ringstep_http_bytes *bytes = ringstep__http_chunk(state, place);
	const __u32 reach = ringstep_load(&state->own.reach);
	__s64 limit = ringstep_limit(reach < RINGSTEP_HTTP_ANSWERS ? reach : RINGSTEP_HTTP_ANSWERS);
	__u64 number = ringstep__bytes_unknown(hash);

	ringstep_while_at_most (limit, true) {
		const struct ringstep_http_answer *answer = &state->own.answers[number & (RINGSTEP_HTTP_ANSWERS - 1)];

		if (!ringstep_load(&answer->version))
			return 0;
		if (answer->hash == hash && !ringstep_bytes_compare(bytes->at, at, end, answer->path, 0, answer->path_length))
			return (__u32)(number & (RINGSTEP_HTTP_ANSWERS - 1)) + 1;
		number++;
		barrier_var(number);
	}
	return 0;
}

/* Replies with a part of an answer: of its bytes with a version. */
ringstep_apart int reply_part(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u64 number_and_version, __u64 at,
			      __u64 end)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const struct ringstep_http_answer *answer = &state->own.answers[number_and_version >> 1 & (RINGSTEP_HTTP_ANSWERS - 1)];

	ringstep_reply_bytes(conn, answer->bytes[number_and_version & 1], at, end);
	return 0;
}

/* Copies an answer to the output. Returns a verdict, or -1 if the application changes the answer too often meanwhile. */
ringstep_apart int copy_answer(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 number)
{
	const struct ringstep_http_answer *answer = &state->own.answers[number & (RINGSTEP_HTTP_ANSWERS - 1)];
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const __u32 flags = conn->own.request.flags, before = conn->link.out_end;
	const bool keeps = ringstep_http_keeps(flags) && !state->server.draining;
	__s64 limit = ringstep_limit(COPIES);

	ringstep_while_at_most (limit, true) {
		const __u32 version = ringstep_load(&answer->version);
		const __u32 head = answer->size[version & 1].head, length = answer->size[version & 1].length;

		if (!head)
			return RINGSTEP_LATER;
		conn->link.out_end = before;
		reply_part(state, slot, (__u64)number << 1 | (version & 1), 0, head);
		ringstep__http_reply_end(state, slot, keeps);
		if (!(flags & RINGSTEP_HTTP_HEAD_METHOD) && head < length)
			reply_part(state, slot, (__u64)number << 1 | (version & 1), head, length);
		ringstep__store_fully(&state->own.fence, 0);
		if (ringstep_load(&answer->version) == version) {
			ringstep_store(&state->own.answered, state->own.answered + 1);
			return keeps ? RINGSTEP_KEEP : RINGSTEP_CLOSE;
		}
	}
	conn->link.out_end = before;
	return -1;
}

RINGSTEP_SERVER(http, .reply = RINGSTEP_HTTP_REPLY, .later = 1)
{
	const struct ringstep_http_request *request = &conn->own.request;
	const __u64 path = (__u64)frame.at + request->target, path_end = (__u64)frame.at + request->path_end;
	const __u32 answers = ringstep_load(&state->reach), files = state->files;
	__u32 number;
	__u64 hash;
	int verdict;

	if (request->status) {
		ringstep__http_date(server);
		return ringstep__http_refuse_by(server, frame.slot, request->status);
	}
	if (!(request->flags & (RINGSTEP_HTTP_GET_METHOD | RINGSTEP_HTTP_HEAD_METHOD)) || request->body ||
	    request->flags & (RINGSTEP_HTTP_CHUNKED | RINGSTEP_HTTP_MORE) || !(answers | files) ||
	    path_end - path > RINGSTEP_HTTP_FILE_PATH)
		return RINGSTEP_LATER;
	ringstep__http_date(server);
	hash = path_hash(server, frame.place, path, path_end);
	if (answers) {
		number = find_answer(server, frame.place, path, path_end, hash);
		verdict = number ? copy_answer(server, frame.slot, number - 1) : RINGSTEP_LATER;
		if (verdict < 0)
			return ringstep__http_refuse_by(server, frame.slot, 503);
		if (verdict != RINGSTEP_LATER)
			return verdict;
	}
	if (files) {
		number = ringstep__http_find_file(server, frame.place, path, path_end, hash);
		if (number)
			return ringstep__http_file(server, frame.slot, number - 1);
	}
	return RINGSTEP_LATER;
}
