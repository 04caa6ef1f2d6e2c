// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The loop chain. In user space, a test decides whether the kernel takes the requests that the step submits. */
extern int full_chain_enter(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags);
#define RINGSTEP__ENTER full_chain_enter

#define CHAIN ringstep_chain
#include <ringstep/chain/step.bpf.h>

RINGSTEP_LOOP(full_chain, struct ringstep_chain)
{
	return chain_take_turn(turn, state);
}
