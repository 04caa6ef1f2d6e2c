/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where in io_uring tasks have been, by kcov (Documentation/dev-tools/kcov.rst). The set of all places is shared by this process and all that it
 * forks after coverage_prepare(). It only grows.
 */
#ifndef RINGSTEP_SELFTESTS_COVERAGE_H
#define RINGSTEP_SELFTESTS_COVERAGE_H

#include <stdbool.h>

/* Makes the set, which is empty. Returns false if this kernel has no kcov. */
bool coverage_prepare(void);

/* From now on, the kernel notes where this thread goes. Does nothing if coverage_prepare() has returned false. */
void coverage_begin(void);

/* Adds the places where this thread has been since the last call to the set. To be called after each system call or few of them: the kernel
 * notes only so many places. */
void coverage_take(void);

/* Returns how many places the set has. */
unsigned coverage_count(void);

/* Writes the addresses of all places to a file, one in a line. Returns 0 or a negative errno. */
int coverage_write(const char *path);

#endif
