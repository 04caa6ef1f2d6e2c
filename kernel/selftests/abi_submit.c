// SPDX-License-Identifier: GPL-2.0
/* Submitting from a step, in rings with and without IORING_SETUP_SQ_REWIND. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void submit_by_the_rules(void)
{
	struct setup setup;
	const struct plan *plan;

	make_setup(&setup);
	plan = setup.ring.plan;

	/* The SQ is empty; then the step asks for no requests. */
	CHECK_EQ(run_plan(&setup,
			  (struct plan){.submit = 4, .submit_turns = 1, .submit_result = 99, .last_turn = 1, .last_result = 1}),
		 0);
	CHECK_EQ(plan->submit_result, 0);
	fill_nops(&setup.ring, 3, 1);
	CHECK_EQ(run_plan(&setup,
			  (struct plan){.submit = 0, .submit_turns = 1, .submit_result = 99, .last_turn = 1, .last_result = 1}),
		 0);
	CHECK_EQ(plan->submit_result, 0);
	CHECK_EQ(*setup.ring.sq_head, 0);

	/* The step asks for more requests than the SQ has; then for fewer. */
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 1000, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 3}), 0);
	CHECK_EQ(plan->submit_result, 3);
	CHECK_EQ(*setup.ring.sq_head, 3);
	CHECK_EQ(plan->user_data_sum, 6);
	fill_nops(&setup.ring, 4, 1);
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 3, .submit_turns = 2, .reap = 8, .wait = 1, .stop_after = 4}), 0);
	CHECK_EQ(plan->submitted, 4);
	CHECK_EQ(*setup.ring.sq_head, *setup.ring.sq_tail);

	/* An invalid SQE ends the submission. Its completion has the error. */
	next_sqe(&setup.ring)->opcode = 255;
	fill_nops(&setup.ring, 1, 1);
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 2, .submit_turns = 1, .reap = 1, .wait = 1, .stop_after = 1}), 0);
	CHECK_EQ(plan->submit_result, 1);
	CHECK_EQ(plan->last_res, -EINVAL);
	end_setup(&setup);
}

static void rewind_takes_the_first_ones(void)
{
	struct setup setup;
	const struct plan *plan;

	make_setup_with(&setup, 8, 16, IORING_SETUP_SQ_REWIND);
	plan = setup.ring.plan;
	for (unsigned i = 0; i < 8; i++) {
		memset(&setup.ring.sqes[i], 0, sizeof(setup.ring.sqes[i]));
		setup.ring.sqes[i].user_data = i + 1;
	}
	/* Each of three turns submits the first two SQEs: 1, 2, 1, 2, 1, 2. */
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 2, .submit_turns = 3, .reap = 8, .wait = 1, .stop_after = 6}), 0);
	CHECK_EQ(plan->submitted, 6);
	CHECK_EQ(plan->user_data_sum, 9);
	/* A submission is never larger than the SQ. */
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 1000, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = 8}), 0);
	CHECK_EQ(plan->submit_result, 8);
	CHECK_EQ(plan->user_data_sum, 36);
	CHECK_EQ(*setup.ring.sq_head, 0);
	CHECK_EQ(*setup.ring.sq_tail, 0);
	free_loop(&setup.loop);

	/*
	 * The ring also rewinds without a loop. The second request waits for the first one, for which the kernel needs a count of requests that
	 * continues from one submission to the next. In 6.12 the third request may overtake the second, because workers carry out both.
	 */
	setup.ring.sqes[1].flags = IOSQE_IO_DRAIN;
	for (int i = 0; i < 3; i++) {
		struct io_uring_cqe cqes[3] = {};

		CHECK_EQ(sys_enter(setup.ring.fd, 3, 3, IORING_ENTER_GETEVENTS), 3);
		for (int j = 0; j < 3; j++)
			CHECK(take_cqe(&setup.ring, &cqes[j]));
		CHECK_EQ(cqes[0].user_data, 1);
		CHECK_EQ(cqes[1].user_data + cqes[2].user_data, 5);
	}
	close_ring(&setup.ring);
}

/* Opens a ring with these flags. Returns 0 or a negative errno. */
static int try_flags(unsigned flags)
{
	struct io_uring_params params = {.flags = flags};
	const int fd = sys_setup(8, &params);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void rewind_flags(void)
{
	CHECK_EQ(try_flags(IORING_SETUP_SQ_REWIND), -EINVAL);
	CHECK_EQ(try_flags(IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQPOLL), -EINVAL);
	CHECK_EQ(try_flags(IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY), 0);
	CHECK_EQ(try_flags(1U << 31), -EINVAL);
}

const struct test submit_tests[] = {
	TEST(submit_by_the_rules),
	TEST(rewind_takes_the_first_ones),
	TEST(rewind_flags),
	END_OF_TESTS,
};
