/* SPDX-License-Identifier: MIT */
/*
 * The part of an HTTP server's step that sends files.
 *
 * The step writes the head of an answer behind the end of the output, and the first read puts the file's bytes behind that. The output grows by both
 * only if the read succeeds. So a file that cannot be read gets an error status, and a short file takes one read and one send. A longer file is sent
 * in pieces: the step reads as many bytes as the output has room for, sends all of them, and reads again. Meanwhile, the connection waits as it does
 * when the application has its frame.
 *
 * This file is not for authors. It is a part of the loop http.
 */
#ifndef RINGSTEP_NET_HTTP_FILES_BPF_H
#define RINGSTEP_NET_HTTP_FILES_BPF_H

#include <ringstep/net/http/replies.bpf.h>

#define RINGSTEP__EIO 5

static __always_inline struct ringstep_http_file *ringstep__http_file_of(ringstep_server_state *state, __u32 number)
{
	return &state->own.file[number & (RINGSTEP_HTTP_FILES - 1)];
}

/* Returns one more than the number of the file for a path, which is in a chunk from `at` to `end`. Returns 0 if there is none. */
ringstep_apart __u32 ringstep__http_find_file(ringstep_server_state *state ringstep_arg_nonnull, __u32 place, __u64 at,
					      __u64 end, __u64 hash)
{
	const struct ringstep_http_bytes *bytes = ringstep__http_chunk(state, place);
	__s64 limit = ringstep_limit(RINGSTEP_HTTP_FILE_CHAIN);
	__u64 next = ringstep__bytes_unknown(state->own.paths[hash & (RINGSTEP_HTTP_FILES - 1)]);

	ringstep_while_at_most (limit, next) {
		const struct ringstep_http_file *file = ringstep__http_file_of(state, (__u32)next - 1);

		if (file->hash == hash && !ringstep_bytes_compare(bytes->at, at, end, file->path, 0, file->path_length))
			return (__u32)next;
		next = file->next;
		barrier_var(next);
	}
	return 0;
}

/* --- What a request wants of a file ------------------------------------------------------------------------------------------ */

/*
 * Looks whether a field of a request, with a list of tags, has that of the file, or is "*". It is If-Match, or If-None-Match if `weakly` is 1: then a tag
 * that is marked as weak is as good as any.
 */
ringstep_apart int ringstep__http_tags(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 number,
				       __u32 weakly)
{
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	const struct ringstep_http_field *field =
		&ringstep__http_request(state, slot)->field[number & (RINGSTEP_HTTP_FIELDS - 1)];
	const struct ringstep_http_file *file = ringstep__http_file_of(state, transfer->number);
	const struct ringstep_http_bytes *bytes = ringstep__http_chunk(state, state->server.frame_place);
	const __u64 end = (__u64)state->server.frame_at + field->value_end;
	const __u32 found = weakly ? RINGSTEP_HTTP_NONE_MATCHED : RINGSTEP_HTTP_MATCHED;
	__s64 limit = ringstep_limit(RINGSTEP_HTTP_TAGS);
	__u64 at = ringstep__bytes_unknown((__u64)state->server.frame_at + field->value);

	if (ringstep_bytes_are(bytes->at, at, end, "*"))
		transfer->flags |= found;
	ringstep_while_at_most (limit, at < end) {
		const __u64 open = ringstep_bytes_find(bytes->at, at, end, '"');
		const __u64 close = ringstep_bytes_find(bytes->at, open + 1, end, '"');
		const __u64 before = open - 1;

		if (close >= end)
			return 0;
		if (!ringstep_bytes_compare(bytes->at, open, close + 1, file->text, file->tag, file->tag_end) &&
		    (weakly || bytes->at[before & (RINGSTEP_HTTP_SIZE - 1)] != '/')) {
			transfer->flags |= found;
			return 0;
		}
		at = close + 1;
		barrier_var(at);
	}
	return 0;
}

/* What ringstep__http_condition() returns. */
enum ringstep__http_list {
	RINGSTEP__HTTP_NO_LIST = 0,
	RINGSTEP__HTTP_IF_MATCH = 1,
	RINGSTEP__HTTP_IF_NONE_MATCH = 2,
};

