/* SPDX-License-Identifier: MIT */
/* The result of a completion, in C that loops and applications compile. */
#ifndef RINGSTEP_RESULT_H
#define RINGSTEP_RESULT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * Returns the errno of a negative result, and 0 for any other result. For the most negative number, which has no positive counterpart, it
 * returns the largest number. The kernel never writes that result, but somebody else who can write to the CQ may.
 */
static inline __s32 ringstep_error_of(__s32 result)
{
	if (result >= 0)
		return 0;
	return result < -0x7fffffff ? 0x7fffffff : -result;
}

#endif /* RINGSTEP_RESULT_H */
