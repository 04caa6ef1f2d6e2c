// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Queues requests and keeps a limited number of them in flight, for up to 16,384 requests. The step is in gate_step.bpf.h.
 *
 * The longest step: the comment at the top of gate_step.bpf.h says what adds up to it. That makes 67,616 iterations, with 1,088 submits at most.
 */
#define GATE ringstep_gate_large
#include "gate_step.bpf.h"

RINGSTEP_LOOP(gate_large, struct ringstep_gate_large)
{
	return gate_take_turn(turn, state);
}
