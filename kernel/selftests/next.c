// SPDX-License-Identifier: GPL-2.0
/*
 * What kernel/next adds to the interface, by system calls alone: waiting with a timeout, registered buffers, busy polling. In other
 * kernels all of it is skipped.
 *
 * Usage: next OBJECTS [TEST…]      runs all tests, or those named
 *        next OBJECTS --list
 * OBJECTS is the folder with next.bpf.o and next_refused.bpf.o. Has to be run as root.
 */
#define _GNU_SOURCE
#include "check.h"
#include "next_plan.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/ublk_cmd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Numbers that the installed headers may lack. */
enum {
	F_TIMEOUT = 1,
	F_TIMEOUT_ABS = 2,
	F_TIMED_OUT = 4,
	REGISTER_NAPI = 27,
	REGISTER_CLOCK = 29,
	NAPI_DYNAMIC = 0,
};
#define UBLK_REGISTER_IO_BUF _IOWR('u', 0x23, struct ublksrv_io_cmd)
#define UBLK_UNREGISTER_IO_BUF _IOWR('u', 0x24, struct ublksrv_io_cmd)
#define UBLK_NO_AUTO_PART_SCAN (1ULL << 18)
#define MS 1000000ULL

/* As struct io_uring_napi. */
struct napi_registration {
	__u32 busy_poll_to;
	__u8 prefer_busy_poll;
	__u8 opcode;
	__u8 pad[2];
	__u32 op_param;
	__u32 resv;
};

struct setup {
	struct ring ring;
	struct loop loop;
	struct next_plan *plan;
};

static void make_setup(struct setup *setup, unsigned flags)
{
	struct region_desc desc = {.flags = MEM_REGION_TYPE_USER};

	if (!kernel_is_next())
		SKIP("this kernel has none of it");
	NEED(open_ring(&setup->ring, 8, 16, LOOP_RING | flags));
	desc.size = (sizeof(*setup->plan) + 4095) / 4096 * 4096;
	setup->plan = pages(desc.size / 4096);
	desc.user_addr = (__u64)(uintptr_t)setup->plan;
	NEED(register_region(setup->ring.fd, &desc));
	NEED(load_loop_from(&setup->loop, &setup->ring, "next.bpf.o"));
	NEED(attach_loop(&setup->loop));
}

static int enter(struct setup *setup)
{
	return sys_enter(setup->ring.fd, 0, 0, IORING_ENTER_GETEVENTS);
}

static void end_setup(struct setup *setup)
{
	free_loop(&setup->loop);
	close_ring(&setup->ring);
}

static void again(struct setup *setup)
{
	memset(setup->plan, 0, sizeof(*setup->plan));
}

/* A request that completes after that time. */
static void request_after(struct setup *setup, __u64 nanoseconds)
{
	static struct __kernel_timespec time;
	struct io_uring_sqe *sqe = next_sqe(&setup->ring);

	time = (struct __kernel_timespec){.tv_nsec = (long long)nanoseconds};
	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->fd = -1;
	sqe->addr = (__u64)(uintptr_t)&time;
	sqe->len = 1;
	setup->plan->submit = 1;
}

static __u64 now_by(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (__u64)time.tv_sec * 1000000000 + (__u64)time.tv_nsec;
}

static __u64 now(void)
{
	return now_by(CLOCK_MONOTONIC);
}

/* --- Waiting with a timeout ------------------------------------------------------------------------------------------------------ */

static void relative_timeout(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	plan->turns_wanted = 2;
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 20 * MS};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->turns, 2);
	CHECK_EQ(plan->flags[0], 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK(plan->began[1] - plan->began[0] >= 20 * MS);

	/* None at all. */
	again(&setup);
	plan->turns_wanted = 2;
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	end_setup(&setup);
}

static void absolute_timeout(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	plan->turns_wanted = 2;
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT | F_TIMEOUT_ABS, .count = 1, .timeout_ns = 20 * MS, .from_now = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK(plan->began[1] >= plan->until[0]);

	/* As the application sees the clock; and in the past: the beginning of time, and a moment ago. */
	for (int i = 0; i < 3; i++) {
		again(&setup);
		plan->turns_wanted = 2;
		plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT | F_TIMEOUT_ABS, .count = 1};
		plan->wait[0].timeout_ns = i == 0 ? now() + 5 * MS : i == 1 ? 0 : now();
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK(plan->began[1] >= plan->wait[0].timeout_ns);
	}
	end_setup(&setup);
}

