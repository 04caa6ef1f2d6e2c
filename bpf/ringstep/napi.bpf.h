/* SPDX-License-Identifier: MIT */
/*
 * Busy polling: a wait first polls the network devices for packets for a short time, and only then sleeps.
 *
 * The application must have registered NAPI with the ring (IORING_REGISTER_NAPI, io_uring_register_napi() of liburing). The sockets must
 * receive from devices that can be polled. Include this file after <ringstep/loop.bpf.h>, and write before the end of the step:
 *
 *	if (state->answer_is_due)
 *		ringstep_busy_poll(turn, 50000);
 *	return ringstep_submit_and_wait(turn, 1);
 *
 * The effect depends on the engine:
 * - A kernel whose loops can poll (kernel/next; the kit looks for this in BTF) polls before that one wait. It polls for the time that the
 *   step asks for and the registration allows, or until the loop has something to do. Then it sleeps. The polling time counts towards a
 *   deadline (timer.bpf.h).
 * - Other kernels that run loops (Linux 7.3) do not poll; they only wait.
 * - With the user engine, io_uring_enter() polls before every wait, for the time that the registration sets. The step cannot change that.
 */
#ifndef RINGSTEP_NAPI_BPF_H
#define RINGSTEP_NAPI_BPF_H

#include <ringstep/turn.bpf.h>

/*
 * Lets the wait at the end of this turn begin with up to `nanoseconds` of busy polling, but no longer than the registration allows. The
 * kernel counts in units of 1,024 ns. Call it in each turn whose wait should poll.
 *
 * Example: ringstep_busy_poll(turn, 50000);
 */
static __always_inline void ringstep_busy_poll(struct ringstep_turn *turn, __u32 nanoseconds)
{
	ringstep__set_busy_poll(&turn->engine, nanoseconds);
}

#endif /* RINGSTEP_NAPI_BPF_H */
