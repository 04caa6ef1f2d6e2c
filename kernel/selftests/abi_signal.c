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

/*
 * Sends SIGUSR1 to this process every 200 ms, until stop_signals(): the first one may come before the loop has begun. SIGALRM is the test's time
 * limit. Without SA_RESTART, which makes no difference here.
 */
static timer_t send_signals(void)
{
	const struct sigaction action = {.sa_handler = nothing};
	const struct itimerspec time = {.it_value.tv_nsec = 200000000, .it_interval.tv_nsec = 200000000};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
	NEED(timer_settime(timer, 0, &time, NULL));
	return timer;
}

static void stop_signals(timer_t timer)
{
	timer_delete(timer);
}

static void signal_ends_a_sleep(void)
{
	struct setup setup;
	timer_t timer;

	make_setup(&setup);
	timer = send_signals();
	CHECK_EQ(run_plan(&setup, (struct plan){.wait = 1}), -EINTR);
	stop_signals(timer);
	CHECK(setup.ring.plan->turns >= 1);

	/* The loop can run again. */
	fill_nops(&setup.ring, 1, 1);
	CHECK_EQ(run_plan(&setup, submit_and_reap(1)), 0);
	end_setup(&setup);
}

static void signal_ends_a_loop_that_never_sleeps(void)
{
	struct setup setup;
	__u64 turns = 0;
	timer_t timer;

	make_setup(&setup);
	timer = send_signals();
	/* A signal that comes early ends a run that has hardly begun. */
	for (int tries = 0; tries < 20 && turns <= 100; tries++) {
		CHECK_EQ(run_plan(&setup, (struct plan){0}), -EINTR);
		turns = setup.ring.plan->turns;
	}
	stop_signals(timer);
	CHECK(turns > 100);
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
