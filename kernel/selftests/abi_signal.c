// SPDX-License-Identifier: GPL-2.0
/* The end of a run by a signal. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void nothing(int signal)
{
	(void)signal;
}

/* Sends SIGUSR1 to this process after a time. SIGALRM is the test's time limit. Without SA_RESTART, which makes no difference here. */
static void signal_in(long ms)
{
	const struct sigaction action = {.sa_handler = nothing};
	const struct itimerspec time = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
	NEED(timer_settime(timer, 0, &time, NULL));
}

static void signal_ends_a_sleep(void)
{
	struct setup setup;

	make_setup(&setup);
	signal_in(200);
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
	signal_in(200);
	CHECK_EQ(enter(&setup), -EINTR);
	CHECK(setup.ring.plan->turns > 100);
	end_setup(&setup);
}

/* Kills a process that is in a loop. */
static void kill_ends_it(bool sleeping)
{
	struct plan *const plan = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const volatile struct plan *const seen = plan;
	struct setup setup;
	int status;
	pid_t child;

	NEED(plan == MAP_FAILED ? -1 : 0);
	child = fork();
	NEED(child);
	if (child == 0) {
		make_setup_at(&setup, plan, 0);
		run_plan(&setup, (struct plan){.wait = sleeping});
		_exit(0);
	}
	CHECK(EVENTUALLY(seen->turns > (sleeping ? 0 : 1000)));
	sleep_ms(200);
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
