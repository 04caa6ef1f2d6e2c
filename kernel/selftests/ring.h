/* SPDX-License-Identifier: GPL-2.0 */
/* Rings by system calls alone, and loops on them by libbpf. */
#ifndef RINGSTEP_SELFTESTS_RING_H
#define RINGSTEP_SELFTESTS_RING_H

#include "plan.h"

#include <linux/io_uring.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <stdbool.h>
#include <stddef.h>

/* Numbers that the installed headers may lack. They are part of the interface to user space and never change. */
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

struct next_plan;

struct ring {
	int fd;
	struct io_uring_params params;
	size_t rings_size, sqes_size;
	char *rings;
	struct io_uring_sqe *sqes;
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail, *cq_overflow;
	struct io_uring_cqe *cqes;
	union { /* the memory region, once add_plan() or add_region() has registered it */
		void *region;
		struct plan *plan;
		struct next_plan *next_plan;
	};
};

struct loop {
	struct bpf_object *object;
	struct bpf_map *map;
	struct bpf_link *link;
};

/* Unless their comment says otherwise, functions of type int return 0, a file descriptor or a count, or else a negative errno. */
int sys_setup(unsigned entries, struct io_uring_params *params);
int sys_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags);
int sys_register(int fd, unsigned opcode, const void *arg, unsigned nr_args);

/* Opens a ring and maps its queues. */
int open_ring(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned flags);
/* Opens a ring whose queues lie in memory of the caller: `size` bytes at `rings` and as many at `sqes`, each in one piece. */
int open_ring_in(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned flags, void *rings, void *sqes,
		 size_t size);
/* Closes the ring and unmaps its queues. The memory region stays mapped. */
void close_ring(struct ring *ring);

int register_region(int fd, struct region_desc *desc);
/* Registers zeroed user memory as the ring's memory region: `size` bytes, rounded up to whole pages. */
int add_region(struct ring *ring, size_t size);
/* Registers a memory region with an empty plan. */
int add_plan(struct ring *ring);

/* Returns the next SQE, zeroed, and advances the tail. */
struct io_uring_sqe *next_sqe(struct ring *ring);
/* Fills in `count` nops. Their user_data is `first`, `first` + 1, and so on. */
void fill_nops(struct ring *ring, unsigned count, __u64 first);
/* Fills in a read of one byte. */
void fill_read(struct ring *ring, int fd, char *byte, __u64 user_data);
/* Takes a completion from the CQ. Returns false if there is none. */
bool take_cqe(struct ring *ring, struct io_uring_cqe *cqe);

/* Loads the loop in an object for this ring. */
int load_loop_from(struct loop *loop, const struct ring *ring, const char *object_name);
/* Loads the loop in step.bpf.o, which most tests use. */
int load_loop(struct loop *loop, const struct ring *ring);
/* Loads a loop whose struct_ops has no step. */
int load_loop_without_step(struct loop *loop, const struct ring *ring);
int attach_loop(struct loop *loop);
/* Loads the loop in step.bpf.o and attaches it. */
int add_loop(struct loop *loop, const struct ring *ring);
void detach_loop(struct loop *loop);
/* Detaches the loop, if it is attached, and unloads it. */
void free_loop(struct loop *loop);

/* Loads one program of an object that has many, such as refused.bpf.o, and unloads it again. */
int load_refused(const char *object, const char *program, int ring_fd);

/* How many io-wq workers this process has, and how many of them may not migrate. */
struct workers {
	__u32 all, pinned;
};
int look_at_workers(struct workers *workers);

/* The folder of the compiled programs. */
extern const char *object_folder;

/* Returns the number of the running kernel: 701 is 7.1. */
int kernel_number(void);
/* Returns true if this repository's patches are in the running kernel, according to its name. In a kernel tree (kernel/kselftest), the tests are for the
 * kernel of that tree, which has them. */
bool kernel_is_ours(void);
/* Returns what the running kernel has of kernel/next (NEXT_…), according to its BTF. */
unsigned next_features(void);
/* Returns the size of struct iou_loop_params in the running kernel, in bytes, or 0 if it does not have loops. */
size_t size_of_params(void);

#endif
