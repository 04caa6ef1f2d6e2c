// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A loop that the verifier must reject: it reads its state at an index that nothing bounds. */
#include <ringstep/loop.bpf.h>

#include "rejected.h"

RINGSTEP_LOOP(rejected, struct rejected)
{
	return ringstep_stop(turn, (__s64)state->values[state->index]);
}
