/* SPDX-License-Identifier: GPL-2.0 */
/* A ring by nothing but system calls, and loops on it by libbpf: what the tests of the interface stand on. */
#ifndef RINGSTEP_SELFTESTS_RING_H
#define RINGSTEP_SELFTESTS_RING_H

#include "plan.h"

#include <linux/io_uring.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <stdbool.h>
#include <stddef.h>

/* Numbers that the installed headers may lack. Fixed for ever, as all that user space sees. */
#ifndef IORING_SETUP_SQ_REWIND
#define IORING_SETUP_SQ_REWIND (1U << 20)
#endif
#define REGISTER_MEM_REGION 34
#define MEM_REGION_TYPE_USER 1U
#define PARAM_REGION_OFFSET 0x20000000ULL

struct region_desc {
	__u64 user_addr, size;
	__u32 flags, id;
	__u64 mmap_offset;
	__u64 reserved[4];
};

struct region_registration {
	__u64 desc, flags;
	__u64 reserved[2];
};

/* The flags of a ring that a loop can run on. */
#define LOOP_RING (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE)

struct ring {
	int fd;
	struct io_uring_params params;
	size_t rings_size, sqes_size;
	char *rings;
	struct io_uring_sqe *sqes;
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail, *cq_overflow;
	struct io_uring_cqe *cqes;
	struct plan *plan; /* the MEM region, by add_plan() */
};

struct loop {
	struct bpf_object *object;
	struct bpf_map *map;
	struct bpf_link *link;
};

/* All that follow give 0 or a file descriptor, or a negative errno. */
int sys_setup(unsigned entries, struct io_uring_params *params);
int sys_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags);
int sys_register(int fd, unsigned opcode, const void *arg, unsigned nr_args);

int open_ring(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned flags);
void close_ring(struct ring *ring);

int register_region(int fd, struct region_desc *desc);
/* A region of one page of user memory with an empty plan. */
int add_plan(struct ring *ring);

/* The next SQE, zeroed; the tail moves. */
struct io_uring_sqe *next_sqe(struct ring *ring);
/* Fills in nops, their user_data counted from first. */
void fill_nops(struct ring *ring, unsigned count, __u64 first);
/* Takes a completion off the CQ, if there is one. */
bool take_cqe(struct ring *ring, struct io_uring_cqe *cqe);

/* Loads an object for that ring; step.bpf.o is that of most tests. */
int load_loop_from(struct loop *loop, const struct ring *ring, const char *object_name);
int load_loop(struct loop *loop, const struct ring *ring);
int attach_loop(struct loop *loop);
int add_loop(struct loop *loop, const struct ring *ring);
void detach_loop(struct loop *loop);
void free_loop(struct loop *loop);

/* Loads one program of an object of refused.bpf.c. */
int load_refused(const char *object, const char *program, int ring_fd);

/* The io-wq workers of this process, and how many of them are kept from migrating. */
struct workers {
	__u32 all, pinned;
};
int look_at_workers(struct workers *workers);

/* Where the compiled programs are. */
extern const char *object_folder;

/* The running kernel: 7.1 is 701; ours have a name. */
int kernel_number(void);
bool kernel_is_ours(void);
/* Whether it has what kernel/next adds. */
bool kernel_is_next(void);

#endif
