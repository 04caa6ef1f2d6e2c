// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Runs graphs of requests, for thousands of chains. The step is in ringstep/chain/step.bpf.h.
 *
 * The longest step is described at the top of ringstep/chain/step.bpf.h. That makes 86,080 iterations, with 2,112 submits at most.
 */
#define CHAIN ringstep_chain_large
#include <ringstep/chain/step.bpf.h>

RINGSTEP_LOOP(chain_large, struct ringstep_chain_large)
{
	return chain_take_turn(turn, state);
}