/* A ring may have another clock. Here the two differ only if the machine has been suspended; what is seen is that it is taken. */
static void timeouts_by_another_clock(void)
{
	struct {
		__u32 clockid;
		__u32 resv[3];
	} clock = {.clockid = CLOCK_BOOTTIME};
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	NEED(sys_register(setup.ring.fd, REGISTER_CLOCK, &clock, 0));
	for (int i = 0; i < 2; i++) {
		__u64 until = now_by(CLOCK_BOOTTIME) + 20 * MS;

		again(&setup);
		plan->turns_wanted = 2;
		plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 20 * MS};
		if (i == 1) {
			plan->wait[0].flags |= F_TIMEOUT_ABS;
			plan->wait[0].timeout_ns = until;
		}
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK(now_by(CLOCK_BOOTTIME) >= until);
	}
	end_setup(&setup);
}

/* A completion comes first, and the timeout is so far away that it does not fit any clock. */
static void completion_before_timeout(void)
{
	static const struct {
		__u32 flags;
		__u64 timeout;
	} far[] = {
		{F_TIMEOUT, 1000 * 1000 * MS},        {F_TIMEOUT, ~0ULL},
		{F_TIMEOUT, ~0ULL >> 1},              {F_TIMEOUT | F_TIMEOUT_ABS, ~0ULL},
		{F_TIMEOUT | F_TIMEOUT_ABS, ~0ULL >> 1}, {F_TIMEOUT, 1ULL << 63},
	};
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		again(&setup);
		plan->stop_after = 1;
		request_after(&setup, 10 * MS);
		for (int turn = 0; turn < NEXT_TURNS; turn++)
			plan->wait[turn] = (struct next_wait){.flags = far[i].flags, .count = 1, .timeout_ns = far[i].timeout};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->reaped, 1);
		CHECK_EQ(plan->last_res, -ETIME);
		CHECK_EQ(plan->flags[1] | plan->flags[2], 0);
	}
	end_setup(&setup);
}

/* The second wait is without one, though nobody took the first one's away. */
static void timeout_is_for_one_wait(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	plan->stop_after = 1;
	request_after(&setup, 100 * MS);
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 10 * MS};
	for (int turn = 1; turn < NEXT_TURNS; turn++)
		plan->wait[turn] = (struct next_wait){.leave_flags = 1, .count = 1};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], F_TIMED_OUT);
	CHECK_EQ(plan->flags[2], 0);
	CHECK_EQ(plan->reaped, 1);

	/* Nor is one for a turn that does not wait. */
	again(&setup);
	plan->turns_wanted = 3;
	plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 0, .timeout_ns = 1000 * 1000 * MS};
	plan->wait[1] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 5 * MS};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], 0);
	CHECK_EQ(plan->flags[2], F_TIMED_OUT);
	end_setup(&setup);
}

static void unknown_flags(void)
{
	static const __u32 wrong[] = {8, 1U << 31, F_TIMEOUT_ABS, F_TIMEOUT | 8};
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		again(&setup);
		plan->turns_wanted = 3;
		plan->wait[0] = (struct next_wait){.flags = wrong[i]};
		CHECK_EQ(enter(&setup), -EINVAL);
		CHECK_EQ(plan->turns, 1);
	}
	again(&setup);
	plan->turns_wanted = 2;
	plan->wait[0] = (struct next_wait){.flags = F_TIMED_OUT};
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(plan->flags[1], 0);
	end_setup(&setup);
}

static void nothing(int signal_number)
{
	(void)signal_number;
}

static void *signal_later(void *thread)
{
	sleep_ms(50);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

static void signal_before_timeout(void)
{
	const struct sigaction action = {.sa_handler = nothing};
	pthread_t self = pthread_self(), other;
	struct setup setup;

	make_setup(&setup, 0);
	sigaction(SIGUSR1, &action, NULL);
	setup.plan->turns_wanted = 2;
	setup.plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 1000 * 1000 * MS};
	pthread_create(&other, NULL, signal_later, &self);
	CHECK_EQ(enter(&setup), -EINTR);
	CHECK_EQ(setup.plan->turns, 1);
	pthread_join(other, NULL);
	end_setup(&setup);
}

