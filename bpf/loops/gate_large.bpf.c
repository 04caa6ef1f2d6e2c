// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Queues requests and keeps a limited number of them in flight: gate_step.bpf.h, for up to 16,384 requests. */
#define GATE ringstep_gate_large
#include "gate_step.bpf.h"

RINGSTEP_LOOP(gate_large, struct ringstep_gate_large)
{
	return gate_take_turn(turn, state);
}
