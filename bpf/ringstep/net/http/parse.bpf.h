/* SPDX-License-Identifier: MIT */
/*
 * A strict parser of HTTP/1.1 heads and of bodies in chunks, after RFC 9110 and RFC 9112. It needs each byte once, however the bytes arrive: lines are
 * parsed when they are complete. What it refuses has an HTTP status, and nothing behind it is to be looked at.
 *
 * Include this file after <ringstep/loop.bpf.h>. C++ may include it in a file of C: tests/net/http_kit.c.
 *
 * Refused are, among others: lines that end with LF alone, white space in front of a colon or at the begin of a line (folded lines), control
 * characters, more than one Content-Length, Host or Transfer-Encoding, a Content-Length that is no plain number or comes with Transfer-Encoding, and
 * transfer codings other than "chunked".
 */
#ifndef RINGSTEP_NET_HTTP_PARSE_BPF_H
#define RINGSTEP_NET_HTTP_PARSE_BPF_H

#include <ringstep/bytes.bpf.h>
#include <ringstep/c/net/http.h>

/* The array that the parser reads. */
struct ringstep_http_bytes {
	__u8 at[RINGSTEP_HTTP_SIZE];
};

/* --- Characters -------------------------------------------------------------------------------------------------------------- */

/* What the characters of a range may be. */
enum ringstep__http_class {
	RINGSTEP__HTTP_PLAIN = 0,  /* letters, digits, and "-", ".", ":" */
	RINGSTEP__HTTP_VALUE = 1,  /* anything but control characters; the tabulator is allowed */
	RINGSTEP__HTTP_TARGET = 2, /* visible ASCII */
};

/* Returns the highest bit of each byte that is `from` or higher. Each byte of the word is 0x7f at most. */
static __always_inline __u64 ringstep__http_from(__u64 word, __u64 from)
{
	return word + ringstep__bytes_all(0x80 - from);
}

/* Returns true if a byte of a word is not in the class. */
static __always_inline bool ringstep__http_odd(__u64 word, int class)
{
	const __u64 low = word & ringstep__bytes_all(0x7f);
	__u64 good;

	if (class == RINGSTEP__HTTP_VALUE) {
		/* From space to tilde, above ASCII, or a tabulator. */
		good = (ringstep__http_from(low, 0x20) & ~ringstep__http_from(low, 0x7f)) | word;
		good |= ringstep__http_from(low, 0x09) & ~ringstep__http_from(low, 0x0a);
	} else if (class == RINGSTEP__HTTP_TARGET) {
		good = ringstep__http_from(low, 0x21) & ~ringstep__http_from(low, 0x7f) & ~word;
	} else {
		const __u64 small = low | ringstep__bytes_all(0x20);

		good = ringstep__http_from(small, 'a') & ~ringstep__http_from(small, 'z' + 1);
		/* From '-' to ':', without '/'. */
		good |= ringstep__http_from(low, '-') & ~ringstep__http_from(low, ':' + 1) &
			~(ringstep__http_from(low, '/') & ~ringstep__http_from(low, '0'));
		good &= ~word;
	}
	return (~good & ringstep__bytes_all(0x80)) != 0;
}

/* Returns true if all characters of a range are in the class. */
static __always_inline bool ringstep__http_all(const struct ringstep_http_bytes *bytes, __u64 at, __u64 end, int class)
{
	const __u64 fill = ringstep__bytes_all('a');
	__s64 left;
	__u64 word;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	left = (__s64)ringstep__bytes_unknown(end) - (__s64)at;
	at = ringstep__bytes_unknown(at);
	while (left > 0 && ringstep__may_loop) {
		word = ringstep__bytes_at(bytes->at, RINGSTEP_HTTP_SIZE, at);
		if (left < 8)
			word = (word & ringstep__bytes_first((__u64)left)) | (fill & ~ringstep__bytes_first((__u64)left));
		if (ringstep__http_odd(word, class))
			return false;
		at += 8;
		barrier_var(at);
		left -= 8;
		barrier_var(left);
	}
	return true;
}

