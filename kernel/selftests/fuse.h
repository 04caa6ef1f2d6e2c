/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of a file whose server never answers. */
#ifndef RINGSTEP_SELFTESTS_FUSE_H
#define RINGSTEP_SELFTESTS_FUSE_H

#include <stdbool.h>

#include <sys/types.h>

struct stalled_file {
	pid_t server;
	char *memory;		  /* a page of the file, not present. Who touches it waits until release_stalled_file() */
	volatile unsigned *reads; /* how many reads the server has left without an answer */
	char path[64];
};

/* Mounts a FUSE file and maps it. A child process is its server. Ends the test on failure, and skips it in a kernel without FUSE. */
void make_stalled_file(struct stalled_file *file);
/* Ends the server. Tasks that wait for it get an error (SIGBUS, or EFAULT in a system call). Returns when the file is gone. */
void release_stalled_file(struct stalled_file *file);

#endif