/* Looks at one field of a request for a file. Returns which list of tags it has. */
ringstep_apart int ringstep__http_condition(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 number)
{
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	const struct ringstep_http_field *field =
		&ringstep__http_request(state, slot)->field[number & (RINGSTEP_HTTP_FIELDS - 1)];
	const struct ringstep_http_file *file = ringstep__http_file_of(state, transfer->number);
	const struct ringstep_http_bytes *bytes = ringstep__http_chunk(state, state->server.frame_place);
	const __u32 length = field->name_end - (__u32)field->name;
	const __u64 begin = state->server.frame_at;
	const __u64 name = begin + field->name, name_end = begin + field->name_end;
	const __u64 value = begin + field->value, value_end = begin + field->value_end;

	if (length == 5 && ringstep_bytes_are_nocase(bytes->at, name, name_end, "Range")) {
		if (transfer->range)
			transfer->flags |= RINGSTEP_HTTP_RANGE_IGNORED;
		transfer->range = number + 1;
	} else if (length == 8 && ringstep_bytes_are_nocase(bytes->at, name, name_end, "If-Range")) {
		if (ringstep_bytes_compare(bytes->at, value, value_end, file->text, file->tag, file->tag_end))
			transfer->flags |= RINGSTEP_HTTP_RANGE_IGNORED;
	} else if (length == 8 && ringstep_bytes_are_nocase(bytes->at, name, name_end, "If-Match")) {
		transfer->flags |= RINGSTEP_HTTP_MATCH;
		return RINGSTEP__HTTP_IF_MATCH;
	} else if (length == 13 && ringstep_bytes_are_nocase(bytes->at, name, name_end, "If-None-Match")) {
		transfer->flags |= RINGSTEP_HTTP_NONE_MATCH;
		return RINGSTEP__HTTP_IF_NONE_MATCH;
	} else if (length == 17 && ringstep_bytes_are_nocase(bytes->at, name, name_end, "If-Modified-Since")) {
		if (!ringstep_bytes_compare(bytes->at, value, value_end, file->text, file->modified, file->modified_end))
			transfer->flags |= RINGSTEP_HTTP_SAME_DATE;
	}
	return RINGSTEP__HTTP_NO_LIST;
}

/* Sets the bytes that are to be sent, and returns the status that says so. */
static __always_inline int ringstep__http_part(struct ringstep_http_transfer *transfer, __u64 first, __u64 last)
{
	transfer->offset = first;
	transfer->left = last - first + 1;
	return 206;
}

/*
 * Finds the part of a file that a request is for. Returns 206, or 416 if the file has no such part. Returns 200 for all of it, also if the request is
 * for several parts or is malformed.
 */
ringstep_apart int ringstep__http_range(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	const struct ringstep_http_field *field =
		&ringstep__http_request(state, slot)->field[(transfer->range - 1) & (RINGSTEP_HTTP_FIELDS - 1)];
	const struct ringstep_http_bytes *bytes = ringstep__http_chunk(state, state->server.frame_place);
	const __u64 size = ringstep__http_file_of(state, transfer->number)->size;
	const __u64 value = (__u64)state->server.frame_at + field->value, at = value + 6;
	const __u64 end = (__u64)state->server.frame_at + field->value_end;
	__u64 first = 0, last = 0, dash;

	if (at >= end || !ringstep_bytes_are_nocase(bytes->at, value, at, "bytes="))
		return 200;
	if (bytes->at[at & (RINGSTEP_HTTP_SIZE - 1)] == '-') {
		if (at + 1 >= end || ringstep_bytes_parse(bytes->at, at + 1, end, &last) != end)
			return 200;
		if (!last)
			return 416;
		return size ? ringstep__http_part(transfer, last < size ? size - last : 0, size - 1) : 200;
	}
	dash = ringstep_bytes_parse(bytes->at, at, end, &first);
	if (dash == at || dash >= end || bytes->at[dash & (RINGSTEP_HTTP_SIZE - 1)] != '-')
		return 200;
	if (dash + 1 >= end)
		last = ~0ULL;
	else if (ringstep_bytes_parse(bytes->at, dash + 1, end, &last) != end || last < first)
		return 200;
	if (first >= size)
		return 416;
	return ringstep__http_part(transfer, first, last < size ? last : size - 1);
}

/* --- The answer -------------------------------------------------------------------------------------------------------------- */

/* Replies with the fields of a file up to a position of its text. */
ringstep_apart int ringstep__http_file_fields(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 number,
					      __u64 end)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const struct ringstep_http_file *file = ringstep__http_file_of(state, number);

	ringstep_reply_bytes(conn, file->text, 0, end);
	return 0;
}