/* Returns true if all characters of a range are in a set: a bit for each of the characters from 0 to 63, and from 64 to 127. */
static __always_inline bool ringstep__http_of_set(const struct ringstep_http_bytes *bytes, __u64 at, __u64 end, __u64 low,
						  __u64 high)
{
	__u64 byte;

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	while (at < end && ringstep__may_loop) {
		byte = bytes->at[at & (RINGSTEP_HTTP_SIZE - 1)];
		if (byte & 0x80 || !((byte & 0x40 ? high : low) >> (byte & 63) & 1))
			return false;
		at++;
		barrier_var(at);
	}
	return true;
}

/* A token: letters, digits, and !#$%&'*+-.^_`|~ */
ringstep_apart int ringstep__http_is_token(const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	if (at >= end)
		return 0;
	if (ringstep__http_all(bytes, at, end, RINGSTEP__HTTP_PLAIN))
		return ringstep_bytes_find(bytes->at, at, end, ':') >= end;
	return ringstep__http_of_set(bytes, at, end, 0x03ff6cfa00000000ULL, 0x57ffffffc7fffffeULL);
}

/* A host: a name, an address or an address in brackets, and perhaps a port. It may be empty. */
ringstep_apart int ringstep__http_is_host(const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	if (ringstep__http_all(bytes, at, end, RINGSTEP__HTTP_PLAIN))
		return 1;
	/* Letters, digits, and !$%&'()*+,-.:;=[]_~ */
	return ringstep__http_of_set(bytes, at, end, 0x2fff7ff200000000ULL, 0x47fffffeaffffffeULL);
}

ringstep_apart int ringstep__http_is_value(const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	return ringstep__http_all(bytes, at, end, RINGSTEP__HTTP_VALUE);
}

ringstep_apart int ringstep__http_is_target(const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	return at < end && ringstep__http_all(bytes, at, end, RINGSTEP__HTTP_TARGET);
}

static __always_inline bool ringstep__http_is_space(const struct ringstep_http_bytes *bytes, __u64 at)
{
	const __u8 byte = bytes->at[at & (RINGSTEP_HTTP_SIZE - 1)];

	return byte == ' ' || byte == '\t';
}

/* Returns a range without spaces and tabulators around it: the first position, and the end above bit 32. */
ringstep_apart __u64 ringstep__http_trim(const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	while (at < end && ringstep__http_is_space(bytes, at) && ringstep__may_loop) {
		at++;
		barrier_var(at);
	}
	while (at < end && ringstep__http_is_space(bytes, end - 1) && ringstep__may_loop) {
		end--;
		barrier_var(end);
	}
	return end << 32 | (at & 0xffffffff);
}

/* --- The head ---------------------------------------------------------------------------------------------------------------- */

static __always_inline int ringstep__http_refuse(struct ringstep_http_request *request, __u32 status)
{
	if (!request->status)
		request->status = status;
	return 0;
}

/* Begins a new request. */
static __always_inline void ringstep_http_begin(struct ringstep_http_request *request)
{
	request->flags = 0;
	request->status = 0;
	request->phase = RINGSTEP_HTTP_IN_HEAD;
	request->fields = 0;
	request->head = 0;
	request->line = 0;
	request->looked = 0;
	request->digits = 0;
	request->filled = 0;
	request->method = 0;
	request->method_end = 0;
	request->target = 0;
	request->path_end = 0;
	request->target_end = 0;
	request->left = 0;
	request->body = 0;
}

