// SPDX-License-Identifier: MIT
// A library for LD_PRELOAD: close(2) of files whose path ends with $FAILING_CLOSE closes the file and fails with EDQUOT, as a file
// system does that finds only then that it cannot store the data.
#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int close(int fd)
{
	const char *end = getenv("FAILING_CLOSE");
	char name[64];
	char path[4096];
	ssize_t length;
	int result;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	length = readlink(name, path, sizeof(path) - 1);
	result = (int)syscall(SYS_close, fd);
	if (result < 0 || length < 0 || !end || (size_t)length < strlen(end))
		return result;
	path[length] = '\0';
	if (strcmp(path + length - strlen(end), end) != 0)
		return result;
	errno = EDQUOT;
	return -1;
}
