// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what busy polling by a loop is worth: how long a packet takes to a peer and back, and how much processor time that costs.
 *
 *     kernel-busy-polling FOLDER [--devices OWN PEER] [--packets N] [--runs N]
 *
 * FOLDER is the folder of next.bpf.o. OWN and PEER are two network devices that are connected with each other, such as the two that
 * `./dev vm --wire` makes. Without --devices, the program makes a pair of veth devices. The peer is a process with a network namespace and a
 * processor of its own. It sends back each packet that it receives.
 *
 * In each turn, the loop sends a packet and waits for the answer. This is measured in four ways: the wait sleeps at once; it polls for less time
 * than an answer takes; it polls for longer; and it polls for as long as the registration allows, which is 10 ms. A run measures each way once.
 * The column `ratio` compares a way with the first one: it is the median of the ratios of all runs.
 */
#define _GNU_SOURCE
#include "network.h"
#include "next_setup.h"

#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define US 1000ULL
#define SECONDS_AT_MOST 300
#define MOST_RUNS 101

static const __u64 ways[] = {0, 20 * US, 200 * US, ~0ULL};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

struct options {
	const char *own, *peer;
	unsigned packets, runs;
};

struct sample {
	double elapsed; /* microseconds for each packet */
	double busy;	/* microseconds of processor time of this thread, for each packet */
	double polled;	/* packets that polling received, of 1 */
};

static void usage(void)
{
	fprintf(stderr, "usage: kernel-busy-polling FOLDER [--devices OWN PEER] [--packets N] [--runs N]\n");
	exit(2);
}

static unsigned number(const char *text, unsigned most)
{
	char *end;
	const unsigned long value = strtoul(text, &end, 10);

	if (*end || value < 1 || value > most)
		usage();
	return (unsigned)value;
}

static struct options parse(int argc, char **argv)
{
	struct options options = {.packets = 1000, .runs = 11};

	if (argc < 2 || argv[1][0] == '-')
		usage();
	object_folder = argv[1];
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--devices") == 0 && i + 2 < argc) {
			options.own = argv[++i];
			options.peer = argv[++i];
		} else if (strcmp(argv[i], "--packets") == 0 && i + 1 < argc) {
			options.packets = number(argv[++i], 1000000);
		} else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
			options.runs = number(argv[++i], MOST_RUNS);
		} else {
			usage();
		}
	}
	return options;
}

static void stay_on(unsigned processor)
{
	cpu_set_t set;

	/* With one processor, figures mean nothing, but it still works. */
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	NEED(sched_setaffinity(0, sizeof(set), &set));
}

/* The peer: says over `from` that it has a network namespace, waits for its device, and then answers until it is killed. */
static void answer(const struct options *options, int from, int to)
{
	struct sockaddr_in client;
	socklen_t length = sizeof(client);
	char packet[64];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stay_on(1);
	NEED(unshare(CLONE_NEWNET));
	NEED(write(from, "x", 1) == 1 ? 0 : -1);
	NEED(read(to, packet, 1) == 1 ? 0 : -1);
	if (!options->peer)
		finish_veth_peer();
	give_address(options->peer ? options->peer : "v1", "10.9.0.2");
	fd = udp_socket(0x0a090002);
	NEED(write(from, "y", 1) == 1 ? 0 : -1);
	for (;;) {
		const ssize_t got = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&client, &length);

		NEED(sendto(fd, packet, (size_t)got, 0, (struct sockaddr *)&client, length));
	}
}

static double microseconds(struct timespec time)
{
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* Sends packets until the peer answers: they are lost until both ends of the cable are up. */
static void reach_peer(int fd)
{
	const struct timeval patience = {.tv_usec = 200000}, none = {};
	char packet[64];

	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	do
		NEED(send(fd, "packet", 6, 0));
	while (recv(fd, packet, sizeof(packet), 0) < 0);
	/* Answers to earlier ones may still come. */
	while (recv(fd, packet, sizeof(packet), 0) >= 0)
		;
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)));
}

/* Sends `packets` packets, one after the other, each when the answer to the one before has come. */
static struct sample measure(struct setup *setup, int fd, __u64 busy_poll_ns, unsigned packets)
{
	static char packet[64] = "packet";
	const struct next_wait wait = {.count = 2, .busy_poll_ns = busy_poll_ns};
	struct timespec began, ended, busy_before, busy_after;
	struct io_uring_sqe *sqe = setup->ring.sqes;
	long polled;