/* Parses the request line from `at` to `end`. The head begins at `begin`. */
ringstep_apart int ringstep__http_request_line(struct ringstep_http_request *request ringstep_arg_nonnull,
					       const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 begin,
					       __u64 at, __u64 end)
{
	const __u64 method_end = ringstep_bytes_find(bytes->at, at, end, ' ');
	const __u64 target = method_end + 1;
	const __u64 target_end = ringstep_bytes_find(bytes->at, target, end, ' ');
	const __u64 version = target_end + 1;
	const __u64 first = bytes->at[target & (RINGSTEP_HTTP_SIZE - 1)];

	request->flags |= RINGSTEP_HTTP_STARTED;
	if (!ringstep__http_is_token(bytes, at, method_end) || !ringstep__http_is_target(bytes, target, target_end) ||
	    target >= end)
		return ringstep__http_refuse(request, 400);
	if (ringstep_bytes_are(bytes->at, version, end, "HTTP/1.0")) {
		request->flags |= RINGSTEP_HTTP_1_0;
	} else if (!ringstep_bytes_are(bytes->at, version, end, "HTTP/1.1")) {
		/* A version is a digit, a point and a digit. */
		const __u64 digits = ringstep__bytes_at(bytes->at, RINGSTEP_HTTP_SIZE, version + 5);

		if (end - version != 8 || !ringstep_bytes_are(bytes->at, version, version + 5, "HTTP/") ||
		    (digits & 0xff) - '0' > 9 || (digits >> 8 & 0xff) != '.' || (digits >> 16 & 0xff) - '0' > 9)
			return ringstep__http_refuse(request, 400);
		return ringstep__http_refuse(request, 505);
	}
	if (ringstep_bytes_are(bytes->at, at, method_end, "GET"))
		request->flags |= RINGSTEP_HTTP_GET_METHOD;
	else if (ringstep_bytes_are(bytes->at, at, method_end, "HEAD"))
		request->flags |= RINGSTEP_HTTP_HEAD_METHOD;
	else if (ringstep_bytes_are(bytes->at, at, method_end, "CONNECT"))
		return ringstep__http_refuse(request, 501);
	if (first != '/' && !ringstep_bytes_are_nocase(bytes->at, target, target + 7, "http://") &&
	    !ringstep_bytes_are_nocase(bytes->at, target, target + 8, "https://") &&
	    !(ringstep_bytes_are(bytes->at, at, method_end, "OPTIONS") &&
	      ringstep_bytes_are(bytes->at, target, target_end, "*")))
		return ringstep__http_refuse(request, 400);
	request->method = (__u16)(at - begin);
	request->method_end = (__u16)(method_end - begin);
	request->target = (__u16)(target - begin);
	request->target_end = (__u16)(target_end - begin);
	request->path_end = (__u16)(ringstep_bytes_find(bytes->at, target, target_end, '?') - begin);
	return 0;
}

/* Looks at the names in the value of a Connection. */
ringstep_apart int ringstep__http_connection(struct ringstep_http_request *request ringstep_arg_nonnull,
					     const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	__s64 limit = ringstep_limit(RINGSTEP_HTTP_TOKENS);

	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	ringstep_while_at_most (limit, at < end) {
		const __u64 comma = ringstep_bytes_find(bytes->at, at, end, ',');
		const __u64 name = ringstep__http_trim(bytes, at, comma);

		if (ringstep_bytes_are_nocase(bytes->at, name & 0xffffffff, name >> 32, "close"))
			request->flags |= RINGSTEP_HTTP_CLOSE;
		else if (ringstep_bytes_are_nocase(bytes->at, name & 0xffffffff, name >> 32, "keep-alive"))
			request->flags |= RINGSTEP_HTTP_KEEP_ALIVE;
		at = comma + 1;
		barrier_var(at);
	}
	return at < end ? ringstep__http_refuse(request, 400) : 0;
}

/* Looks at a Content-Length. */
ringstep_apart int ringstep__http_length(struct ringstep_http_request *request ringstep_arg_nonnull,
					 const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at, __u64 end)
{
	__u64 length = 0;

	if (request->flags & RINGSTEP_HTTP_LENGTH || at >= end || ringstep_bytes_parse(bytes->at, at, end, &length) != end)
		return ringstep__http_refuse(request, 400);
	request->flags |= RINGSTEP_HTTP_LENGTH;
	request->body = length;
	return 0;
}

