/* SPDX-License-Identifier: MIT */
/*
 * The authoring kit: all that a loop includes.
 *
 * A loop is one function, the step, over three regions of memory: its state, the completions and the submissions. The kernel
 * calls it once a turn inside io_uring_enter(). It looks at what has completed, claims and fills in SQEs, submits them, and
 * says either for how many completions to wait, or to stop.
 *
 *	#include <ringstep/loop.bpf.h>
 *	#include "ping.h"	// struct ping { __u64 left; __u64 in_flight; __u64 done; };
 *
 *	RINGSTEP_LOOP(ping, struct ping)
 *	{
 *		struct io_uring_cqe *cqe;
 *
 *		ringstep_for_each_cqe(turn, cqe) {
 *			state->in_flight--;
 *			state->done++;
 *		}
 *		if (!state->left && !state->in_flight)
 *			return ringstep_stop(turn, 0);
 *		if (state->left && !state->in_flight) {
 *			ringstep_prep_nop(ringstep_get_sqe(turn));
 *			state->left--;
 *			state->in_flight++;
 *		}
 *		return ringstep_submit_and_wait(turn, 1);
 *	}
 *
 * What to know before writing one:
 * - A step may be called when nothing has completed. Keep in the state what is in flight, and look.
 * - Everything that lasts from one turn to the next lives in the state. It starts as the application filled it in.
 * - A step must end: walk with ringstep_for_each_cqe(), count with bpf_for() or a constant bound.
 * - Index into the state's arrays with a mask (i & (N - 1)), so that the verifier sees the bound.
 * - The same source is compiled for the kernel and, by an ordinary C compiler, for user space. What both have: this kit, io_uring's
 *   UAPI types, bpf_for(), bpf_repeat(), bpf_ktime_get_ns(), _boot_ns() and _tai_ns(), bpf_printk(), and the compiler's atomics
 *   (__sync_fetch_and_add() and so on). Maps, other helpers and kfuncs are the kernel's: ringstep_add_loop(… KERNEL_ONLY).
 * - What another thread reads or writes while the loop runs goes through ringstep_load() and ringstep_store().
 */
#ifndef RINGSTEP_LOOP_BPF_H
#define RINGSTEP_LOOP_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>
#include <ringstep/turn.bpf.h>
#include <ringstep/types.bpf.h>

/*
 * Defines the loop called name, whose state is a state_type (a struct that the application shares); the step's body follows
 * it. In the body, `turn` is the turn to hand to the kit and `state` points to the state. One loop a file.
 */
#ifdef __bpf__
#include <ringstep/target/kernel_loop.bpf.h>
#else
#include <ringstep/target/user_loop.bpf.h>
#endif

#endif /* RINGSTEP_LOOP_BPF_H */
