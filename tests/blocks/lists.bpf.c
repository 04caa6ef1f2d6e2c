// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what a script says to three lists. */
#include <ringstep/loop.bpf.h>

#include <ringstep/list.bpf.h>

#include "lists.h"

RINGSTEP_LOOP(lists, struct lists)
{
	ringstep_while (state->done < state->steps && state->done < LISTS_STEPS) {
		struct lists_step *step = &state->script[state->done & (LISTS_STEPS - 1)];

		if (step->list == 0) {
			switch (step->operation) {
			case LISTS_PUSH_BACK:
				ringstep_list_push_back(&state->lists[0], state->slots, step->slot);
				break;
			case LISTS_PUSH_FRONT:
				ringstep_list_push_front(&state->lists[0], state->slots, step->slot);
				break;
			case LISTS_INSERT:
				ringstep_list_insert(&state->lists[0], state->slots, step->where, step->slot);
				break;
			case LISTS_REMOVE:
				ringstep_list_remove(&state->lists[0], state->slots, step->slot);
				break;
			case LISTS_POP_FRONT:
				step->slot = ringstep_list_pop_front(&state->lists[0], state->slots);
				break;
			}
		} else if (step->list == 1) {
			switch (step->operation) {
			case LISTS_PUSH_BACK:
				ringstep_list_push_back_by(&state->lists[1], state->slots, step->slot, green);
				break;
			case LISTS_PUSH_FRONT:
				ringstep_list_push_front_by(&state->lists[1], state->slots, step->slot, green);
				break;
			case LISTS_INSERT:
				ringstep_list_insert_by(&state->lists[1], state->slots, step->where, step->slot, green);
				break;
			case LISTS_REMOVE:
				ringstep_list_remove_by(&state->lists[1], state->slots, step->slot, green);
				break;
			case LISTS_POP_FRONT:
				step->slot = ringstep_list_pop_front_by(&state->lists[1], state->slots, green);
				break;
			}
		} else {
			switch (step->operation) {
			case LISTS_PUSH_BACK:
				ringstep_list_push_back_by(&state->lists[2], state->slots, step->slot, yellow);
				break;
			case LISTS_PUSH_FRONT:
				ringstep_list_push_front_by(&state->lists[2], state->slots, step->slot, yellow);
				break;
			case LISTS_INSERT:
				ringstep_list_insert_by(&state->lists[2], state->slots, step->where, step->slot, yellow);
				break;
			case LISTS_REMOVE:
				ringstep_list_remove_by(&state->lists[2], state->slots, step->slot, yellow);
				break;
			case LISTS_POP_FRONT:
				step->slot = ringstep_list_pop_front_by(&state->lists[2], state->slots, yellow);
				break;
			}
		}
		state->done++;
	}
	return ringstep_stop(turn, 0);
}
