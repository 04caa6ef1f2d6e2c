// SPDX-License-Identifier: GPL-2.0
/*
 * kernel-selftests-next tests what kernel/next adds to the interface, by system calls alone: waiting with a timeout, registered buffers,
 * busy polling, running deferred work, and a repair of multishot receives. Kernels without all of these skip the tests of what is new, and kernels
 * without our patches skip all tests.
 *
 * Usage: kernel-selftests-next [OBJECTS [TEST…]]    runs all tests, or those named
 *        kernel-selftests-next OBJECTS --list       prints the names of all tests
 * OBJECTS is the folder of next.bpf.o and next_refused.bpf.o, or else the current one. The program must run as root.
 */
#include "next.h"

int main(int argc, char **argv)
{
	static const struct test *const groups[] = {
		timeout_tests, buffers_tests, block_tests, next_load_tests, poll_tests, stream_tests, work_tests, NULL,
	};

	return run_tests(groups, argc, argv);
}
