// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Queues requests and keeps a limited number of them in flight: gate_step.bpf.h, for up to 2,048 requests. */
#define GATE ringstep_gate
#include "gate_step.bpf.h"

RINGSTEP_LOOP(gate, struct ringstep_gate)
{
	return gate_take_turn(turn, state);
}
