// SPDX-License-Identifier: GPL-2.0
/* Waiting for completions, and completions for which the CQ has no room. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <pthread.h>
#include <unistd.h>

static void *write_later(void *arg)
{
	sleep_ms(200);
	return (void *)write(*(int *)arg, "x", 1);
}

static void wait_for_a_completion(void)
{
	struct setup setup;
	pthread_t thread;
	int pipes[2];
	char byte = 0;

	NEED(pipe(pipes));
	make_setup(&setup);
	fill_read(&setup.ring, pipes[0], &byte, 0);
	pthread_create(&thread, NULL, write_later, &pipes[1]);
	CHECK_EQ(run_plan(&setup, submit_and_reap(1)), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(setup.ring.plan->last_res, 1);
	CHECK_EQ(byte, 'x');
	/* The loop slept. A loop that does not sleep takes thousands of turns in that time. */
	CHECK(setup.ring.plan->turns < 20);
	end_setup(&setup);
}

/* The last part of closing a file is task work. A loop that waits for its effect must let the task work run. */
static void wait_for_own_close(void)
{
	struct setup setup;
	struct io_uring_sqe *sqe;
	int pipes[2];
	char byte;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not look for task work before they sleep");
	NEED(pipe(pipes));
	make_setup(&setup);
	fill_read(&setup.ring, pipes[0], &byte, 1);
	sqe = next_sqe(&setup.ring);
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = pipes[1];
	sqe->user_data = 2;
	/* Waits for both at once, because the first completion alone must not end the wait. */
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 2, .submit_turns = 1, .reap = 8, .wait = 2, .stop_after = 2}), 0);
	CHECK_EQ(setup.ring.plan->last_res, 0); /* the end of the pipe */
	CHECK_EQ(setup.ring.plan->last_user_data, 1);
	end_setup(&setup);
}

static void overflow_loses_nothing(void)
{
	struct setup setup;
	const struct plan *plan;

	/* 60 completions arrive in a CQ of 4, and the loop takes one in each turn. */
	make_setup_with(&setup, 4, 4, IORING_SETUP_SQ_REWIND);
	plan = setup.ring.plan;
	for (unsigned i = 0; i < 4; i++)
		setup.ring.sqes[i] = (struct io_uring_sqe){.user_data = 7};
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 4, .submit_turns = 15, .reap = 1, .wait = 1, .stop_after = 60}), 0);
	CHECK_EQ(plan->submitted, 60);
	CHECK_EQ(plan->reaped, 60);
	CHECK_EQ(plan->user_data_sum, 60 * 7);
	CHECK_EQ(*setup.ring.cq_overflow, 0);

	/* They arrive in order. */
	fill_nops(&setup.ring, 4, 1);
	*setup.ring.sq_tail = 0;
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 4, .submit_turns = 1, .reap = 1, .stop_after = 4}), 0);
	CHECK_EQ(plan->order_errors, 0);
	end_setup(&setup);
}

const struct test wait_tests[] = {
	TEST(wait_for_a_completion),
	TEST(wait_for_own_close),
	TEST(overflow_loses_nothing),
	END_OF_TESTS,
};
