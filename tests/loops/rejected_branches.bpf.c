// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A loop that is right, with more branches behind each other than the verifier can store. */
#include <ringstep/loop.bpf.h>

#include "rejected.h"

RINGSTEP_LOOP(rejected_branches, struct rejected_branches)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < 20000; i++) {
		if (*(volatile __u64 *)&state->values[i % 8] > i)
			sum++;
	}
	return ringstep_stop(turn, (__s64)sum);
}
