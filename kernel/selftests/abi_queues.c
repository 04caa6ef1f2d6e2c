// SPDX-License-Identifier: GPL-2.0
/* The memory of the SQ and the CQ. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

/* Large queues do not lie in contiguous memory. */
static void large_queues(void)
{
	struct setup setup;
	unsigned done = 0;

	make_setup_with(&setup, 4096, 65536, 0);
	for (unsigned i = 0; i < 20; i++) {
		fill_nops(&setup.ring, 4096, 1);
		CHECK_EQ(run_plan(&setup, submit_and_reap(4096)), 0);
		CHECK_EQ(setup.ring.plan->order_errors, 0);
		done += setup.ring.plan->reaped;
	}
	CHECK_EQ(done, 20 * 4096);
	end_setup(&setup);
}

/* The application may provide the memory of the queues. */
static void queues_of_user_memory(void)
{
	struct setup setup;

	NEED(open_ring_in(&setup.ring, 8, 16, LOOP_RING, pages(1), pages(1), 4096));
	NEED(add_plan(&setup.ring));
	NEED(add_loop(&setup.loop, &setup.ring));
	fill_nops(&setup.ring, 5, 1);
	CHECK_EQ(run_plan(&setup, submit_and_reap(5)), 0);
	CHECK_EQ(setup.ring.plan->user_data_sum, 15);
	end_setup(&setup);
}

const struct test queues_tests[] = {
	TEST(large_queues),
	TEST(queues_of_user_memory),
	END_OF_TESTS,
};
