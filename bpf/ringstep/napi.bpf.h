/* SPDX-License-Identifier: MIT */
/*
 * Busy polling: looking for packets in the network's devices for a while before going to sleep.
 *
 * It takes an application that has registered NAPI with the ring (IORING_REGISTER_NAPI, io_uring_register_napi() of liburing) and
 * sockets that receive from devices which can be polled. Include it after <ringstep/loop.bpf.h>, and say before the step ends:
 *
 *	if (state->answer_is_due)
 *		ringstep_busy_poll(turn, 50);
 *	return ringstep_submit_and_wait(turn, 1);
 *
 * What comes of it depends on who runs the loop:
 * - A kernel whose loops can poll (kernel/next; the kit looks for it in BTF) polls before that one wait, for as long as the step says
 *   and the registration allows, until there is something for the loop to do. Then it sleeps. With a deadline (timer.bpf.h), the time
 *   counts.
 * - Other kernels that run loops do not poll (Linux 7.3): the wait is a plain one.
 * - With the user engine io_uring_enter() polls before every wait, for as long as the registration says; the step has no say in it.
 */
#ifndef RINGSTEP_NAPI_BPF_H
#define RINGSTEP_NAPI_BPF_H

#include <ringstep/turn.bpf.h>

/*
 * Has the wait at the end of this turn begin with up to so many microseconds of busy polling. For one wait: each turn says it anew.
 *
 * Example: ringstep_busy_poll(turn, 50);
 */
static __always_inline void ringstep_busy_poll(struct ringstep_turn *turn, __u32 microseconds)
{
	ringstep__set_busy_poll(&turn->engine, microseconds);
}

#endif /* RINGSTEP_NAPI_BPF_H */
