// SPDX-License-Identifier: GPL-2.0
/* Busy polling of network devices. */
#define _GNU_SOURCE
#include "network.h"
#include "next.h"
#include "next_setup.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Without a device to poll, a wait with busy polling is an ordinary wait. */
static void nothing_to_poll(void)
{
	struct setup setup;
	const struct next_plan *plan;
	const struct next_wait wait = {.flags = F_TIMEOUT, .count = 1, .timeout_ns = 10 * MS, .busy_poll_ns = 5 * MS};

	make_next_setup(&setup, NEXT_TIMEOUTS | NEXT_POLLING, 0);
	plan = setup.ring.next_plan;
	for (int i = 0; i < 2; i++) {
		struct napi_registration napi = {.busy_poll_to = 10000, .op_param = NAPI_DYNAMIC};

		CHECK_EQ(run_wait(&setup, 2, wait), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK_EQ(plan->busy_poll_ns[1], 0);
		NEED(sys_register(setup.ring.fd, REGISTER_NAPI, &napi, 1));
	}
	end_setup(&setup);
}

/* The child process at the other end: waits for a byte from `ready`, and then sends packets until it is killed. */
static void send_packets(int ready)
{
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(0x0a090001)};
	int fd;
	char byte;

	NEED(read(ready, &byte, 1) == 1 ? 0 : -1);
	finish_veth_peer();
	give_address("v1", "10.9.0.2");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (;;) {
		sendto(fd, "packet", 6, 0, (const struct sockaddr *)&to, sizeof(to));
		usleep(500);
	}
}

/* Receives at least `count` packets in a loop whose turns end with `wait`. Returns how many of them busy polling received. */
static long polled_packets(struct setup *setup, int fd, struct next_wait wait, unsigned count)
{
	static char packet[64];
	const long before = statistic("BusyPollRxPackets");
	struct io_uring_sqe *sqe = &setup->ring.sqes[0];

	clear_plan(setup);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_RECV;
	sqe->fd = fd;
	sqe->addr = (__u64)(uintptr_t)packet;
	sqe->len = sizeof(packet);
	setup->ring.next_plan->submit = 1;
	setup->ring.next_plan->stop_after = count;
	/* A step whose waits end at once must not submit in each turn. */
	setup->ring.next_plan->submit_turns = wait.flags ? 1 : 0;
	for (int turn = 0; turn < NEXT_TURNS; turn++)
		setup->ring.next_plan->wait[turn] = wait;
	CHECK_EQ(enter(setup), 0);
	CHECK_EQ(setup->ring.next_plan->reaped >= count, true);
	CHECK_EQ(setup->ring.next_plan->last_res, 6);
	return statistic("BusyPollRxPackets") - before;
}

static void polls_devices(void)
{
	struct napi_registration napi = {.busy_poll_to = 10000, .op_param = NAPI_DYNAMIC};
	struct setup setup;
	char byte;
	int from_child[2], to_child[2], fd;
	pid_t child;

	need_next(NEXT_TIMEOUTS | NEXT_POLLING);
	NEED(pipe(from_child));
	NEED(pipe(to_child));
	child = fork();
	if (child == 0) {
		NEED(unshare(CLONE_NEWNET));
		NEED(write(from_child[1], "x", 1) == 1 ? 0 : -1);
		send_packets(to_child[0]);
	}
	NEED(unshare(CLONE_NEWNET));
	NEED(read(from_child[0], &byte, 1) == 1 ? 0 : -1);
	make_veth(child);
	give_address("v0", "10.9.0.1");
	NEED(write(to_child[1], "y", 1) == 1 ? 0 : -1);

	make_next_setup(&setup, NEXT_TIMEOUTS | NEXT_POLLING, IORING_SETUP_SQ_REWIND);
	fd = udp_socket(INADDR_ANY);
	NEED(sys_register(setup.ring.fd, REGISTER_NAPI, &napi, 1));
	CHECK_EQ(polled_packets(&setup, fd, (struct next_wait){.count = 1}, 50), 0);
	CHECK(EVENTUALLY(polled_packets(&setup, fd, (struct next_wait){.count = 1, .busy_poll_ns = 5 * MS}, 50) > 0));
	CHECK_EQ(setup.ring.next_plan->busy_poll_ns[1] | setup.ring.next_plan->busy_poll_ns[NEXT_TURNS - 1], 0);
	/* As long as the registration allows. The time at which that would end is beyond the last one. */
	CHECK(EVENTUALLY(polled_packets(&setup, fd, (struct next_wait){.count = 1, .busy_poll_ns = ~0ULL}, 50) > 0));
	/* If the time until which to wait has passed, there is no time to poll. */
	for (int i = 0; i < 50; i++)
		CHECK_EQ(polled_packets(&setup, fd,
					(struct next_wait){.flags = F_TIMEOUT | F_TIMEOUT_ABS,
							   .count = 1,
							   .timeout_ns = 1,
							   .busy_poll_ns = 10 * MS},
					1),
			 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	end_setup(&setup);
}

const struct test poll_tests[] = {
	TEST(nothing_to_poll),
	TEST(polls_devices),
	END_OF_TESTS,
};