static void *detach_soon(void *loop)
{
	sleep_ms(50);
	detach_loop(loop);
	return NULL;
}

static void detach_before_timeout(void)
{
	struct setup setup;
	pthread_t other;

	make_setup(&setup, 0);
	setup.plan->turns_wanted = 2;
	setup.plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 500 * MS};
	pthread_create(&other, NULL, detach_soon, &setup.loop);
	CHECK_EQ(enter(&setup), -EFAULT);
	CHECK_EQ(setup.plan->turns, 1);
	pthread_join(other, NULL);
	end_setup(&setup);
}

/* --- Registered buffers ---------------------------------------------------------------------------------------------------------- */

static void register_buffers(struct setup *setup, const struct iovec *buffers, unsigned count)
{
	NEED(sys_register(setup->ring.fd, IORING_REGISTER_BUFFERS, buffers, count));
}

/* Something that is different everywhere. */
static __u8 pattern(size_t at)
{
	return (__u8)(at * 7 + at / 256 * 13 + at / 65536 * 31);
}

static void fill(__u8 *memory, size_t size)
{
	for (size_t i = 0; i < size; i++)
		memory[i] = pattern(i);
}

static int copy_once(struct setup *setup, struct next_copy copy)
{
	setup->plan->copies = 1;
	setup->plan->copy[0] = copy;
	setup->plan->turns = 0;
	setup->plan->turns_wanted = 1;
	CHECK_EQ(enter(setup), 0);
	return setup->plan->copy[0].result;
}

/* Reads and writes all over a buffer, and looks that it is this part and nothing around it. */
static void check_access(struct setup *setup, __u32 index, __u8 *memory, size_t size)
{
	static const __u32 lengths[] = {0, 1, 2, 16, 100, 4095, 4096, 4097, NEXT_DATA};

	fill(memory, size);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const __u32 length = lengths[i];
		const __u64 offsets[] = {0, 1, 4000, 4095, 4096, 4097, size / 2 - 8, size - length};

		for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
			const __u64 offset = offsets[k];
			size_t wrong = 0;

			if (length > size || offset > size - length)
				continue;
			memset(setup->plan->data, 0xee, NEXT_DATA);
			CHECK_EQ(copy_once(setup, (struct next_copy){.index = index, .offset = offset, .length = length}), 0);
			for (__u32 at = 0; at < NEXT_DATA; at++)
				wrong += setup->plan->data[at] != (at < length ? pattern(offset + at) : 0xee);
			CHECK_EQ(wrong, 0);

			memset(setup->plan->data, 0x11, NEXT_DATA);
			CHECK_EQ(copy_once(setup, (struct next_copy){.index = index, .offset = offset, .length = length, .write = 1}), 0);
			for (size_t at = offset < 8192 ? 0 : offset - 8192; at < size && at < offset + length + 8192; at++)
				wrong += memory[at] != (at - offset < length ? 0x11 : pattern(at));
			CHECK_EQ(wrong, 0);
			for (__u32 at = 0; at < length; at++)
				memory[offset + at] = pattern(offset + at);
		}
	}
	for (size_t at = 0; at < size; at++)
		CHECK(memory[at] == pattern(at) || (at = size - 1, false));
}

static void read_and_write_buffers(void)
{
	struct setup setup;
	__u8 *memory = pages(16), *odd = pages(4) + 123;
	const struct iovec buffers[] = {{.iov_base = memory, .iov_len = 16 * 4096}, {.iov_base = odd, .iov_len = 9000}};

	make_setup(&setup, 0);
	register_buffers(&setup, buffers, 2);
	check_access(&setup, 0, memory, 16 * 4096);
	check_access(&setup, 1, odd, 9000);
	end_setup(&setup);
}

/* Pages that lie together are one piece to the kernel; the buffer begins and ends within such pieces. */
static void buffers_of_large_pages(void)
{
	const size_t huge = 2 << 20;
	struct setup setup;
	__u8 *memory = pages(4 * huge / 4096);
	struct iovec buffer;

	memory += huge - (uintptr_t)memory % huge;
	madvise(memory, 2 * huge, MADV_HUGEPAGE);
	memset(memory, 1, 2 * huge);
	buffer = (struct iovec){.iov_base = memory + 5000, .iov_len = huge + 3 * 4096 + 77};
	make_setup(&setup, 0);
	register_buffers(&setup, &buffer, 1);
	check_access(&setup, 0, buffer.iov_base, buffer.iov_len);
	end_setup(&setup);
}

