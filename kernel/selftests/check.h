/* SPDX-License-Identifier: GPL-2.0 */
/* Tests, each in a process of its own: what they check with, and how they are run. */
#ifndef RINGSTEP_SELFTESTS_CHECK_H
#define RINGSTEP_SELFTESTS_CHECK_H

#include "ring.h"

#include <stdio.h>
#include <stdlib.h>

enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

/* Checks of this test that have failed. */
extern int failures;
void report(const char *file, int line, const char *what, long got, long expected);

#define CHECK_EQ(what, expected)                                                 \
	do {                                                                     \
		const long got__ = (long)(what), expected__ = (long)(expected);  \
		if (got__ != expected__)                                         \
			report(__FILE__, __LINE__, #what, got__, expected__);    \
	} while (0)

#define CHECK(what) CHECK_EQ(!!(what), 1)

/* What the rest of a test stands on. */
#define NEED(what)                                                                          \
	do {                                                                                \
		const long got__ = (long)(what);                                            \
		if (got__ < 0) {                                                            \
			report(__FILE__, __LINE__, #what, got__, 0);                        \
			exit(FAILED);                                                       \
		}                                                                           \
	} while (0)

#define SKIP(reason)                                         \
	do {                                                 \
		fprintf(stderr, "skipped: %s\n", reason);    \
		exit(SKIPPED);                               \
	} while (0)

/* What the released kernels lack, and ours have: by the number of the release that came with it (703 is 7.3), or this. */
enum {
	ONLY_IN_OURS = -1,
};
/* Whether the kernel lacks it. Never, if asked to see for oneself. */
bool lacks(int number);

void sleep_ms(long ms);

/* Waits for something that happens in the kernel's own time, such as a ring being freed. */
#define EVENTUALLY(condition)                                         \
	({                                                            \
		int tries__ = 0;                                      \
		while (!(condition) && tries__++ < 1000)              \
			sleep_ms(20);                                 \
		tries__ <= 1000;                                      \
	})

void drop_capabilities(__u64 dropped);

/* Whole pages of memory, zeroed. */
void *pages(size_t count);

struct test {
	const char *name;
	void (*run)(void);
};

#define TEST(name) {#name, name}

/* The main function: runs those that the arguments name, or all. */
int run_tests(const struct test *tests, size_t count, int argc, char **argv);

#endif
