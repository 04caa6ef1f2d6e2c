// SPDX-License-Identifier: GPL-2.0
/* io_uring_enter() on a ring with a loop: what it returns, what it does not do, and which task may call it. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <errno.h>
#include <pthread.h>

static void return_values(void)
{
	static const struct {
		int step, enter;
	} cases[] = {{1, 0}, {2, -EINVAL}, {-1, -EINVAL}, {-EINTR, -EINVAL}, {0x10000, -EINVAL}};
	struct setup setup;

	make_setup(&setup);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_EQ(run_plan(&setup, (struct plan){.last_turn = 3, .last_result = cases[i].step}), cases[i].enter);
		CHECK_EQ(setup.ring.plan->turns, 3);
	}
	end_setup(&setup);
}

static void enter_does_nothing_else(void)
{
	struct setup setup;
	struct io_uring_cqe cqe;

	make_setup(&setup);
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.plan = stop_in_turn(2);
	/* Neither submits the four SQEs nor waits for eight completions, which would take forever. */
	CHECK_EQ(sys_enter(setup.ring.fd, 4, 8, IORING_ENTER_GETEVENTS), 0);
	CHECK_EQ(*setup.ring.sq_head, 0);
	CHECK(!take_cqe(&setup.ring, &cqe));
	free_loop(&setup.loop);
	CHECK_EQ(sys_enter(setup.ring.fd, 4, 4, IORING_ENTER_GETEVENTS), 4);
	for (__u64 i = 1; i <= 4; i++) {
		CHECK(take_cqe(&setup.ring, &cqe));
		CHECK_EQ(cqe.user_data, i);
	}
	close_ring(&setup.ring);
}

/* Runs a function in a thread of its own, and returns its result. */
static long in_other_thread(void *(*function)(void *setup), struct setup *setup)
{
	pthread_t thread;
	void *result;

	pthread_create(&thread, NULL, function, setup);
	pthread_join(thread, &result);
	return (long)result;
}

static void *enter_only(void *setup)
{
	return (void *)(long)enter(setup);
}

static void another_task(void)
{
	struct setup setup;

	make_setup(&setup);
	*setup.ring.plan = stop_in_turn(1);
	CHECK_EQ(in_other_thread(enter_only, &setup), -EEXIST);
	CHECK_EQ(setup.ring.plan->turns, 0);
	CHECK_EQ(enter(&setup), 0);
	end_setup(&setup);
}

static void *enable_and_enter(void *arg)
{
	struct setup *setup = arg;
	const int status = sys_register(setup->ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return (void *)(long)(status ? status : enter(setup));
}

/* A loop may submit even if running it is the first thing that its thread does with io_uring. */
static void first_enter_of_a_task(void)
{
	struct setup setup;

	if (lacks(703))
		SKIP("before 7.3, the ring does not know the task at that time");
	make_setup_with(&setup, 8, 16, IORING_SETUP_R_DISABLED);
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.plan = submit_and_reap(4);
	CHECK_EQ(in_other_thread(enable_and_enter, &setup), 0);
	CHECK_EQ(setup.ring.plan->reaped, 4);
	end_setup(&setup);
}

const struct test enter_tests[] = {
	TEST(return_values), TEST(enter_does_nothing_else), TEST(another_task), TEST(first_enter_of_a_task), END_OF_TESTS,
};