static void buffer_refusals(void)
{
	struct setup setup;
	__u8 *memory = pages(2);
	struct iovec buffers[] = {{.iov_base = memory, .iov_len = 5000}, {}};
	static const struct {
		struct next_copy copy;
		int result;
	} cases[] = {
		{{.index = 0, .offset = 4992, .length = 8}, 0},
		{{.index = 0, .offset = 5000, .length = 0}, 0},
		{{.index = 0, .offset = 4992, .length = 9}, -ERANGE},
		{{.index = 0, .offset = 5001, .length = 0}, -ERANGE},
		{{.index = 0, .offset = 0, .length = 5001}, -ERANGE},
		{{.index = 0, .offset = ~0ULL, .length = 8}, -ERANGE},
		{{.index = 0, .offset = ~0ULL - 7, .length = 8}, -ERANGE},
		{{.index = 0, .offset = 1ULL << 63, .length = 8}, -ERANGE},
		{{.index = 1, .offset = 0, .length = 8}, -ENOENT},
		{{.index = 2, .offset = 0, .length = 8}, -ENOENT},
		{{.index = ~0U, .offset = 0, .length = 8}, -ENOENT},
	};

	make_setup(&setup, 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.length = 8}), -ENOENT);
	register_buffers(&setup, buffers, 2);
	fill(memory, 8192);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (__u32 write = 0; write < 2; write++) {
			struct next_copy copy = cases[i].copy;
			size_t wrong = 0;

			copy.write = write;
			memset(setup.plan->data, 0xee, NEXT_DATA);
			CHECK_EQ(copy_once(&setup, copy), cases[i].result);
			if (cases[i].result == 0) {
				fill(memory, 8192);
				continue;
			}
			/* Nothing, not even a part. */
			for (size_t at = 0; at < NEXT_DATA; at++)
				wrong += setup.plan->data[at] != 0xee || memory[at] != pattern(at);
			CHECK_EQ(wrong, 0);
		}
	}
	NEED(sys_register(setup.ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.length = 8}), -ENOENT);
	end_setup(&setup);
}

/* The process has let go of the memory: only the ring has it. */
static void buffer_that_user_space_does_not_see(void)
{
	struct setup setup;
	__u8 *memory = pages(4);
	const struct iovec buffer = {.iov_base = memory, .iov_len = 4 * 4096};
	size_t wrong = 0;

	make_setup(&setup, 0);
	register_buffers(&setup, &buffer, 1);
	fill(memory, 4 * 4096);
	NEED(munmap(memory, 4 * 4096));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4000, .length = 5000}), 0);
	for (size_t at = 0; at < 5000; at++)
		wrong += setup.plan->data[at] != pattern(4000 + at);
	CHECK_EQ(wrong, 0);
	memset(setup.plan->data, 0x11, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4090, .length = 100, .write = 1}), 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.offset = 4000, .length = 5000}), 0);
	for (size_t at = 0; at < 5000; at++)
		wrong += setup.plan->data[at] != (at - 90 < 100 ? 0x11 : pattern(4000 + at));
	CHECK_EQ(wrong, 0);
	end_setup(&setup);
}

/*
 * A block device whose driver is this process: the pages of the requests that it is given are the kernel's, and registered in a slot.
 * Nobody but the ring sees them.
 */
struct block_device {
	struct ring control;
	int id, commands;
	const struct ublksrv_io_desc *request;
};

static int control(struct block_device *device, __u32 operation, void *data, __u16 length, __u64 word)
{
	/* SQEs of twice the size. */
	struct io_uring_sqe *sqe = &device->control.sqes[2 * (*device->control.sq_tail & (device->control.params.sq_entries - 1))];
	struct io_uring_cqe cqe;
	const struct ublksrv_ctrl_cmd command = {
		.dev_id = (__u32)device->id,
		.queue_id = (__u16)-1,
		.len = length,
		.addr = (__u64)(uintptr_t)data,
		.data = {word},
	};

	memset(sqe, 0, 2 * sizeof(*sqe));
	__atomic_store_n(device->control.sq_tail, *device->control.sq_tail + 1, __ATOMIC_RELEASE);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = device->commands;
	sqe->cmd_op = operation;
	memcpy(sqe->cmd, &command, sizeof(command));
	NEED(sys_enter(device->control.fd, 1, 1, IORING_ENTER_GETEVENTS));
	CHECK(take_cqe(&device->control, &cqe));
	return cqe.res;
}

