// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Runs graphs of requests: chain_step.bpf.h, for thousands of chains. */
#define CHAIN ringstep_chain_large
#include "chain_step.bpf.h"

RINGSTEP_LOOP(chain_large, struct ringstep_chain_large)
{
	return chain_take_turn(turn, state);
}
