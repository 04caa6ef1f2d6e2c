// SPDX-License-Identifier: GPL-2.0
/*
 * Block devices whose driver is a process (ublk). One test is the driver itself, and registers the pages of the device's requests as buffers. The kernel
 * owns these pages, and user space never sees them. Another test kills the driver while a loop reads from the device.
 */
#define _GNU_SOURCE
#include "next.h"
#include "next_setup.h"
#include "setup.h"

#include <linux/ublk_cmd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Numbers that the installed headers may lack. */
#define UBLK_REGISTER_IO_BUF _IOWR('u', 0x23, struct ublksrv_io_cmd)
#define UBLK_UNREGISTER_IO_BUF _IOWR('u', 0x24, struct ublksrv_io_cmd)
#define UBLK_NO_AUTO_PART_SCAN (1ULL << 18)

struct block_device {
	struct ring control;
	int id;
	int control_file; /* /dev/ublk-control */
	int queue;	  /* the device's own file, for its request */
	const struct ublksrv_io_desc *request;
};

/* Carries out a command about the device. Returns its result. */
static int control(struct block_device *device, __u32 operation, void *data, __u16 length, __u64 word)
{
	/* The ring has IORING_SETUP_SQE128: an SQE takes the space of two. */
	struct io_uring_sqe *sqe =
		&device->control.sqes[2 * (*device->control.sq_tail & (device->control.params.sq_entries - 1))];
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
	sqe->fd = device->control_file;
	sqe->cmd_op = operation;
	memcpy(sqe->cmd, &command, sizeof(command));
	NEED(sys_enter(device->control.fd, 1, 1, IORING_ENTER_GETEVENTS));
	CHECK(take_cqe(&device->control, &cqe));
	return cqe.res;
}

/* Submits a command about the device's only request. `slot` is that of the registered buffer. */
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

/* Waits for the end of such a command, and returns its result. */
static int io_result(struct setup *setup)
{
	struct io_uring_cqe cqe;

	NEED(sys_enter(setup->ring.fd, 0, 1, IORING_ENTER_GETEVENTS));
	CHECK(take_cqe(&setup->ring, &cqe));
	return cqe.res;
}

/* Writes to the device and reads from it, and checks what it reads. */
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

static void open_control(struct block_device *device)
{
	NEED(open_ring(&device->control, 4, 8, IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQE128));
	device->control_file = open("/dev/ublk-control", O_RDWR);
	NEED(device->control_file);
}

static void close_control(struct block_device *device)
{
	close(device->control_file);
	close_ring(&device->control);
}

/* Makes a block device with one queue and one request. Puts its path into `path`. */
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
		.basic = {.logical_bs_shift = 12,
			  .physical_bs_shift = 12,
			  .io_opt_shift = 12,
			  .io_min_shift = 12,
			  .max_sectors = 8,
			  .dev_sectors = 1024},
	};
	int fd;

	open_control(device);
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
	device->queue = fd;
}

/* Stops the device, which cancels the command that waits for its next request, and removes it. */
static void remove_block_device(struct block_device *device, struct setup *setup)
{
	CHECK_EQ(control(device, UBLK_U_CMD_STOP_DEV, NULL, 0, 0), 0);
	CHECK_EQ(io_result(setup), UBLK_IO_RES_ABORT);
	munmap((void *)device->request, 4096);
	close(device->queue);
	CHECK_EQ(control(device, UBLK_U_CMD_DEL_DEV_ASYNC, NULL, 0, 0), 0);
	close_control(device);
}

static void buffer_of_a_block_request(void)
{
	const struct iovec slots[2] = {};
	struct block_device device;
	struct setup setup;
	pthread_t writer;
	char path[64];
	int fd;

	make_next_setup(&setup, NEXT_BUFFERS, 0);
	detach_loop(&setup.loop);
	register_buffers(&setup, slots, 2);
	open_block_device(&device, &setup, path, sizeof(path));
	fd = device.queue;
	pthread_create(&writer, NULL, write_and_read, path);

	/* A step may read the buffer of a write request, but not write to it. */
	CHECK_EQ(io_result(&setup), UBLK_IO_RES_OK);
	CHECK_EQ(device.request->op_flags & 0xff, UBLK_IO_OP_WRITE);
	io_command(&setup, fd, UBLK_REGISTER_IO_BUF, 0, 1);
	CHECK_EQ(io_result(&setup), 0);
	NEED(attach_loop(&setup.loop));
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .offset = 100, .length = 3900}), 0);
	CHECK_EQ(count_wrong(&setup, 100, 3900), 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .length = 8, .write = 1}), -EACCES);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .offset = 4090, .length = 8}), -ERANGE);
	detach_loop(&setup.loop);
	io_command(&setup, fd, UBLK_UNREGISTER_IO_BUF, 0, 1);
	CHECK_EQ(io_result(&setup), 0);

	/* A step may write to the buffer of a read request, but not read it. */
	io_command(&setup, fd, UBLK_U_IO_COMMIT_AND_FETCH_REQ, 4096, 0);
	CHECK_EQ(io_result(&setup), UBLK_IO_RES_OK);
	CHECK_EQ(device.request->op_flags & 0xff, UBLK_IO_OP_READ);
	io_command(&setup, fd, UBLK_REGISTER_IO_BUF, 0, 0);
	CHECK_EQ(io_result(&setup), 0);
	NEED(attach_loop(&setup.loop));
	memset(setup.ring.next_plan->data, 0, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .length = 4096, .write = 1}), 0);
	memset(setup.ring.next_plan->data, 0x11, NEXT_DATA);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .offset = 1000, .length = 2000, .write = 1}), 0);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 0, .length = 8}), -EACCES);
	CHECK_EQ(copy_once(&setup, (struct next_copy){.index = 1, .length = 8}), -ENOENT);
	detach_loop(&setup.loop);
	io_command(&setup, fd, UBLK_UNREGISTER_IO_BUF, 0, 0);
	CHECK_EQ(io_result(&setup), 0);
	io_command(&setup, fd, UBLK_U_IO_COMMIT_AND_FETCH_REQ, 4096, 0);
	pthread_join(writer, NULL);
	remove_block_device(&device, &setup);
	end_setup(&setup);
}