/* Replies with a number. The functions here are apart from each other, because the verifier follows each of them once. */
ringstep_apart int ringstep__http_reply_number(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u64 number)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	ringstep_reply_number(conn, number);
	return 0;
}

/* Replies with the end of a line. */
ringstep_apart int ringstep__http_reply_line_end(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	ringstep_reply(conn, "\r\n");
	return 0;
}

/* Replies with the status line of an answer for a file. */
ringstep_apart int ringstep__http_file_status(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 status)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	if (status == 200)
		ringstep_reply(conn, "HTTP/1.1 200 OK\r\n");
	else if (status == 206)
		ringstep_reply(conn, "HTTP/1.1 206 Partial Content\r\n");
	else if (status == 304)
		ringstep_reply(conn, "HTTP/1.1 304 Not Modified\r\n");
	else if (status == 412)
		ringstep_reply(conn, "HTTP/1.1 412 Precondition Failed\r\n");
	else
		ringstep_reply(conn, "HTTP/1.1 416 Range Not Satisfiable\r\n");
	return 0;
}

/* Replies with the Content-Range of a part, without the size of the file, or with the begin of one that says that there is no such part. */
ringstep_apart int ringstep__http_content_range(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 status)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const struct ringstep_http_transfer *transfer = &conn->own.transfer;

	if (status != 206) {
		ringstep_reply(conn, "Content-Range: bytes */");
		return 0;
	}
	ringstep_reply(conn, "Content-Range: bytes ");
	ringstep__http_reply_number(state, slot, transfer->offset);
	ringstep_reply(conn, "-");
	ringstep__http_reply_number(state, slot, transfer->offset + transfer->left - 1);
	ringstep_reply(conn, "/");
	return 0;
}

/* Replies with the head of an answer for a file. */
ringstep_apart int ringstep__http_file_head(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 status)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const struct ringstep_http_transfer *transfer = &conn->own.transfer;
	const struct ringstep_http_file *file = ringstep__http_file_of(state, transfer->number);
	const bool whole = status == 200 || status == 206;

	ringstep__http_file_status(state, slot, status);
	if (whole || status == 304)
		ringstep__http_file_fields(state, slot, transfer->number, whole ? file->text_length : file->common);
	if (status != 304) {
		ringstep_reply(conn, "Content-Length: ");
		ringstep__http_reply_number(state, slot, whole ? transfer->left : 0);
		ringstep__http_reply_line_end(state, slot);
	}
	if (status == 206 || status == 416) {
		ringstep__http_content_range(state, slot, status);
		ringstep__http_reply_number(state, slot, file->size);
		ringstep__http_reply_line_end(state, slot);
	}
	return ringstep__http_reply_end(state, slot, !(transfer->flags & RINGSTEP_HTTP_TRANSFER_LAST));
}

/* Answers a request for a file, and returns a verdict. */
ringstep_apart int ringstep__http_file(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 number)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	struct ringstep_http_request *request = ringstep__http_request(state, slot);
	struct ringstep_http_file *file = ringstep__http_file_of(state, number);
	const __u32 before = link->out_end;
	__s64 limit = ringstep_limit(request->fields < RINGSTEP_HTTP_FIELDS ? request->fields : RINGSTEP_HTTP_FIELDS);
	__s64 lists = ringstep_limit(RINGSTEP_HTTP_LISTS);
	__u32 status = 200;

	transfer->number = number;
	transfer->range = 0;
	transfer->offset = 0;
	transfer->left = file->size;
	transfer->flags = ringstep_http_keeps(request->flags) && !state->server.draining ? 0 : RINGSTEP_HTTP_TRANSFER_LAST;
	ringstep_while_at_most (limit, true) {
		const int list = ringstep__http_condition(state, slot, (__u32)limit);

		if (list != RINGSTEP__HTTP_NO_LIST && lists-- > 0)
			ringstep__http_tags(state, slot, (__u32)limit, list == RINGSTEP__HTTP_IF_NONE_MATCH);
	}
	if (transfer->flags & RINGSTEP_HTTP_MATCH && !(transfer->flags & RINGSTEP_HTTP_MATCHED))
		status = 412;
	else if (transfer->flags &
		 (transfer->flags & RINGSTEP_HTTP_NONE_MATCH ? RINGSTEP_HTTP_NONE_MATCHED : RINGSTEP_HTTP_SAME_DATE))
		status = 304;
	else if (transfer->range && request->flags & RINGSTEP_HTTP_GET_METHOD &&
		 !(transfer->flags & RINGSTEP_HTTP_RANGE_IGNORED))
		status = (__u32)ringstep__http_range(state, slot);
	ringstep__http_file_head(state, slot, status);
	if ((status == 200 || status == 206) && request->flags & RINGSTEP_HTTP_GET_METHOD && transfer->left) {
		transfer->at = link->out_end;
		link->out_end = before;
		transfer->file = number + 1;
		file->users++;
		return RINGSTEP__READING;
	}
	ringstep_store(&state->own.answered, state->own.answered + 1);
	return transfer->flags & RINGSTEP_HTTP_TRANSFER_LAST ? RINGSTEP_CLOSE : RINGSTEP_KEEP;
}