/* Looks at a field that may be one that the parser knows. Its name begins at `name`; `is` is what ringstep__http_field_line() has returned. */
ringstep_apart int ringstep__http_known(struct ringstep_http_request *request ringstep_arg_nonnull,
					const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 name, __u64 is)
{
	const __u64 name_end = is & 0xffff, value = is >> 16 & 0xffff, value_end = is >> 32;

	if (ringstep_bytes_are_nocase(bytes->at, name, name_end, "Host")) {
		if (request->flags & RINGSTEP_HTTP_HOST || !ringstep__http_is_host(bytes, value, value_end))
			return ringstep__http_refuse(request, 400);
		request->flags |= RINGSTEP_HTTP_HOST;
	} else if (ringstep_bytes_are_nocase(bytes->at, name, name_end, "Content-Length")) {
		ringstep__http_length(request, bytes, value, value_end);
	} else if (ringstep_bytes_are_nocase(bytes->at, name, name_end, "Transfer-Encoding")) {
		if (request->flags & RINGSTEP_HTTP_CHUNKED)
			return ringstep__http_refuse(request, 400);
		if (!ringstep_bytes_are_nocase(bytes->at, value, value_end, "chunked"))
			return ringstep__http_refuse(request, 501);
		request->flags |= RINGSTEP_HTTP_CHUNKED;
	} else if (ringstep_bytes_are_nocase(bytes->at, name, name_end, "Connection")) {
		ringstep__http_connection(request, bytes, value, value_end);
	} else if (ringstep_bytes_are_nocase(bytes->at, name, name_end, "Expect")) {
		if (!ringstep_bytes_are_nocase(bytes->at, value, value_end, "100-continue"))
			return ringstep__http_refuse(request, 417);
		request->flags |= RINGSTEP_HTTP_CONTINUE;
	}
	return 0;
}

/*
 * Parses the line of a field, from `at` to `end`. If ringstep__http_known() has to look at it, returns where its name ends, above bit 16 where its value
 * begins, and above bit 32 where that ends. Otherwise returns 0.
 */
ringstep_apart __u64 ringstep__http_field_line(struct ringstep_http_request *request ringstep_arg_nonnull,
					       const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 begin,
					       __u64 at, __u64 end)
{
	const __u64 colon = ringstep_bytes_find(bytes->at, at, end, ':');
	const __u32 number = request->fields;
	struct ringstep_http_field *field = &request->field[number & (RINGSTEP_HTTP_FIELDS - 1)];
	__u64 value;

	if (colon >= end || !ringstep__http_is_token(bytes, at, colon) || !ringstep__http_is_value(bytes, colon + 1, end))
		return ringstep__http_refuse(request, 400);
	if (number >= RINGSTEP_HTTP_FIELDS)
		return ringstep__http_refuse(request, 431);
	value = ringstep__http_trim(bytes, colon + 1, end);
	field->name = (__u16)(at - begin);
	field->name_end = (__u16)(colon - begin);
	field->value = (__u16)((value & 0xffffffff) - begin);
	field->value_end = (__u16)((value >> 32) - begin);
	request->fields = number + 1;
	/* The lengths of the names that are known. */
	if (!(1ULL << ((colon - at) & 63) & (1ULL << 4 | 1ULL << 6 | 1ULL << 10 | 1ULL << 14 | 1ULL << 17)))
		return 0;
	return colon | (value & 0xffff) << 16 | value >> 32 << 32;
}

/* The head is complete. */
ringstep_apart int ringstep__http_head_end(struct ringstep_http_request *request ringstep_arg_nonnull)
{
	const __u32 flags = request->flags;

	request->flags = flags | RINGSTEP_HTTP_COMPLETE;
	request->head = request->looked;
	if (!(flags & (RINGSTEP_HTTP_HOST | RINGSTEP_HTTP_1_0)))
		return ringstep__http_refuse(request, 400);
	if (flags & RINGSTEP_HTTP_CHUNKED) {
		if (flags & (RINGSTEP_HTTP_LENGTH | RINGSTEP_HTTP_1_0))
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_SIZE;
	} else {
		request->left = request->body;
		request->phase = request->body ? RINGSTEP_HTTP_IN_LENGTH : RINGSTEP_HTTP_IN_END;
	}
	return 0;
}

