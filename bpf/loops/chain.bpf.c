// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Runs graphs of requests: chain_step.bpf.h, for hundreds of chains. */
#define CHAIN ringstep_chain
#include "chain_step.bpf.h"

RINGSTEP_LOOP(chain, struct ringstep_chain)
{
	return chain_take_turn(turn, state);
}
