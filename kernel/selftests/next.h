/* SPDX-License-Identifier: GPL-2.0 */
/* The groups of tests that kernel-selftests-next consists of. Each is in the file of its name: timeout_tests are in next_timeout.c. */
#ifndef RINGSTEP_SELFTESTS_NEXT_H
#define RINGSTEP_SELFTESTS_NEXT_H

#include "check.h"

extern const struct test timeout_tests[];
extern const struct test buffers_tests[];
extern const struct test block_tests[];
extern const struct test next_load_tests[];
extern const struct test poll_tests[];
extern const struct test stream_tests[];
extern const struct test work_tests[];

#endif
