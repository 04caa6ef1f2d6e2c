// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does one function on bytes many times. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>

#include "bytes_work.h"

#define REPEAT(...)                                                                                                            \
	do {                                                                                                                   \
		ringstep_while_at_most (limit, true) {                                                                         \
			__VA_ARGS__;                                                                                           \
		}                                                                                                              \
	} while (0)

RINGSTEP_LOOP(bytes_work, struct bytes_work)
{
	const __u32 kind = state->kind;
	__s64 limit = ringstep_limit(state->times);

	switch (kind) {
	case BYTES_WORK_NOTHING:
		REPEAT(state->sum += state->at + state->end);
		break;
	case BYTES_WORK_FIND:
		REPEAT(state->sum += ringstep_bytes_find(state->a, state->at, state->end, '\n'));
		break;
	case BYTES_WORK_FIND_CRLF:
		REPEAT(state->sum += ringstep_bytes_find_crlf(state->a, state->at, state->end));
		break;
	case BYTES_WORK_FIND_BY_BYTE:
		REPEAT(state->place = state->at;
		       ringstep_while (state->place < state->end && state->a[state->place & (BYTES_WORK_SIZE - 1)] != '\n')
			       state->place++;
		       state->sum += state->place);
		break;
	case BYTES_WORK_COMPARE:
		REPEAT(state->sum += (__u64)ringstep_bytes_compare(state->a, state->at, state->end, state->b, state->other,
								   state->other + state->end - state->at));
		break;
	case BYTES_WORK_COMPARE_NOCASE:
		REPEAT(state->sum += (__u64)ringstep_bytes_compare_nocase(state->a, state->at, state->end, state->b,
									  state->other, state->other + state->end - state->at));
		break;
	case BYTES_WORK_COPY:
		REPEAT(state->sum += ringstep_bytes_copy(state->b, state->other, state->a, state->at, state->end));
		break;
	case BYTES_WORK_COPY_BY_BYTE:
		REPEAT(state->place = state->at; ringstep_while (state->place < state->end) {
			state->b[(state->place + state->other) & (BYTES_WORK_SIZE - 1)] =
				state->a[state->place & (BYTES_WORK_SIZE - 1)];
			state->place++;
		} state->sum += state->place);
		break;
	case BYTES_WORK_HASH:
		REPEAT(state->sum += ringstep_bytes_hash(state->a, state->at, state->end, 1));
		break;
	case BYTES_WORK_PARSE: {
		REPEAT(__u64 number = 0; state->sum += ringstep_bytes_parse(state->a, state->at, state->end, &number);
		       state->number += number);
		break;
	}
	case BYTES_WORK_PRINT:
		REPEAT(state->sum += ringstep_bytes_print(state->b, state->other, state->number));
		break;
	case BYTES_WORK_ARE:
		REPEAT(state->sum += ringstep_bytes_are(state->a, state->at, state->end, "PING"));
		break;
	case BYTES_WORK_WRITE:
		REPEAT(state->sum += ringstep_bytes_write(state->b, state->other, "+PONG\r\n"));
		break;
	}
	return ringstep_stop(turn, 0);
}
