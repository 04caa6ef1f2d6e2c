// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Answers the line "ADD 12 30" with "42". docs/bytes.md shows it. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>

#include "adder.h"

ringstep_apart int answer(struct adder *state ringstep_arg_nonnull, __u64 at, __u64 line)
{
	const __u64 space = ringstep_bytes_find(state->input, at, line, ' ');
	__u64 middle, end, first, second;

	if (ringstep_bytes_are_nocase(state->input, at, space, "ADD")) {
		middle = ringstep_bytes_parse(state->input, space + 1, line, &first);
		end = ringstep_bytes_parse(state->input, middle + 1, line, &second);
		if (middle != space + 1 && end == line) {
			state->out = ringstep_bytes_print(state->output, state->out, first + second);
			state->out = ringstep_bytes_write(state->output, state->out, "\r\n");
			return 0;
		}
	}
	state->out = ringstep_bytes_write(state->output, state->out, "what?\r\n");
	return 0;
}

RINGSTEP_LOOP(adder, struct adder)
{
	__s64 limit = ringstep_limit(64);

	ringstep_while_at_most (limit, true) {
		const __u64 line = ringstep_bytes_find_crlf(state->input, state->at, state->filled);

		if (line >= state->filled)
			break;
		answer(state, state->at, line);
		state->at = line + 2;
	}
	return ringstep_stop(turn, 0);
}
