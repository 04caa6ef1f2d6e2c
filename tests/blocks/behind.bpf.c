// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Adds up a table behind the state, and changes one word of it. */
#include <ringstep/loop.bpf.h>

#include "behind.h"

RINGSTEP_LOOP(behind, struct behind)
{
	struct behind_table *table = (struct behind_table *)(state + 1);
	int i;

	state->room = ringstep_extra_bytes(turn, state);
	if (ringstep_extra_bytes(turn, state) < sizeof(*table))
		return ringstep_stop(turn, 1);
	state->sum = 0;
	bpf_for(i, 0, BEHIND_WORDS)
		state->sum += table->words[i & (BEHIND_WORDS - 1)];
	table->words[state->place & (BEHIND_WORDS - 1)] = ringstep_address(turn, table);
	return ringstep_stop(turn, 0);
}
