/* SPDX-License-Identifier: MIT */
/*
 * The part of an HTTP server's step that writes what all answers have: the end of a head, dates, and refusals.
 *
 * This file is not for authors. It is a part of the loop http.
 */
#ifndef RINGSTEP_NET_HTTP_REPLIES_BPF_H
#define RINGSTEP_NET_HTTP_REPLIES_BPF_H

#include <ringstep/net/http/step.bpf.h>

#define RINGSTEP__SECOND 1000000000ULL
#define RINGSTEP__HTTP_DATE_END 37 /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* Writes a number of two digits, and a character behind it. */
static __always_inline void ringstep__http_two_digits(struct ringstep_http_own *own, __u64 at, __u64 number, __u64 behind)
{
	const __u64 tens = number / 10 % 10;

	ringstep__bytes_put(own->date, sizeof(own->date), at, ('0' + tens) | ('0' + number % 10) << 8 | behind << 16, 3);
}

/*
 * Writes the field Date for a number of seconds since 1970. The days are counted from the first of March of the year 0, so that a leap day is the last
 * day of its year.
 */
ringstep_apart int ringstep__http_print_date(ringstep_server_state *state ringstep_arg_nonnull, __u64 seconds)
{
	struct ringstep_http_own *own = &state->own;
	const __u64 days = seconds / 86400, second = seconds % 86400;
	const __u64 day = days + 719468, era = day / 146097, of_era = day % 146097;
	const __u64 year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	const __u64 of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	const __u64 from_march = (5 * of_year + 2) / 153;
	const __u64 month = from_march < 10 ? from_march + 2 : from_march - 10; /* January is 0 */
	const __u64 year = era * 400 + year_of_era + (month < 2 ? 1 : 0);
	const __u64 name = 36 + (days + 4) % 7 * 3; /* 1 January 1970 was a Thursday */

	ringstep_bytes_write(own->date, 0, "Date: ");
	ringstep_bytes_copy(own->date, 6, own->names, name, name + 3);
	ringstep_bytes_write(own->date, 9, ", ");
	ringstep__http_two_digits(own, 11, of_year - (153 * from_march + 2) / 5 + 1, ' ');
	ringstep_bytes_copy(own->date, 14, own->names, month * 3, month * 3 + 3);
	ringstep__http_two_digits(own, 18, year / 100 % 100, 0);
	ringstep__http_two_digits(own, 20, year % 100, ' ');
	ringstep__bytes_put(own->date, sizeof(own->date), 17, ' ', 1);
	ringstep__http_two_digits(own, 23, second / 3600, ':');
	ringstep__http_two_digits(own, 26, second / 60 % 60, ':');
	ringstep__http_two_digits(own, 29, second % 60, ' ');
	ringstep_bytes_write(own->date, 32, "GMT\r\n");
	return 0;
}

/*
 * Makes the field Date anew if its second is over. While that lasts, this takes a comparison. The clock is CLOCK_TAI, because programs cannot read
 * CLOCK_REALTIME. The application says how far the one is ahead of the other. To be called before an answer is written.
 */
ringstep_apart int ringstep__http_date(ringstep_server_state *state ringstep_arg_nonnull)
{
	struct ringstep_http_own *own = &state->own;
	const __u64 now = ringstep__server_now(state);
	__u64 time;

	if (!own->dates || (now < own->date_until && own->date_until - now <= RINGSTEP__SECOND))
		return 0;
	time = bpf_ktime_get_tai_ns() - own->tai_ahead;
	ringstep__http_print_date(state, time / RINGSTEP__SECOND);
	own->date_until = now + RINGSTEP__SECOND - time % RINGSTEP__SECOND;
	return 0;
}

/* Replies with the end of a head. */
ringstep_apart int ringstep__http_reply_end(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 keeps)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	if (state->own.dates)
		ringstep_reply_bytes(conn, state->own.date, 0, RINGSTEP__HTTP_DATE_END);
	if (!keeps)
		ringstep_reply(conn, "Connection: close\r\n\r\n");
	else if (conn->own.request.flags & RINGSTEP_HTTP_1_0)
		ringstep_reply(conn, "Connection: keep-alive\r\n\r\n");
	else
		ringstep_reply(conn, "\r\n");
	return 0;
}

/* Refuses a request. */
ringstep_apart int ringstep__http_refuse_by(ringstep_server_state *state ringstep_arg_nonnull, __u32 slot, __u32 status)
{
	ringstep_server_connection *conn = &state->connections[slot & RINGSTEP__SERVER_MASK];

	ringstep_store(&state->own.refused, state->own.refused + 1);
	ringstep_reply(conn, "HTTP/1.1 ");
	ringstep_reply_number(conn, status);
	switch (status) {
	case 413:
		ringstep_reply(conn, " Content Too Large");
		break;
	case 414:
		ringstep_reply(conn, " URI Too Long");
		break;
	case 417:
		ringstep_reply(conn, " Expectation Failed");
		break;
	case 431:
		ringstep_reply(conn, " Header Fields Too Large");
		break;
	case 500:
		ringstep_reply(conn, " Internal Server Error");
		break;
	case 501:
		ringstep_reply(conn, " Not Implemented");
		break;
	case 503:
		ringstep_reply(conn, " Service Unavailable");
		break;
	case 505:
		ringstep_reply(conn, " Version Not Supported");
		break;
	default:
		ringstep_reply(conn, " Bad Request");
		break;
	}
	ringstep_reply(conn, "\r\nContent-Length: 0\r\n");
	ringstep__http_reply_end(state, slot, 0);
	return RINGSTEP_CLOSE;
}

#endif /* RINGSTEP_NET_HTTP_REPLIES_BPF_H */
