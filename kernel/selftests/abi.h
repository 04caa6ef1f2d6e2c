/* SPDX-License-Identifier: GPL-2.0 */
/* The groups of tests that kernel-selftests consists of. Each is in the file of its name: attach_tests are in abi_attach.c. */
#ifndef RINGSTEP_SELFTESTS_ABI_H
#define RINGSTEP_SELFTESTS_ABI_H

#include "check.h"

extern const struct test attach_tests[];
extern const struct test load_tests[];
extern const struct test enter_tests[];
extern const struct test submit_tests[];
extern const struct test wait_tests[];
extern const struct test tasks_tests[];
extern const struct test signal_tests[];
extern const struct test detach_tests[];
extern const struct test region_tests[];
extern const struct test queues_tests[];
extern const struct test memory_tests[];
extern const struct test stall_tests[];
extern const struct test fair_tests[];
extern const struct test throttle_tests[];

#endif
