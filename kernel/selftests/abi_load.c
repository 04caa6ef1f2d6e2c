// SPDX-License-Identifier: GPL-2.0
/* Loading a program: what the verifier refuses, and to whom. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <linux/capability.h>

#include <errno.h>
#include <string.h>

/* Returns true if the running kernel may load this program of refused.bpf.o. */
static bool may_be_loaded(const char *program)
{
	/* These write what comes after the first parameter, which kernel/next adds. */
	if (strcmp(program, "write_past_params") == 0 || strcmp(program, "write_across_end") == 0)
		return size_of_params() > sizeof(__u32);
	/* Before 7.2, a program can read the ring's memory. */
	return lacks(702) && strcmp(program, "read_ring") == 0;
}

static void verifier_refuses(void)
{
	static const char *const programs[] = {
		"write_far_past_params",
		"write_across_far_end",
		"write_past_params",
		"write_across_end",
		"write_before_params",
		"read_ring",
		"write_ring",
		"read_third_argument",
		"write_argument",
		"region_not_checked",
		"read_past_region",
		"size_not_constant",
		"not_a_ring",
		"submit_without_sleep",
	};
	struct ring ring;

	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	CHECK_EQ(load_refused("refused.bpf.o", "harmless", ring.fd), 0);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (!may_be_loaded(programs[i]))
			check_refused("refused.bpf.o", programs[i], ring.fd);
	CHECK_EQ(load_refused("proprietary.bpf.o", "harmless", ring.fd), -EINVAL);
}

static void load_needs_capabilities(void)
{
	struct ring ring;

	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	drop_capabilities(1ULL << CAP_SYS_ADMIN | 1ULL << CAP_BPF);
	CHECK_EQ(load_refused("refused.bpf.o", "harmless", ring.fd), -EPERM);
}

const struct test load_tests[] = {
	TEST(verifier_refuses),
	TEST(load_needs_capabilities),
	END_OF_TESTS,
};
