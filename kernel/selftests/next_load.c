// SPDX-License-Identifier: GPL-2.0
/* What the verifier refuses of the parameters and kfuncs that kernel/next adds. */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"

static void next_verifier_refuses(void)
{
	static const char *const programs[] = {
		"read_too_much", "write_too_much", "read_past_region", "size_not_bounded",   "not_memory",
		"into_the_ring", "not_a_ring",	   "work_under_rcu",   "work_without_sleep", "work_of_no_ring",
	};
	struct ring ring;

	need_next(NEXT_TIMEOUTS | NEXT_BUFFERS | NEXT_POLLING | NEXT_RUN_WORK);
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	CHECK_EQ(load_refused("next_refused.bpf.o", "write_all_params", ring.fd), 0);
	CHECK_EQ(load_refused("next_refused.bpf.o", "work", ring.fd), 0);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		check_refused("next_refused.bpf.o", programs[i], ring.fd);
}

const struct test next_load_tests[] = {
	TEST(next_verifier_refuses),
	END_OF_TESTS,
};
