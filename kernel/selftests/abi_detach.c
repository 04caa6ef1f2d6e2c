// SPDX-License-Identifier: GPL-2.0
/* Detaching a loop, closing a ring, and both in any order. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

struct detacher {
	struct setup *setup;
	int wake_fd;
};

/* Detaches the loop some time after its first turn has begun, and then writes a byte to wake_fd, unless that is negative. */
static void *detach_later(void *arg)
{
	struct detacher *detacher = arg;

	CHECK(EVENTUALLY(((const volatile struct plan *)detacher->setup->ring.plan)->turns >= 1));
	sleep_ms(300);
	detach_loop(&detacher->setup->loop);
	if (detacher->wake_fd >= 0)
		NEED(write(detacher->wake_fd, "x", 1));
	return NULL;
}

static void detach_under_a_sleep(void)
{
	struct setup setup;
	struct detacher detacher;
	struct io_uring_cqe cqe;
	pthread_t thread;
	int pipes[2];
	char byte;

	NEED(pipe(pipes));
	make_setup(&setup);
	fill_read(&setup.ring, pipes[0], &byte, 5);
	detacher = (struct detacher){.setup = &setup, .wake_fd = pipes[1]};
	pthread_create(&thread, NULL, detach_later, &detacher);
	CHECK_EQ(run_plan(&setup, (struct plan){.submit = 1, .submit_turns = 1, .reap = 8, .wait = 1}), -EFAULT);
	pthread_join(thread, NULL);
	CHECK_EQ(setup.ring.plan->reaped, 0);
	/* The completion stays in the CQ. */
	CHECK_EQ(sys_enter(setup.ring.fd, 0, 1, IORING_ENTER_GETEVENTS), 0);
	CHECK(take_cqe(&setup.ring, &cqe));
	CHECK_EQ(cqe.user_data, 5);
	end_setup(&setup);
}

static void detach_from_a_loop_that_never_sleeps(void)
{
	struct setup setup;
	struct detacher detacher;
	pthread_t thread;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 do not release the ring's lock");
	make_setup(&setup);
	detacher = (struct detacher){.setup = &setup, .wake_fd = -1};
	pthread_create(&thread, NULL, detach_later, &detacher);
	CHECK_EQ(enter(&setup), -EFAULT);
	pthread_join(thread, NULL);
	end_setup(&setup);
}

static void close_ring_before_loop(void)
{
	struct setup setup;

	for (int i = 0; i < 10; i++) {
		make_setup(&setup);
		CHECK_EQ(run_plan(&setup, stop_in_turn(1)), 0);
		close_ring(&setup.ring);
		if (i & 1)
			sleep_ms(100); /* a worker frees the ring later */
		free_loop(&setup.loop);
	}
}

static void *close_now(void *arg)
{
	close_ring(arg);
	return NULL;
}

/* One thread closes the ring while another detaches the loop. */
static void close_and_detach_race(void)
{
	struct setup setup;
	pthread_t thread;

	for (int i = 0; i < 50; i++) {
		make_setup(&setup);
		pthread_create(&thread, NULL, close_now, &setup.ring);
		free_loop(&setup.loop);
		pthread_join(thread, NULL);
	}
}

/* A process that exits with a loop attached does not hang. */
static void exit_with_all_open(void)
{
	for (int i = 0; i < 10; i++) {
		const pid_t child = fork();
		int status;

		if (child == 0) {
			struct setup setup;

			make_setup(&setup);
			_exit(run_plan(&setup, stop_in_turn(1)) ? FAILED : PASSED);
		}
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
	}
}

static void attach_and_detach_cycles(void)
{
	const char *wanted = getenv("RINGSTEP_SELFTEST_CYCLES");
	const int cycles = wanted ? atoi(wanted) : 200;
	struct setup setup;

	/* Each cycle makes a new link. Every tenth also makes a new ring and loads the program again. */
	make_setup(&setup);
	for (int i = 0; i < cycles && !failures; i++) {
		detach_loop(&setup.loop);
		if (i % 10 == 9) {
			end_setup(&setup);
			munmap(setup.ring.plan, 4096);
			make_setup(&setup);
		} else {
			NEED(attach_loop(&setup.loop));
		}
		fill_nops(&setup.ring, 2, 1);
		CHECK_EQ(run_plan(&setup, submit_and_reap(2)), 0);
		CHECK_EQ(setup.ring.plan->user_data_sum, 3);
	}
	end_setup(&setup);
}

const struct test detach_tests[] = {
	TEST(detach_under_a_sleep),
	TEST(detach_from_a_loop_that_never_sleeps),
	TEST(close_ring_before_loop),
	TEST(close_and_detach_race),
	TEST(exit_with_all_open),
	TEST(attach_and_detach_cycles),
	END_OF_TESTS,
};
