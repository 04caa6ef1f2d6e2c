// SPDX-License-Identifier: GPL-2.0
/* A FUSE server that speaks the protocol of /dev/fuse itself. Its only file is its root, so nobody has to look up a name. */
#define _GNU_SOURCE
#include "fuse.h"
#include "check.h"

#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void answer(int device, __u64 unique, int error, const void *data, size_t size)
{
	struct fuse_out_header header = {.len = (__u32)(sizeof(header) + size), .error = error, .unique = unique};
	const struct iovec parts[] = {{&header, sizeof(header)}, {(void *)data, size}};

	NEED(writev(device, parts, size ? 2 : 1));
}

/* Answers everything but reads. */
static void serve(int device, volatile unsigned *reads)
{
	static char buffer[1 << 20];
	const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096, .max_readahead = 0};
	const struct fuse_attr_out attributes = {
		.attr_valid = 3600, .attr = {.ino = 1, .size = 4096, .mode = S_IFREG | 0644, .nlink = 1, .blksize = 4096}};
	const struct fuse_open_out opened = {.fh = 1};

	for (;;) {
		const ssize_t size = read(device, buffer, sizeof(buffer));
		const struct fuse_in_header *header = (const struct fuse_in_header *)buffer;

		if (size < 0 && errno == EINTR)
			continue;
		if (size < (ssize_t)sizeof(*header))
			_exit(0);
		switch (header->opcode) {
		case FUSE_INIT:
			answer(device, header->unique, 0, &init, sizeof(init));
			break;
		case FUSE_GETATTR:
			answer(device, header->unique, 0, &attributes, sizeof(attributes));
			break;
		case FUSE_OPEN:
			answer(device, header->unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			++*reads;
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(device, header->unique, -ENOSYS, NULL, 0);
		}
	}
}

void make_stalled_file(struct stalled_file *file)
{
	const pid_t test = getpid();
	struct stat status;
	char options[128];
	int device, fd;

	file->reads = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(file->reads == MAP_FAILED ? -1 : 0);
	device = open("/dev/fuse", O_RDWR);
	if (device < 0)
		SKIP("this kernel has no FUSE");
	snprintf(file->path, sizeof(file->path), "/tmp/stalled-%d", getpid());
	fd = open(file->path, O_CREAT | O_RDONLY, 0600);
	NEED(fd);
	close(fd);
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,group_id=0", device, S_IFREG);
	NEED(mount("stalled", file->path, "fuse", 0, options));
	/* The test's process must not hold the device: it may be unable to end before the server has. */
	file->server = fork();
	NEED(file->server);
	if (file->server == 0) {
		/* A thread that waits for an answer ends only when the server does, also if the test is killed at its time limit. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != test)
			_exit(1);
		serve(device, file->reads);
	}
	close(device);
	fd = open(file->path, O_RDONLY);
	NEED(fd);
	NEED(fstat(fd, &status)); /* the kernel does not know the size otherwise, and nothing can be mapped */
	CHECK_EQ(status.st_size, 4096);
	file->memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	NEED(file->memory == MAP_FAILED ? -1 : 0);
	close(fd);
}

void release_stalled_file(struct stalled_file *file)
{
	kill(file->server, SIGKILL);
	waitpid(file->server, NULL, 0);
	umount2(file->path, MNT_DETACH);
	unlink(file->path);
}
