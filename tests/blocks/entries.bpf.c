// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what a script says to a table. */
#include <ringstep/loop.bpf.h>

#include <ringstep/table.bpf.h>

#include "entries.h"

#define MOST (1 << 20)

RINGSTEP_LOOP(entries, struct entries)
{
	__s64 limit = ringstep_limit(MOST);
	__s64 steps = ringstep_limit(state->steps);

	ringstep_while_at_most (steps, true) {
		struct entries_step *step = &state->script[state->done & (ENTRIES_STEPS - 1)];

		if (step->forget) {
			state->entries[step->number & (ENTRIES - 1)].finds = 0;
			ringstep_table_forget(&state->table, state->buckets, state->entries, step->number, limit);
		} else {
			const __u32 number =
				ringstep_table_find_or_make(&state->table, state->buckets, state->entries, step->key, limit);

			state->entries[number].finds++;
			step->number = number;
		}
		state->done++;
	}
	state->links = (__u64)(MOST - limit);
	return ringstep_stop(turn, 0);
}