/* --- Reading ----------------------------------------------------------------------------------------------------------------- */

static __always_inline bool ringstep__server_wants_read(const ringstep_server_connection *conn, bool pending)
{
	return conn->own.transfer.file && !(conn->link.in_flight & RINGSTEP__PART_BIT(READ)) &&
	       !(pending && conn->own.transfer.flags & RINGSTEP_HTTP_TRANSFER_BEGUN);
}

/* Prepares the output for a read. Returns how many bytes to read, and above bit 32 to which position. */
ringstep_apart __u64 ringstep__http_piece(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	const __u64 left = transfer->left;
	__u64 at, room;

	if (transfer->flags & RINGSTEP_HTTP_TRANSFER_BEGUN) {
		link->out_begin = 0;
		link->out_end = 0;
		transfer->at = 0;
	}
	at = transfer->at & (RINGSTEP_HTTP_OUTPUT - 1);
	room = RINGSTEP_HTTP_OUTPUT - at;
	return at << 32 | (left < room ? left : room);
}

static __always_inline void ringstep__server_prep_read(struct ringstep_turn *turn, struct io_uring_sqe *sqe,
						       ringstep_server_state *state, __u32 slot)
{
	const ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];
	const __u32 file = (conn->own.transfer.file - 1) & (RINGSTEP_HTTP_FILES - 1);
	const __u64 piece = ringstep__http_piece(state, slot);

	ringstep_prep_read(sqe, (__s32)(state->own.first_file + file), ringstep_address(turn, conn->output) + (piece >> 32),
			   (__u32)piece, conn->own.transfer.offset);
}

ringstep_apart int ringstep__server_read_done(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __s32 result)
{
	struct ringstep_connection *link = &state->connections[slot & RINGSTEP__SERVER_MASK].link;
	struct ringstep_http_transfer *transfer = ringstep__http_transfer(state, slot);
	const __u32 at = transfer->at & (RINGSTEP_HTTP_OUTPUT - 1), flags = transfer->flags;
	const __u64 left = transfer->left;

	if (!transfer->file || RINGSTEP__IS(link, FAILED))
		return 0; /* ringstep__http_sending() ends it */
	if (result <= 0 || (__u64)result > left || (__u32)result > RINGSTEP_HTTP_OUTPUT - at) {
		ringstep_store(&state->own.broken, state->own.broken + 1);
		if (flags & RINGSTEP_HTTP_TRANSFER_BEGUN) {
			/* The client was promised more. */
			ringstep__server_count(state, failed, 1);
			ringstep__server_fail(link, -RINGSTEP__EIO);
		} else {
			ringstep__http_date(state);
			ringstep__http_refuse_by(state, slot, 500);
			link->flags |= RINGSTEP_CONNECTION_CLOSING;
		}
		ringstep__http_transfer_end(state, link, transfer);
		return 0;
	}
	link->out_end = at + (__u32)result;
	transfer->offset += (__u32)result;
	transfer->left = left - (__u32)result;
	transfer->flags = flags | RINGSTEP_HTTP_TRANSFER_BEGUN;
	if (left != (__u32)result)
		return 0;
	if (flags & RINGSTEP_HTTP_TRANSFER_LAST)
		link->flags |= RINGSTEP_CONNECTION_CLOSING;
	ringstep_store(&state->own.answered, state->own.answered + 1);
	ringstep__http_transfer_end(state, link, transfer);
	return 0;
}

#endif /* RINGSTEP_NET_HTTP_FILES_BPF_H */
