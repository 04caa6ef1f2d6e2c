// SPDX-License-Identifier: GPL-2.0
/* The end of a stream, for a multishot receive. This needs no loop. */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	BUFFERS = 128, /* a power of two */
	BUFFER_SIZE = 16,
	RECEIVED = 100, /* how many buffers the data fills. After 33 of them, the kernel lets others run */
};

/* Registers the buffers as group 0. */
static void add_buffers(struct ring *ring)
{
	static char memory[BUFFERS][BUFFER_SIZE];
	struct io_uring_buf_ring *buffers =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	const struct io_uring_buf_reg registration = {.ring_addr = (__u64)(uintptr_t)buffers, .ring_entries = BUFFERS};

	NEED(buffers == MAP_FAILED ? -1 : 0);
	for (unsigned i = 0; i < BUFFERS; i++) {
		buffers->bufs[i].addr = (__u64)(uintptr_t)memory[i];
		buffers->bufs[i].len = BUFFER_SIZE;
		buffers->bufs[i].bid = (__u16)i;
	}
	__atomic_store_n(&buffers->tail, (__u16)BUFFERS, __ATOMIC_RELEASE);
	NEED(sys_register(ring->fd, IORING_REGISTER_PBUF_RING, &registration, 1));
}

/* Data and the end of the stream come before the task work for either has run. */
static void multishot_receive_sees_the_end(void)
{
	static const char data[RECEIVED * BUFFER_SIZE];
	struct io_uring_cqe cqe = {};
	struct io_uring_sqe *sqe;
	struct ring ring;
	int sockets[2];
	unsigned buffers = 0;
	bool ended = false;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 lose the end of the stream");
	NEED(open_ring(&ring, 8, 256, LOOP_RING));
	add_buffers(&ring);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	sqe = next_sqe(&ring);
	sqe->opcode = IORING_OP_RECV;
	sqe->fd = sockets[0];
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->flags = IOSQE_BUFFER_SELECT;
	CHECK_EQ(sys_enter(ring.fd, 1, 0, 0), 1);
	CHECK_EQ(write(sockets[1], data, sizeof(data)), sizeof(data));
	shutdown(sockets[1], SHUT_WR);
	CHECK(EVENTUALLY(({
		sys_enter(ring.fd, 0, 0, IORING_ENTER_GETEVENTS);
		while (take_cqe(&ring, &cqe)) {
			buffers += cqe.res > 0;
			ended = !(cqe.flags & IORING_CQE_F_MORE);
		}
		ended;
	})));
	CHECK_EQ(buffers, RECEIVED);
	CHECK_EQ(cqe.res, 0);
	close_ring(&ring);
}

const struct test stream_tests[] = {
	TEST(multishot_receive_sees_the_end),
	END_OF_TESTS,
};
