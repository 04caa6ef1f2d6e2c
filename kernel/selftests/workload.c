// SPDX-License-Identifier: GPL-2.0
/*
 * Ordinary jobs on rings without loops. compare.sh runs this program in a patched kernel and in the same kernel unpatched, with a clock that
 * counts instructions.
 *
 * Prints a line for each job: its name, a number made of all results, and the nanoseconds for each request. The time is that of the fastest
 * of several sections, because interrupts and other tasks slow some of them down.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 400, SECTIONS = 8, ROUNDS = 500 };

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* The files that the jobs use. */
static int file, sockets[2], pipes[2];
static char buffer[4096];

static void prepare(struct io_uring_sqe *sqe, __u8 opcode, int fd, __u32 len)
{
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->addr = (__u64)(uintptr_t)buffer;
	sqe->len = len;
}

/* Each job fills in the requests of one round and returns their number. */
static unsigned one_nop(struct ring *ring)
{
	next_sqe(ring);
	return 1;
}

static unsigned eight_nops(struct ring *ring)
{
	fill_nops(ring, 8, 1);
	return 8;
}

static unsigned linked_nops(struct ring *ring)
{
	next_sqe(ring)->flags = IOSQE_IO_LINK;
	next_sqe(ring);
	return 2;
}

static unsigned drained_nops(struct ring *ring)
{
	next_sqe(ring);
	next_sqe(ring)->flags = IOSQE_IO_DRAIN;
	return 2;
}

static unsigned file_write_read(struct ring *ring)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	prepare(sqe, IORING_OP_WRITE, file, 512);
	sqe->flags = IOSQE_IO_LINK;
	prepare(next_sqe(ring), IORING_OP_READ, file, 4096);
	return 2;
}

static unsigned pipe_write_read(struct ring *ring)
{
	prepare(next_sqe(ring), IORING_OP_WRITE, pipes[1], 64);
	prepare(next_sqe(ring), IORING_OP_READ, pipes[0], 64);
	return 2;
}

/* The receive comes first, so it waits for the send. */
static unsigned receive_send(struct ring *ring)
{
	prepare(next_sqe(ring), IORING_OP_RECV, sockets[0], 64);
	prepare(next_sqe(ring), IORING_OP_SEND, sockets[1], 64);
	return 2;
}

static unsigned refused(struct ring *ring)
{
	next_sqe(ring)->opcode = 255;
	return 1;
}

static uint64_t run_round(struct ring *ring, unsigned (*fill_in)(struct ring *ring))
{
	const unsigned count = fill_in(ring);
	const int submitted = sys_enter(ring->fd, count, count, IORING_ENTER_GETEVENTS);
	uint64_t results = (uint64_t)submitted;
	struct io_uring_cqe cqe;

	if (submitted != (int)count)
		give_up("io_uring_enter");
	for (unsigned i = 0; i < count; i++) {
		if (!take_cqe(ring, &cqe))
			give_up("taking a completion");
		results = results * 31 + (uint32_t)cqe.res + cqe.user_data + cqe.flags;
	}
	return results;
}

static void run_job(const char *ring_name, unsigned flags, const char *name, unsigned (*fill_in)(struct ring *ring))
{
	struct ring ring;
	uint64_t results = 0, least = UINT64_MAX;
	unsigned requests = 0;

	if (open_ring(&ring, 64, 128, flags | IORING_SETUP_CQSIZE) < 0)
		give_up("io_uring_setup");
	for (int i = 0; i < WARM_UP; i++)
		results = results * 31 + run_round(&ring, fill_in);
	for (int section = 0; section < SECTIONS; section++) {
		const unsigned first = *ring.sq_tail;
		const uint64_t start = now();
		uint64_t taken;

		for (int i = 0; i < ROUNDS; i++)
			results = results * 31 + run_round(&ring, fill_in);
		taken = now() - start;
		if (taken < least)
			least = taken;
		requests = *ring.sq_tail - first;
	}
	printf("%s/%s %016llx %.1f\n", ring_name, name, (unsigned long long)results, (double)least / requests);
	close_ring(&ring);
}

int main(void)
{
	static const struct {
		const char *name;
		unsigned flags;
	} rings[] = {
		{"plain", 0},
		{"deferred", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN},
		{"no-sqarray", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY},
	};
	static const struct {
		const char *name;
		unsigned (*fill_in)(struct ring *ring);
	} jobs[] = {
		{"one-nop", one_nop},
		{"eight-nops", eight_nops},
		{"linked-nops", linked_nops},
		{"drained-nops", drained_nops},
		{"file-write-read", file_write_read},
		{"pipe-write-read", pipe_write_read},
		{"receive-send", receive_send},
		{"refused", refused},
	};

	file = memfd_create("workload", 0);
	if (file < 0 || pipe(pipes) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		give_up("creating a file, a pipe and a socket pair");
	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		for (size_t j = 0; j < sizeof(jobs) / sizeof(jobs[0]); j++)
			run_job(rings[i].name, rings[i].flags, jobs[j].name, jobs[j].fill_in);
	return 0;
}