/* Parses one line, from `at` to `end`. Its CR and LF are behind that. */
static __always_inline void ringstep__http_line(struct ringstep_http_request *request, const struct ringstep_http_bytes *bytes,
						__u64 begin, __u64 at, __u64 end)
{
	const __u32 flags = request->flags;

	if (at < end && !(flags & RINGSTEP_HTTP_STARTED)) {
		ringstep__http_request_line(request, bytes, begin, at, end);
	} else if (at < end) {
		const __u64 is = ringstep__http_field_line(request, bytes, begin, at, end);

		if (is)
			ringstep__http_known(request, bytes, at, is);
	} else if (flags & RINGSTEP_HTTP_STARTED) {
		ringstep__http_head_end(request);
	} else if (flags & RINGSTEP_HTTP_EMPTY_LINE) {
		ringstep__http_refuse(request, 400);
	} else {
		/* One empty line in front is ignored, as the standard asks for. */
		request->flags = flags | RINGSTEP_HTTP_EMPTY_LINE;
	}
}

/*
 * Parses a head that begins at `begin`, as far as its bytes are there: up to `end`. Call it again when there are more, with the same bytes in front of
 * them, at any other place. Afterwards either the head is complete (RINGSTEP_HTTP_COMPLETE), or it is refused (`status`), or more bytes are needed.
 */
static __always_inline void ringstep_http_head(struct ringstep_http_request *request, const struct ringstep_http_bytes *bytes,
					       __u64 begin, __u64 end)
{
	/* Each line has a field, but for the first, the last, and an empty one. */
	__s64 limit = ringstep_limit(RINGSTEP_HTTP_FIELDS + 4);
	__u64 line, looked;

	begin = ringstep__bytes_unknown(begin);
	end = ringstep__bytes_unknown(end);
	if (begin > RINGSTEP_HTTP_SIZE)
		begin = RINGSTEP_HTTP_SIZE;
	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	/* Positions in local variables only rise, so that no byte is looked at twice, whoever else writes to the state. */
	line = ringstep__bytes_unknown(begin + request->line);
	looked = ringstep__bytes_unknown(begin + request->looked);
	ringstep_while_at_most (limit, !request->status && !(request->flags & RINGSTEP_HTTP_COMPLETE)) {
		const __u64 stop = ringstep_bytes_find(bytes->at, looked, end, '\n');
		const __u64 before = stop - 1;

		if (stop >= end) {
			request->looked = end > begin ? (__u32)(end - begin) : 0;
			return;
		}
		looked = stop + 1;
		request->looked = (__u32)(looked - begin);
		request->line = (__u32)(looked - begin);
		if (stop <= line || bytes->at[before & (RINGSTEP_HTTP_SIZE - 1)] != '\r') {
			ringstep__http_refuse(request, 400);
			return;
		}
		ringstep__http_line(request, bytes, begin, line, before);
		line = looked;
		barrier_var(looked);
		barrier_var(line);
	}
	/* Only memory that somebody else writes to can have that many lines. */
	if (ringstep_limit_reached(limit) && !(request->flags & RINGSTEP_HTTP_COMPLETE))
		ringstep__http_refuse(request, 431);
}

/* --- Bodies in chunks -------------------------------------------------------------------------------------------------------- */

/* Adds a digit to the size of a chunk. Returns false if it is none. */
static __always_inline bool ringstep__http_digit(struct ringstep_http_request *request, __u64 byte)
{
	const __u64 small = byte | 0x20;
	__u64 digit;

	if (byte >= '0' && byte <= '9')
		digit = byte - '0';
	else if (small >= 'a' && small <= 'f')
		digit = small - 'a' + 10;
	else
		return false;
	request->left = request->left << 4 | digit;
	request->digits++;
	return true;
}

