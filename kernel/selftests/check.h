/* SPDX-License-Identifier: GPL-2.0 */
/* What tests check with, and how they are run: each in a process of its own. */
#ifndef RINGSTEP_SELFTESTS_CHECK_H
#define RINGSTEP_SELFTESTS_CHECK_H

#include <linux/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

/* How many checks of this test have failed. */
extern int failures;
void report(const char *file, int line, const char *what, long got, long expected);

/* Reports a failure if the two differ. The test continues. */
#define CHECK_EQ(what, expected)                                                                                               \
	do {                                                                                                                   \
		const long got__ = (long)(what), expected__ = (long)(expected);                                                \
		if (got__ != expected__)                                                                                       \
			report(__FILE__, __LINE__, #what, got__, expected__);                                                  \
	} while (0)

#define CHECK(what) CHECK_EQ(!!(what), 1)

/* Ends the test with a failure if `what` is negative. For the preparations that the rest of the test depends on. */
#define NEED(what)                                                                                                             \
	do {                                                                                                                   \
		const long got__ = (long)(what);                                                                               \
		if (got__ < 0) {                                                                                               \
			report(__FILE__, __LINE__, #what, got__, 0);                                                           \
			exit(FAILED);                                                                                          \
		}                                                                                                              \
	} while (0)

#define SKIP(reason)                                                                                                           \
	do {                                                                                                                   \
		fprintf(stderr, "skipped: %s\n", reason);                                                                      \
		exit(SKIPPED);                                                                                                 \
	} while (0)

/* For lacks(): no released kernel has it. */
enum {
	ONLY_IN_OURS = -1,
};
/*
 * Returns true if the running kernel is a released one that lacks a behaviour. `number` is the first release that has the behaviour
 * (703 is 7.3), or ONLY_IN_OURS. Our kernels lack nothing. Always returns false if RINGSTEP_SELFTEST_ALL is set.
 */
bool lacks(int number);

void sleep_ms(long ms);
/* Returns the time of CLOCK_MONOTONIC. */
long milliseconds(void);

/* Waits up to 20 seconds for something that the kernel does in its own time, such as freeing a ring. Returns false if it does not happen. */
#define EVENTUALLY(condition)                                                                                                  \
	({                                                                                                                     \
		int tries__ = 0;                                                                                               \
		while (!(condition) && tries__++ < 1000)                                                                       \
			sleep_ms(20);                                                                                          \
		tries__ <= 1000;                                                                                               \
	})

/* Returns true if the task sleeps in a kernel function whose name begins like this. */
bool sleeps_in(pid_t task, const char *function);

/* Takes capabilities (1 << CAP_…) away from this task. */
void drop_capabilities(__u64 dropped);

/* Allocates whole pages of zeroed memory. */
void *pages(size_t count);

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(name) {#name, name}
/* Each group of tests ends with this. */
#define END_OF_TESTS {NULL, NULL}

/*
 * The main function: runs the tests that the arguments name, or all. `groups` ends with NULL. Prints TAP, version 13. Returns
 * the exit status that the kernel's selftests have: PASSED, FAILED, or SKIPPED if all tests were skipped.
 */
int run_tests(const struct test *const *groups, int argc, char **argv);

#endif