/* What the driver tells the process that started it. */
struct driver {
	char path[64];
	int id;
	bool ready, asked;
};

/* The driver's process: makes a device, takes a request and does not carry it out. */
static void drive(volatile struct driver *driver)
{
	struct block_device device;
	struct setup setup;

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	open_block_device(&device, &setup, (char *)driver->path, sizeof(driver->path));
	driver->id = device.id;
	driver->ready = true;
	CHECK_EQ(io_result(&setup), UBLK_IO_RES_OK);
	driver->asked = true;
	for (;;)
		pause();
}

struct killer {
	pid_t process;
	volatile struct driver *driver;
};

/* Kills the driver when it has a request. */
static void *kill_driver(void *arg)
{
	const struct killer *killer = arg;

	CHECK(EVENTUALLY(killer->driver->asked));
	NEED(kill(killer->process, SIGKILL) ? -errno : 0);
	return NULL;
}

/* Reads that a dead driver has taken, and those that it has not, fail. The loop goes on with what else is in flight. */
static void driver_dies_under_a_loop(void)
{
	enum { READS = 4 };
	volatile struct driver *driver = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct killer killer = {.driver = driver};
	struct block_device device;
	struct plan *plan;
	struct setup setup;
	pthread_t thread;
	char byte = 0;
	int fd, ends[2];

	NEED(driver == MAP_FAILED ? -errno : 0);
	killer.process = fork();
	if (killer.process == 0)
		drive(driver);
	CHECK(EVENTUALLY(driver->ready));
	fd = open((const char *)driver->path, O_RDWR | O_DIRECT);
	NEED(fd);
	NEED(pipe(ends) ? -errno : 0);
	make_setup(&setup);
	plan = setup.ring.plan;
	for (__u64 i = 0; i < READS; i++) {
		struct io_uring_sqe *sqe = next_sqe(&setup.ring);

		sqe->opcode = IORING_OP_READ;
		sqe->fd = fd;
		sqe->addr = (__u64)(uintptr_t)pages(1);
		sqe->len = 4096;
		sqe->off = i * 4096;
		sqe->user_data = 1;
	}
	fill_read(&setup.ring, ends[0], &byte, 100);
	NEED(-pthread_create(&thread, NULL, kill_driver, &killer));
	CHECK_EQ(run_plan(&setup,
			  (struct plan){.submit = READS + 1, .submit_turns = 1, .reap = 8, .wait = 1, .stop_after = READS}),
		 0);
	pthread_join(thread, NULL);
	CHECK_EQ(plan->submitted, READS + 1);
	CHECK_EQ(plan->reaped, READS);
	CHECK_EQ(plan->user_data_sum, READS);
	CHECK_EQ(plan->last_res, -EIO);

	CHECK_EQ(write(ends[1], "x", 1), 1);
	CHECK_EQ(run_plan(&setup, (struct plan){.reap = 8, .wait = 1, .stop_after = 1}), 0);
	CHECK_EQ(plan->last_user_data, 100);
	CHECK_EQ(plan->last_res, 1);
	CHECK_EQ(byte, 'x');
	end_setup(&setup);

	close(fd);
	waitpid(killer.process, NULL, 0);
	open_control(&device);
	device.id = driver->id;
	CHECK_EQ(control(&device, UBLK_U_CMD_DEL_DEV, NULL, 0, 0), 0);
	close_control(&device);
}

const struct test block_tests[] = {
	TEST(buffer_of_a_block_request),
	TEST(driver_dies_under_a_loop),
	END_OF_TESTS,
};
