// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does one function of the timer wheel many times, with one timer after the other. */
#include <ringstep/loop.bpf.h>

#include <ringstep/timer.bpf.h>
#include <ringstep/wheel.bpf.h>

#include "wheel_work.h"

RINGSTEP_LOOP(wheel_work, struct wheel_work)
{
	const __u32 kind = state->kind;
	__s64 limit = ringstep_limit(state->times);
	__s64 work = ringstep_limit(1 << 20);
	__u32 timer;

	state->number = 0;
	ringstep_while_at_most (limit, true) {
		const __u32 number = (__u32)state->number & (WHEEL_WORK_TIMERS - 1);
		const __u64 deadline = state->deadlines[number];

		if (kind == WHEEL_WORK_SET) {
			ringstep_wheel_set(&state->wheel, state->timers, number, deadline);
		} else if (kind == WHEEL_WORK_CANCEL) {
			ringstep_wheel_cancel(&state->wheel, state->timers, number);
		} else if (kind == WHEEL_WORK_EXPIRE) {
			if (ringstep_wheel_expired(&state->wheel, state->timers, state->now, &timer, work))
				state->sum++;
		} else if (kind == WHEEL_WORK_DEADLINE) {
			state->sum += ringstep_wheel_deadline(&state->wheel);
		} else {
			state->sum += deadline;
		}
		state->number++;
	}
	return ringstep_stop(turn, 0);
}
