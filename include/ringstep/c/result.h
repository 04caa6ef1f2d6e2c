/* SPDX-License-Identifier: MIT */
/* The result of a completion, in C that loops and applications compile. */
#ifndef RINGSTEP_RESULT_H
#define RINGSTEP_RESULT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * Returns the errno that a negative result stands for, or 0 for one that is not negative. The most negative number, which the kernel never
 * writes but hostile memory may hold, has no opposite; the largest number stands for it.
 */
static inline __s32 ringstep_error_of(__s32 result)
{
	if (result >= 0)
		return 0;
	return result < -0x7fffffff ? 0x7fffffff : -result;
}

#endif /* RINGSTEP_RESULT_H */
