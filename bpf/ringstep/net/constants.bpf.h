/* SPDX-License-Identifier: MIT */
/*
 * Numbers that loops with sockets need, by the kit's own names, because <errno.h> cannot be included after a vmlinux.h.
 *
 * This file is not for authors.
 */
#ifndef RINGSTEP_NET_CONSTANTS_BPF_H
#define RINGSTEP_NET_CONSTANTS_BPF_H

#define RINGSTEP__ENOENT 2
#define RINGSTEP__EBADF 9
#define RINGSTEP__EINVAL 22
#define RINGSTEP__ENFILE 23
#define RINGSTEP__ENOTSOCK 88
#define RINGSTEP__EMSGSIZE 90
#define RINGSTEP__EOPNOTSUPP_SOCKET 95
#define RINGSTEP__ENOBUFS 105
#define RINGSTEP__ETIMEDOUT 110
#define RINGSTEP__EHOSTUNREACH 113
#define RINGSTEP__EALREADY 114
#define RINGSTEP__ECANCELED 125

#define RINGSTEP__IN_FLIGHT (1ULL << 32)    /* as RINGSTEP_REQUESTS_IN_FLIGHT */
#define RINGSTEP__ACCEPT_PAUSE 100000000ULL /* after an error of accept that may pass, in nanoseconds */
#define RINGSTEP__CANCEL_PAUSE 1000000ULL   /* after a cancellation that has found nothing, in nanoseconds */

/* The bits of user_data that tell the requests of one slot from each other. */
#define RINGSTEP__ALL_PARTS                                                                                                    \
	(3ULL << RINGSTEP_IDENTITY_KIND_SHIFT | (__u64)RINGSTEP_IDENTITY_PART << RINGSTEP_IDENTITY_PART_SHIFT)

/* Returns true if an error of accept means that the listening socket is of no use. */
static __always_inline bool ringstep__accept_is_over(__s32 result)
{
	return result == -RINGSTEP__EBADF || result == -RINGSTEP__EINVAL || result == -RINGSTEP__ENOTSOCK ||
	       result == -RINGSTEP__EOPNOTSUPP_SOCKET;
}

#endif /* RINGSTEP_NET_CONSTANTS_BPF_H */
