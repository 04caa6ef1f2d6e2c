// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Does what a script says to a timer wheel, or waits for all of its timers. */
#include <ringstep/loop.bpf.h>

#include <ringstep/timer.bpf.h>
#include <ringstep/wheel.bpf.h>

#include "alarms.h"

static void note(struct alarms *state, __u32 number)
{
	const __u64 place = state->expired++;

	state->order[place & (ALARMS_EXPIRED - 1)] = number;
}

static void do_step(struct alarms *state, struct alarms_step *step)
{
	switch (step->operation) {
	case ALARMS_SET:
		ringstep_wheel_set(&state->wheel, state->timers, step->number, step->time);
		break;
	case ALARMS_CANCEL:
		ringstep_wheel_cancel(&state->wheel, state->timers, step->number);
		break;
	case ALARMS_EXPIRE: {
		__s64 limit = ringstep_limit(step->number);
		const __u64 before = state->expired;
		__u32 number;

		ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, step->time, &number, limit))
			note(state, number);
		step->result = state->expired - before;
		break;
	}
	case ALARMS_DEADLINE:
		step->result = ringstep_wheel_deadline(&state->wheel);
		break;
	case ALARMS_IS_SET:
		step->result = ringstep_wheel_is_set(state->timers, step->number);
		break;
	}
}

RINGSTEP_LOOP(alarms, struct alarms)
{
	struct io_uring_cqe *cqe;

	ringstep_for_each_cqe(turn, cqe)
		state->completed++;
	if (state->real) {
		const __u64 now = bpf_ktime_get_ns();
		__s64 limit = ringstep_limit(state->per_turn);
		__u32 number;

		state->turns++;
		ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, now, &number, limit)) {
			const __u64 deadline = state->deadlines[number & (ALARMS - 1)];

			if (now < deadline)
				state->early++;
			else if (now - deadline > state->latest)
				state->latest = now - deadline;
			note(state, number);
		}
		if (!state->wheel.set)
			return ringstep_stop(turn, 0);
		return ringstep_submit_and_wait_until(turn, 32, ringstep_wheel_deadline(&state->wheel));
	}
	ringstep_while (state->done < state->steps && state->done < ALARMS_STEPS) {
		do_step(state, &state->script[state->done & (ALARMS_STEPS - 1)]);
		state->done++;
	}
	return ringstep_stop(turn, 0);
}
