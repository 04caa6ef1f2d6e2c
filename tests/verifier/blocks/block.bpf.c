// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One call of one of the kit's blocks, for what the verifier spends on it. CASE says which. */
#include <ringstep/loop.bpf.h>

#include <ringstep/bytes.bpf.h>
#include <ringstep/timer.bpf.h>
#include <ringstep/wheel.bpf.h>

struct block {
	__u64 at, end, other, beyond, number, result;
	__u8 a[4096];
	__u8 b[4096];
	struct ringstep_wheel wheel;
	struct ringstep_wheel_timer timers[4096];
};

RINGSTEP_LOOP(block, struct block)
{
	__u64 number = state->number, result = 0;

	(void)number;
#if CASE == 1
	//! 1: bytes_find
	result = ringstep_bytes_find(state->a, state->at, state->end, (__u8)number);
#elif CASE == 2
	//! 2: bytes_find_crlf
	result = ringstep_bytes_find_crlf(state->a, state->at, state->end);
#elif CASE == 3
	//! 3: bytes_compare
	result = (__u64)ringstep_bytes_compare(state->a, state->at, state->end, state->b, state->other, state->beyond);
#elif CASE == 4
	//! 4: bytes_compare_nocase
	result = (__u64)ringstep_bytes_compare_nocase(state->a, state->at, state->end, state->b, state->other, state->beyond);
#elif CASE == 5
	//! 5: bytes_are
	result = ringstep_bytes_are(state->a, state->at, state->end, "Content-Length: ");
#elif CASE == 6
	//! 6: bytes_copy
	result = ringstep_bytes_copy(state->a, state->at, state->b, state->other, state->beyond);
#elif CASE == 7
	//! 7: bytes_write
	result = ringstep_bytes_write(state->a, state->at, "Content-Length: ");
#elif CASE == 8
	//! 8: bytes_hash
	result = ringstep_bytes_hash(state->a, state->at, state->end, number);
#elif CASE == 9
	//! 9: bytes_parse
	result = ringstep_bytes_parse(state->a, state->at, state->end, &number);
	state->number = number;
#elif CASE == 10
	//! 10: bytes_print
	result = ringstep_bytes_print(state->a, state->at, number);
#elif CASE == 11
	//! 11: wheel_set
	ringstep_wheel_set(&state->wheel, state->timers, (__u32)number, state->at);
#elif CASE == 12
	//! 12: wheel_cancel
	ringstep_wheel_cancel(&state->wheel, state->timers, (__u32)number);
#elif CASE == 13
	//! 13: wheel_expired
	__s64 limit = ringstep_limit(64);
	__u32 timer;

	ringstep_while (ringstep_wheel_expired(&state->wheel, state->timers, state->at, &timer, limit))
		result += timer;
	state->end = ringstep_wheel_deadline(&state->wheel);
#endif
	state->result = result;
	return ringstep_stop(turn, 0);
}
