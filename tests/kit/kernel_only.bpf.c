// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What only the kernel has. As a whole this is a loop that is declared KERNEL_ONLY. With CASE it is one of the uses alone, which has
 * to be refused where the loop is compiled for user space; the line "//! case: message" says with what words.
 */
#include <ringstep/loop.bpf.h>

#ifdef CASE
#define USES(number) (CASE == number)
#else
#define USES(number) 1
#endif

#if USES(1) //! 1: <bpf/bpf_core_read.h> is of use in the kernel only
#include <bpf/bpf_core_read.h>
#endif
#if USES(2) //! 2: <bpf/bpf_tracing.h> is of use in the kernel only
#include <bpf/bpf_tracing.h>
#endif

#include "kernel_only.h"

#if USES(3) //! 3: BPF maps exist in the kernel only
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");
#endif
#if USES(4) //! 4: bpf_rcu_read_lock.* is unavailable: it exists in the kernel only
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
#endif
#if USES(5) //! 5: LINUX_KERNEL_VERSION.* is unavailable: it exists in the kernel only
extern int LINUX_KERNEL_VERSION __kconfig;
#endif

RINGSTEP_LOOP(kernel_only, struct kernel_only)
{
#if USES(3) || USES(6) //! 6: bpf_map_lookup_elem.* is unavailable: it exists in the kernel only
#if USES(3)
	void *const map = &numbers;
#else
	void *const map = state;
#endif
	const __u32 key = 0;
	__u64 *number = bpf_map_lookup_elem(map, &key);

	if (number)
		state->in_map = ++*number;
#endif
#if USES(7) //! 7: bpf_get_current_task.* is unavailable: it exists in the kernel only
	state->task = (__u64)bpf_get_current_task();
#endif
#if USES(4)
	bpf_rcu_read_lock();
	state->locked++;
	bpf_rcu_read_unlock();
#endif
#if USES(5)
	state->version = (__u32)LINUX_KERNEL_VERSION;
#endif
	(void)state; //! 0: OK
	return ringstep_stop(turn, 0);
}
