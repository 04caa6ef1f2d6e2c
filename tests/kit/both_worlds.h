/* SPDX-License-Identifier: MIT */
/* State of the loop "both_worlds": what came out of everything that a loop may use in the kernel and in user space. */
#ifndef BOTH_WORLDS_H
#define BOTH_WORLDS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct both_worlds {
	__u64 count;   /* set by the application: of iterations */
	__u64 rounds;  /* requests that have completed */
	__u32 reading; /* a request is in flight */

	__u64 sum_for;	    /* by bpf_for(), from 3 up to count */
	__u64 last_for;	    /* its i */
	__u64 empty_for;    /* iterations of those that have none */
	__s64 sum_negative; /* by bpf_for(), from -2 up to 1 */
	__u64 shrinking;    /* from 10 on, lowered by one in each iteration that it is the end of */
	__u64 sum_repeat;   /* 7, by bpf_repeat() */
	__u64 sum_while;    /* count, by ringstep_while() */
	__u64 now;	    /* bpf_ktime_get_ns() and so on */
	__u64 since_boot;
	__u64 international;
	__u64 later;
	__u64 before_add; /* what the atomics gave back, and what they left */
	__u64 added;
	__u64 ored;
	__u64 anded;
	__u64 xored;
	__u64 swapped;
	__u64 before_swap;
	__u64 compared;
	__u64 stored; /* by ringstep_store(), then read by ringstep_load() */
	__u64 loaded;
	__u64 offset;  /* offsetof() */
	__u64 address; /* ringstep_address() of rounds */
};

#endif
