// SPDX-License-Identifier: GPL-2.0
/* The end of a run by a signal. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void on_alarm(int signal)
{
	(void)signal;
}

/* Sends SIGALRM to this process after a time. Without SA_RESTART, which makes no difference here. */
static void alarm_in(long ms)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerspec time = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
	timer_t timer;

	sigaction(SIGALRM, &action, NULL);
	NEED(timer_create(CLOCK_MONOTONIC, NULL, &timer));
	NEED(timer_settime(timer, 0, &time, NULL));
}

static void signal_ends_a_sleep(void)
{
	struct setup setup;

	make_setup(&setup);
	alarm_in(200);
	CHECK_EQ(run_plan(&setup, (struct plan){.wait = 1}), -EINTR);
	CHECK(setup.ring.plan->turns >= 1);

	/* The loop can run again. */
	fill_nops(&setup.ring, 1, 1);
	CHECK_EQ(run_plan(&setup, submit_and_reap(1)), 0);
	end_setup(&setup);
}

static void signal_ends_a_loop_that_never_sleeps(void)
{
	struct setup setup;

	make_setup(&setup);
	alarm_in(200);
	CHECK_EQ(enter(&setup), -EINTR);
	CHECK(setup.ring.plan->turns > 100);
	end_setup(&setup);
}

static void kill_ends_it(bool sleeping)
{
	struct setup setup;
	int status;
	pid_t child;

	child = fork();
	if (child == 0) {
		make_setup(&setup);
		run_plan(&setup, (struct plan){.wait = sleeping});
		_exit(0);
	}
	sleep_ms(1500);
	CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void kill_ends_a_sleep(void)
{
	kill_ends_it(true);
}

static void kill_ends_a_loop_that_never_sleeps(void)
{
	kill_ends_it(false);
}

const struct test signal_tests[] = {
	TEST(signal_ends_a_sleep),
	TEST(signal_ends_a_loop_that_never_sleeps),
	TEST(kill_ends_a_sleep),
	TEST(kill_ends_a_loop_that_never_sleeps),
	END_OF_TESTS,
};