/* A command about the device's only request; its user_data is its operation. */
static void io_command(struct setup *setup, int fd, __u32 operation, int result, __u64 slot)
{
	struct io_uring_sqe *sqe = next_sqe(&setup->ring);
	const struct ublksrv_io_cmd command = {.result = result, .addr = slot};

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = operation;
	sqe->user_data = operation;
	memcpy(sqe->cmd, &command, sizeof(command));
	NEED(sys_enter(setup->ring.fd, 1, 0, 0));
}

static int io_result(struct setup *setup)
{
	struct io_uring_cqe cqe;

	NEED(sys_enter(setup->ring.fd, 0, 1, IORING_ENTER_GETEVENTS));
	CHECK(take_cqe(&setup->ring, &cqe));
	return cqe.res;
}

static void *write_and_read(void *path)
{
	const int fd = open(path, O_RDWR | O_DIRECT);
	__u8 *memory = pages(1);
	size_t wrong = 0;

	NEED(fd);
	fill(memory, 4096);
	CHECK_EQ(pwrite(fd, memory, 4096, 8192), 4096);
	memset(memory, 0, 4096);
	CHECK_EQ(pread(fd, memory, 4096, 0), 4096);
	for (size_t at = 0; at < 4096; at++)
		wrong += memory[at] != (at - 1000 < 2000 ? 0x11 : 0);
	CHECK_EQ(wrong, 0);
	close(fd);
	return NULL;
}

static void open_block_device(struct block_device *device, struct setup *setup, char *path, size_t path_size)
{
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = 1,
		.queue_depth = 1,
		.max_io_buf_bytes = 65536,
		.dev_id = (__u32)-1,
		.ublksrv_pid = getpid(),
		.flags = UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_CMD_IOCTL_ENCODE | UBLK_NO_AUTO_PART_SCAN,
	};
	struct ublk_params params = {
		.len = sizeof(params),
		.types = UBLK_PARAM_TYPE_BASIC,
		.basic = {.logical_bs_shift = 12, .physical_bs_shift = 12, .io_opt_shift = 12, .io_min_shift = 12,
			  .max_sectors = 8, .dev_sectors = 1024},
	};
	int fd;

	NEED(open_ring(&device->control, 4, 8, IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQE128));
	device->commands = open("/dev/ublk-control", O_RDWR);
	NEED(device->commands);
	device->id = -1;
	NEED(control(device, UBLK_U_CMD_ADD_DEV, &info, sizeof(info), 0));
	device->id = (int)info.dev_id;
	NEED(control(device, UBLK_U_CMD_SET_PARAMS, &params, sizeof(params), 0));
	snprintf(path, path_size, "/dev/ublkc%d", device->id);
	fd = open(path, O_RDWR);
	NEED(fd);
	device->request = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, UBLKSRV_CMD_BUF_OFFSET);
	NEED(device->request == MAP_FAILED ? -1 : 0);
	io_command(setup, fd, UBLK_U_IO_FETCH_REQ, -1, 0);
	NEED(control(device, UBLK_U_CMD_START_DEV, NULL, 0, (__u64)getpid()));
	snprintf(path, path_size, "/dev/ublkb%d", device->id);
	close(device->commands);
	device->commands = fd;
}

