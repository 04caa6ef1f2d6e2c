// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what a script says to a list. */
#include <ringstep/loop.bpf.h>

#include <ringstep/list.bpf.h>

#include "lists.h"

RINGSTEP_LOOP(lists, struct lists)
{
	ringstep_while (state->done < state->steps && state->done < LISTS_STEPS) {
		struct lists_step *step = &state->script[state->done & (LISTS_STEPS - 1)];

		switch (step->operation) {
		case LISTS_PUSH_BACK:
			ringstep_list_push_back(&state->list, state->slots, step->slot);
			break;
		case LISTS_PUSH_FRONT:
			ringstep_list_push_front(&state->list, state->slots, step->slot);
			break;
		case LISTS_INSERT:
			ringstep_list_insert(&state->list, state->slots, step->where, step->slot);
			break;
		case LISTS_REMOVE:
			ringstep_list_remove(&state->list, state->slots, step->slot & (LISTS_SLOTS - 1));
			break;
		case LISTS_POP_FRONT:
			step->slot = ringstep_list_pop_front(&state->list, state->slots);
			break;
		}
		state->done++;
	}
	return ringstep_stop(turn, 0);
}
