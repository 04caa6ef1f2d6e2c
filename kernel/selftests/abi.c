// SPDX-License-Identifier: GPL-2.0
/*
 * kernel-selftests tests the interface of loops by system calls alone: what is refused and how, what io_uring_enter() returns, how a loop
 * ends, and that nothing is left behind. The interface is the same in all kernels with loops, so these tests also pass in kernels that were
 * released with loops.
 *
 * Usage: kernel-selftests [OBJECTS [TEST…]]    runs all tests, or those named
 *        kernel-selftests OBJECTS --list       prints the names of all tests
 * OBJECTS is the folder of step.bpf.o, refused.bpf.o, proprietary.bpf.o and tasks.bpf.o, or else the current one. The program must run as root.
 */
#include "abi.h"

int main(int argc, char **argv)
{
	static const struct test *const groups[] = {
		attach_tests, load_tests,   enter_tests,  submit_tests, wait_tests, tasks_tests,    signal_tests, detach_tests,
		region_tests, queues_tests, memory_tests, stall_tests,	fair_tests, throttle_tests, NULL,
	};

	return run_tests(groups, argc, argv);
}
