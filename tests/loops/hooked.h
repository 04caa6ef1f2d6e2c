/* SPDX-License-Identifier: MIT */
/* State of the loop "hooked": the loop enter, with hooks that do what the user_data of a request says. */
#ifndef HOOKED_H
#define HOOKED_H

#include <ringstep/c/loops/enter.h>

/* In user_data, above the number that a test gives a request. */
#define HOOKED_SWALLOW (1ULL << 32) /* the application does not see it */
#define HOOKED_CHANGE (1ULL << 33)  /* its result gets 1000 more */
#define HOOKED_AGAIN (1ULL << 40)   /* so often, in bits 40 to 47, a nop is made of it before the application sees it */
#define HOOKED_AS_NOP (1ULL << 48)  /* becomes a nop before the kernel sees it */

struct hooked {
	struct ringstep_enter enter;
	__u64 submissions; /* SQEs that the hook has seen */
	__u64 completions; /* CQEs */
	__u64 again;	   /* requests made anew */
	__u32 at_most;	   /* not 0: so many completions to look at in a turn */
	__u32 looked_at;
};

#endif
