/* SPDX-License-Identifier: MIT */
/*
 * The authoring kit: the header that every loop includes.
 *
 * A loop is one function, the step, and its state. The engine calls the step once a turn, with three regions of memory: the memory region
 * with the state, the CQ and the SQ. The step takes completions, claims and fills in SQEs, and submits them. Then it either asks to wait
 * for a number of completions, or stops the loop.
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
 * Rules for steps:
 * - A turn may begin when nothing has completed. Keep the number of requests in flight in the state, and check it.
 * - Keep everything that lasts from one turn to the next in the state. The application fills the state in before the loop runs.
 * - A step must end: walk with ringstep_for_each_cqe(), and count with bpf_for() or a constant bound.
 * - Index into the state's arrays with a mask (i & (N - 1)), so that the verifier sees the bound.
 * - One source is compiled for the kernel and, by an ordinary C compiler, for user space. Both have this kit, io_uring's UAPI types,
 *   bpf_for(), bpf_repeat(), bpf_ktime_get_ns(), bpf_ktime_get_boot_ns(), bpf_ktime_get_tai_ns(), bpf_printk(), and the compiler's
 *   atomics (__sync_fetch_and_add() and so on). Maps, other helpers and kfuncs exist only in the kernel; a loop that uses
 *   them must be declared with ringstep_add_loop(… KERNEL_ONLY).
 * - Use ringstep_load() and ringstep_store() for fields that another thread reads or writes while the loop runs.
 */
#ifndef RINGSTEP_LOOP_BPF_H
#define RINGSTEP_LOOP_BPF_H

#include <ringstep/cqe.bpf.h>
#include <ringstep/prep.bpf.h>
#include <ringstep/sqe.bpf.h>
#include <ringstep/turn.bpf.h>
#include <ringstep/types.bpf.h>

/*
 * RINGSTEP_LOOP(name, state_type) defines the loop `name`. Its state is a `state_type`, a struct that the loop shares with the
 * application. The body of the step follows the macro. In the body, `turn` is the turn to pass to the kit, and `state` points to
 * the state. A file may define one loop.
 */
#ifdef __bpf__
#include <ringstep/target/kernel_loop.bpf.h>
#else
#include <ringstep/target/user_loop.bpf.h>
#endif

#endif /* RINGSTEP_LOOP_BPF_H */
