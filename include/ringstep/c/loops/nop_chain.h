/* SPDX-License-Identifier: MIT */
#ifndef RINGSTEP_LOOPS_NOP_CHAIN_H
#define RINGSTEP_LOOPS_NOP_CHAIN_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* State of the loop nop_chain: so many nops, so many of them at once. */
struct ringstep_nop_chain {
	__u64 total;	 /* set by the application: nops to run */
	__u64 depth;	 /* set by the application: in flight at once, at least 1 */
	__u64 submitted; /* by the loop; live */
	__u64 completed; /* by the loop; live. If it is loaded before .submitted, it is not the larger one */
	__u64 failed;	 /* by the loop: of the completed, those that came out of order or with an error */
	__u64 foreign;	 /* by the loop: stale completions, see ringstep/c/identity.h */
};

#endif /* RINGSTEP_LOOPS_NOP_CHAIN_H */