	clear_plan(setup);
	memset(sqe, 0, 2 * sizeof(*sqe));
	for (int i = 0; i < 2; i++) {
		sqe[i].opcode = i == 0 ? IORING_OP_SEND : IORING_OP_RECV;
		sqe[i].fd = fd;
		sqe[i].addr = (__u64)(uintptr_t)packet;
		sqe[i].len = 6;
	}
	/* The queue begins anew in each turn (IORING_SETUP_SQ_REWIND), so both requests are made in each. */
	setup->ring.next_plan->submit = 2;
	setup->ring.next_plan->stop_after = 2 * packets;
	for (int turn = 0; turn < NEXT_TURNS; turn++)
		setup->ring.next_plan->wait[turn] = wait;
	polled = statistic("BusyPollRxPackets");
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &busy_before);
	clock_gettime(CLOCK_MONOTONIC, &began);
	NEED(enter(setup));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &busy_after);
	CHECK_EQ(setup->ring.next_plan->last_res, 6);
	polled = statistic("BusyPollRxPackets") - polled;
	return (struct sample){
		.elapsed = (microseconds(ended) - microseconds(began)) / packets,
		.busy = (microseconds(busy_after) - microseconds(busy_before)) / packets,
		.polled = (double)polled / packets,
	};
}

static int compare(const void *a, const void *b)
{
	const double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Sorts the values. */
static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void print(struct sample samples[][WAYS], const struct options *options)
{
	double elapsed[MOST_RUNS], busy[MOST_RUNS], polled[MOST_RUNS], ratio[MOST_RUNS];
	struct utsname kernel;

	uname(&kernel);
	printf("Linux %s, %s; %u runs of %u packets\n", kernel.release, options->own ? options->own : "veth", options->runs,
	       options->packets);
	printf("%-16s %16s %16s %8s %6s\n", "polls for", "us for a packet", "us of processor", "polled", "ratio");
	for (unsigned way = 0; way < WAYS; way++) {
		char name[32];

		for (unsigned run = 0; run < options->runs; run++) {
			elapsed[run] = samples[run][way].elapsed;
			busy[run] = samples[run][way].busy;
			polled[run] = samples[run][way].polled;
			ratio[run] = samples[run][way].elapsed / samples[run][0].elapsed;
		}
		snprintf(name, sizeof(name), "%llu us", ways[way] / US);
		printf("%-16s %16.1f %16.1f %7.0f%% %6.2f\n", ways[way] == ~0ULL ? "as registered" : name,
		       median(elapsed, options->runs), median(busy, options->runs), 100 * median(polled, options->runs),
		       median(ratio, options->runs));
	}
}

int main(int argc, char **argv)
{
	const struct options options = parse(argc, argv);
	const struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(0x0a090002)};
	struct napi_registration napi = {.busy_poll_to = 10000, .op_param = NAPI_DYNAMIC};
	static struct sample samples[MOST_RUNS][WAYS];
	int from_child[2], to_child[2], fd;
	char command[160];
	struct setup setup;
	pid_t child;

	need_next(NEXT_POLLING);
	alarm(SECONDS_AT_MOST);
	NEED(pipe(from_child));
	NEED(pipe(to_child));
	child = fork();
	NEED(child);
	if (child == 0)
		answer(&options, from_child[1], to_child[0]);
	/* So that a peer that ends is noticed. */
	close(from_child[1]);
	close(to_child[0]);
	stay_on(0);
	NEED(read(from_child[0], command, 1) == 1 ? 0 : -1);
	if (options.own) {
		snprintf(command, sizeof(command), "ip link set %s netns %d", options.peer, child);
		run_command(command);
	} else {
		NEED(unshare(CLONE_NEWNET));
		make_veth(child);
	}
	give_address(options.own ? options.own : "v0", "10.9.0.1");
	NEED(write(to_child[1], "x", 1) == 1 ? 0 : -1);
	NEED(read(from_child[0], command, 1) == 1 ? 0 : -1);
	make_next_setup(&setup, NEXT_POLLING, IORING_SETUP_SQ_REWIND);
	NEED(sys_register(setup.ring.fd, REGISTER_NAPI, &napi, 1));
	fd = udp_socket(0x0a090001);
	NEED(connect(fd, (const struct sockaddr *)&peer, sizeof(peer)));
	reach_peer(fd);
	measure(&setup, fd, 0, 10);
	for (unsigned run = 0; run < options.runs; run++)
		for (unsigned way = 0; way < WAYS; way++)
			samples[run][way] = measure(&setup, fd, ways[way], options.packets);
	print(samples, &options);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	end_setup(&setup);
	return failures ? FAILED : PASSED;
}