/* Handles one byte that is not of a chunk's data. */
ringstep_apart int ringstep__http_between(struct ringstep_http_request *request ringstep_arg_nonnull, __u32 byte)
{
	const __u32 phase = request->phase;

	switch (phase) {
	case RINGSTEP_HTTP_IN_SIZE:
		request->digits = 0;
		request->left = 0;
		if (!ringstep__http_digit(request, byte))
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_DIGITS;
		break;
	case RINGSTEP_HTTP_IN_DIGITS:
		if (ringstep__http_digit(request, byte))
			return request->digits > RINGSTEP_HTTP_DIGITS ? ringstep__http_refuse(request, 400) : 0;
		if (byte == '\r') {
			request->phase = RINGSTEP_HTTP_IN_SIZE_LF;
			break;
		}
		if (byte != ';' && byte != ' ' && byte != '\t')
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_EXTENSION;
		request->digits = 1;
		break;
	case RINGSTEP_HTTP_IN_EXTENSION:
		if (byte == '\r') {
			request->phase = RINGSTEP_HTTP_IN_SIZE_LF;
			break;
		}
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f || ++request->digits > RINGSTEP_HTTP_CHUNK)
			return ringstep__http_refuse(request, 400);
		break;
	case RINGSTEP_HTTP_IN_SIZE_LF:
		if (byte != '\n')
			return ringstep__http_refuse(request, 400);
		request->body += request->left;
		request->digits = 0;
		request->phase = request->left ? RINGSTEP_HTTP_IN_CHUNK : RINGSTEP_HTTP_IN_TRAILER;
		break;
	case RINGSTEP_HTTP_IN_CHUNK_CR:
		if (byte != '\r')
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_CHUNK_LF;
		break;
	case RINGSTEP_HTTP_IN_CHUNK_LF:
		if (byte != '\n')
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_SIZE;
		break;
	case RINGSTEP_HTTP_IN_TRAILER:
		if (byte == '\r') {
			request->phase = RINGSTEP_HTTP_IN_LAST_LF;
			break;
		}
		if (byte <= 0x20 || byte == ':' || byte >= 0x7f)
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_TRAILER_LINE;
		break;
	case RINGSTEP_HTTP_IN_TRAILER_LINE:
		if (byte == '\r') {
			request->phase = RINGSTEP_HTTP_IN_TRAILER_LF;
			break;
		}
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return ringstep__http_refuse(request, 400);
		if (++request->digits > RINGSTEP_HTTP_TRAILER)
			return ringstep__http_refuse(request, 431);
		break;
	case RINGSTEP_HTTP_IN_TRAILER_LF:
		if (byte != '\n')
			return ringstep__http_refuse(request, 400);
		if (++request->digits > RINGSTEP_HTTP_TRAILER)
			return ringstep__http_refuse(request, 431);
		request->phase = RINGSTEP_HTTP_IN_TRAILER;
		break;
	case RINGSTEP_HTTP_IN_LAST_LF:
		if (byte != '\n')
			return ringstep__http_refuse(request, 400);
		request->phase = RINGSTEP_HTTP_IN_END;
		break;
	default:
		return ringstep__http_refuse(request, 400); /* only if somebody else writes to the state */
	}
	return 0;
}

/*
 * Goes through what surrounds the data of chunks, from `at` to `end`. Returns the position of the next byte of data, the one behind the end of the body,
 * or the end of the range. `phase` then says which: RINGSTEP_HTTP_IN_CHUNK, where the caller takes up to `left` bytes and subtracts what it took, and
 * sets RINGSTEP_HTTP_IN_CHUNK_CR when nothing is left; RINGSTEP_HTTP_IN_END; or another. It may also be refused (`status`).
 */
ringstep_apart __u64 ringstep_http_between_chunks(struct ringstep_http_request *request ringstep_arg_nonnull,
						  const struct ringstep_http_bytes *bytes ringstep_arg_nonnull, __u64 at,
						  __u64 end)
{
	at = ringstep__bytes_unknown(at);
	end = ringstep__bytes_unknown(end);
	if (end > RINGSTEP_HTTP_SIZE)
		end = RINGSTEP_HTTP_SIZE;
	end = ringstep__bytes_unknown(end);
	while (at < end && request->phase != RINGSTEP_HTTP_IN_CHUNK && request->phase != RINGSTEP_HTTP_IN_END &&
	       !request->status && ringstep__may_loop) {
		ringstep__http_between(request, bytes->at[at & (RINGSTEP_HTTP_SIZE - 1)]);
		at++;
		barrier_var(at);
	}
	return at;
}

#endif /* RINGSTEP_NET_HTTP_PARSE_BPF_H */
