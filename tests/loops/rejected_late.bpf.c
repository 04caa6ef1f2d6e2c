// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A loop with the same mistake as `rejected`. The verifier comes to it after so many instructions that their log fits no buffer. */
#include <ringstep/loop.bpf.h>

#include "rejected.h"

RINGSTEP_LOOP(rejected_late, struct rejected_late)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < 3000; i++) {
		sum += *(volatile __u64 *)&state->values[i % 8];
	}
	return ringstep_stop(turn, (__s64)(sum + state->values[state->index]));
}