static void buffer_of_a_block_request(void)
{
	const struct iovec slots[2] = {};
	struct block_device device;
	struct setup setup;
	pthread_t writer;
	char path[64];
	size_t wrong = 0;
	int fd;

	make_setup(&setup, 0);
	detach_loop(&setup.loop);
	register_buffers(&setup, slots, 2);
	open_block_device(&device, &setup, path, sizeof(path));
	fd = device.commands;
	pthread_create(&writer, NULL, write_and_read, path);

	/* What is written can be read, and only that. */
	CHECK_EQ(io_result(&setup), UBLK_IO_RES_OK);
	CHECK_EQ(device.request->op_flags & 0xff, UBLK_IO_OP_WRITE);
	io_command(&setup, fd, UBLK_REGISTER_IO_BUF, 0, 1);
	CHECK_EQ(io_result(&setup), 0);
	NEED(attach_loop(&setup.loop));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .offset = 100, .length = 3900}), 0);
	for (size_t at = 0; at < 3900; at++)
		wrong += setup.plan->data[at] != pattern(100 + at);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .length = 8, .write = 1}), -EACCES);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .offset = 4090, .length = 8}), -ERANGE);
	detach_loop(&setup.loop);
	io_command(&setup, fd, UBLK_UNREGISTER_IO_BUF, 0, 1);
	CHECK_EQ(io_result(&setup), 0);

	/* What is to be read can be written, and only that. */
	io_command(&setup, fd, UBLK_U_IO_COMMIT_AND_FETCH_REQ, 4096, 0);
	CHECK_EQ(io_result(&setup), UBLK_IO_RES_OK);
	CHECK_EQ(device.request->op_flags & 0xff, UBLK_IO_OP_READ);
	io_command(&setup, fd, UBLK_REGISTER_IO_BUF, 0, 0);
	CHECK_EQ(io_result(&setup), 0);
	NEED(attach_loop(&setup.loop));
	memset(setup.plan->data, 0, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .length = 4096, .write = 1}), 0);
	memset(setup.plan->data, 0x11, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .offset = 1000, .length = 2000, .write = 1}), 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .length = 8}), -EACCES);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .length = 8}), -ENOENT);
	detach_loop(&setup.loop);
	io_command(&setup, fd, UBLK_UNREGISTER_IO_BUF, 0, 0);
	CHECK_EQ(io_result(&setup), 0);
	io_command(&setup, fd, UBLK_U_IO_COMMIT_AND_FETCH_REQ, 4096, 0);
	pthread_join(writer, NULL);
	/* The device goes with this process. */
}

static void next_verifier_refuses(void)
{
	static const char *const programs[] = {
		"read_too_much", "write_too_much", "read_past_region", "size_not_bounded", "not_memory", "into_the_ring", "not_a_ring",
	};
	struct ring ring;

	if (!kernel_is_next())
		SKIP("this kernel has none of it");
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	CHECK_EQ(load_refused("next_refused.bpf.o", "write_all_params", ring.fd), 0);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		const int status = load_refused("next_refused.bpf.o", programs[i], ring.fd);

		if (status != -EACCES && status != -EINVAL) {
			fprintf(stderr, "%s: ", programs[i]);
			report(__FILE__, __LINE__, "load", status, -EACCES);
		}
	}
}

/* --- Busy polling ---------------------------------------------------------------------------------------------------------------- */

/* Without a device to poll it is an ordinary wait. */
static void nothing_to_poll(void)
{
	struct setup setup;
	struct next_plan *plan;

	make_setup(&setup, 0);
	plan = setup.plan;
	for (int i = 0; i < 2; i++) {
		struct napi_registration napi = {.busy_poll_to = 10000, .op_param = NAPI_DYNAMIC};

		again(&setup);
		plan->turns_wanted = 2;
		plan->wait[0] = (struct next_wait){.flags = F_TIMEOUT, .count = 1, .timeout_ns = 10 * MS, .busy_poll_us = 5000};
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(plan->flags[1], F_TIMED_OUT);
		CHECK_EQ(plan->busy_poll_us[1], 0);
		NEED(sys_register(setup.ring.fd, REGISTER_NAPI, &napi, 1));
	}
	end_setup(&setup);
}

/* A number of this network namespace's statistics. */
static long statistic(const char *name)
{
	static char names[8192], values[8192];
	FILE *file = fopen("/proc/thread-self/net/netstat", "r");
	long result = -1;

	if (!file)
		return -errno;
	while (fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		char *name_rest, *value_rest, *value = strtok_r(values, " \n", &value_rest);

		for (char *word = strtok_r(names, " \n", &name_rest); word && value; word = strtok_r(NULL, " \n", &name_rest)) {
			if (strcmp(word, name) == 0)
				result = atol(value);
			value = strtok_r(NULL, " \n", &value_rest);
		}
	}
	fclose(file);
	return result;
}

static void run_command(const char *command)
{
	const int status = system(command);

	if (status) {
		fprintf(stderr, "%s: status %d\n", command, status);
		exit(FAILED);
	}
}

static void set_offload(const char *device, __u32 what, __u32 on)
{
	struct ethtool_value value = {.cmd = what, .data = on};
	struct ifreq request = {};
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(request.ifr_name, device);
	request.ifr_data = (char *)&value;
	NEED(ioctl(fd, SIOCETHTOOL, &request));
	close(fd);
}

#define PEER_NETWORK "ip addr add 10.9.0.2/24 dev v1 && ip link set v1 up"
#define OWN_NETWORK "ip addr add 10.9.0.1/24 dev v0 && ip link set v0 up"

/* The other end: sends packets until it is killed. */
static void send_packets(int ready)
{
	const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(0x0a090001)};
	int fd;
	char byte;

	NEED(read(ready, &byte, 1) == 1 ? 0 : -1);
	/* A veth device hands packets to the other one's NAPI if that has GRO and if it does not segment itself. */
	set_offload("v1", ETHTOOL_STSO, 0);
	run_command(PEER_NETWORK);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (;;) {
		sendto(fd, "packet", 6, 0, (const struct sockaddr *)&to, sizeof(to));
		usleep(500);
	}
}

static int receiver(void)
{
	const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr.s_addr = htonl(INADDR_ANY)};
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
	return fd;
}

/* Packets that a busy polling loop received by that, of so many. */
static long polled_packets(struct setup *setup, int fd, unsigned busy_poll_us, unsigned count)
{
	static char packet[64];
	const long before = statistic("BusyPollRxPackets");
	struct io_uring_sqe *sqe = &setup->ring.sqes[0];

	again(setup);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_RECV;
	sqe->fd = fd;
	sqe->addr = (__u64)(uintptr_t)packet;
	sqe->len = sizeof(packet);
	setup->plan->submit = 1;
	setup->plan->stop_after = count;
	for (int turn = 0; turn < NEXT_TURNS; turn++)
		setup->plan->wait[turn] = (struct next_wait){.count = 1, .busy_poll_us = busy_poll_us};
	CHECK_EQ(enter(setup), 0);
	CHECK_EQ(setup->plan->reaped >= count, true);
	CHECK_EQ(setup->plan->last_res, 6);
	return statistic("BusyPollRxPackets") - before;
}

static void polls_devices(void)
{
	struct napi_registration napi = {.busy_poll_to = 10000, .op_param = NAPI_DYNAMIC};
	struct setup setup;
	char command[128];
	int from_child[2], to_child[2], fd;
	pid_t child;

	if (!kernel_is_next())
		SKIP("this kernel has none of it");
	NEED(pipe(from_child));
	NEED(pipe(to_child));
	child = fork();
	if (child == 0) {
		NEED(unshare(CLONE_NEWNET));
		NEED(write(from_child[1], "x", 1) == 1 ? 0 : -1);
		send_packets(to_child[0]);
	}
	NEED(unshare(CLONE_NEWNET));
	NEED(read(from_child[0], command, 1) == 1 ? 0 : -1);
	snprintf(command, sizeof(command), "ip link add v0 type veth peer name v1 netns %d", child);
	run_command(command);
	set_offload("v0", ETHTOOL_SGRO, 1);
	run_command(OWN_NETWORK);
	NEED(write(to_child[1], "y", 1) == 1 ? 0 : -1);

	make_setup(&setup, IORING_SETUP_SQ_REWIND);
	fd = receiver();
	NEED(sys_register(setup.ring.fd, REGISTER_NAPI, &napi, 1));
	CHECK_EQ(polled_packets(&setup, fd, 0, 50), 0);
	CHECK(EVENTUALLY(polled_packets(&setup, fd, 5000, 50) > 0));
	CHECK_EQ(setup.plan->busy_poll_us[1] | setup.plan->busy_poll_us[NEXT_TURNS - 1], 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	end_setup(&setup);
}

/* --- Running them ---------------------------------------------------------------------------------------------------------------- */

static const struct test tests[] = {
	TEST(relative_timeout),
	TEST(absolute_timeout),
	TEST(timeouts_by_another_clock),
	TEST(completion_before_timeout),
	TEST(timeout_is_for_one_wait),
	TEST(unknown_flags),
	TEST(signal_before_timeout),
	TEST(detach_before_timeout),
	TEST(read_and_write_buffers),
	TEST(buffers_of_large_pages),
	TEST(buffer_refusals),
	TEST(buffer_that_user_space_does_not_see),
	TEST(buffer_of_a_block_request),
	TEST(next_verifier_refuses),
	TEST(nothing_to_poll),
	TEST(polls_devices),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
