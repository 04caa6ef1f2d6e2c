// SPDX-License-Identifier: MIT
/* Loads and runs the hand-written loops. */
#include "nops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <liburing.h>

#include <ringstep/skeletons/baseline_full.skel.h>
#include <ringstep/skeletons/baseline_naive.skel.h>
#include <ringstep/skeletons/baseline_nops.skel.h>

/* Younger than liburing 2.9. */
#ifndef IORING_SETUP_SQ_REWIND
#define IORING_SETUP_SQ_REWIND (1U << 20)
#endif

struct nops_loop {
	struct io_uring ring;
	struct baseline_nops_bpf *lean;
	struct baseline_full_bpf *full;
	struct baseline_naive_bpf *naive;
	struct nops_state *state;
	size_t state_size;
};

static void fill_geometry(struct nops_geometry *geometry, const struct io_uring_params *params)
{
	geometry->cq_size = params->cq_off.cqes + params->cq_entries * (__u32)sizeof(struct io_uring_cqe);
	geometry->sq_size = params->sq_entries * (__u32)sizeof(struct io_uring_sqe);
	geometry->cq_head = params->cq_off.head;
	geometry->cq_tail = params->cq_off.tail;
	geometry->cq_mask = params->cq_entries - 1;
	geometry->cqes = params->cq_off.cqes;
	geometry->sq_mask = params->sq_entries - 1;
}

static int load_lean(struct nops_loop *loop, const struct io_uring_params *params)
{
	loop->lean = baseline_nops_bpf__open();
	if (!loop->lean)
		return -errno;
	fill_geometry((struct nops_geometry *)&loop->lean->rodata->geometry, params);
	loop->lean->struct_ops.nops_ops->ring_fd = (__u32)loop->ring.ring_fd;
	return baseline_nops_bpf__load(loop->lean);
}

static int load_full(struct nops_loop *loop, const struct io_uring_params *params)
{
	loop->full = baseline_full_bpf__open();
	if (!loop->full)
		return -errno;
	fill_geometry((struct nops_geometry *)&loop->full->rodata->geometry, params);
	loop->full->struct_ops.full_ops->ring_fd = (__u32)loop->ring.ring_fd;
	return baseline_full_bpf__load(loop->full);
}

static int load_naive(struct nops_loop *loop, const struct io_uring_params *params)
{
	loop->naive = baseline_naive_bpf__open();
	if (!loop->naive)
		return -errno;
	fill_geometry((struct nops_geometry *)&loop->naive->rodata->geometry, params);
	loop->naive->struct_ops.naive_ops->ring_fd = (__u32)loop->ring.ring_fd;
	return baseline_naive_bpf__load(loop->naive);
}

static int register_state(struct nops_loop *loop)
{
	struct io_uring_region_desc desc = {0};
	struct io_uring_mem_region_reg reg = {0};
	void *memory;

	loop->state_size = (size_t)sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, loop->state_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	loop->state = (struct nops_state *)memory;
	desc.user_addr = (__u64)(uintptr_t)memory;
	desc.size = loop->state_size;
	desc.flags = IORING_MEM_REGION_TYPE_USER;
	reg.region_uptr = (__u64)(uintptr_t)&desc;
	return io_uring_register_region(&loop->ring, &reg);
}

static int load(struct nops_loop *loop, enum nops_variant variant, const struct io_uring_params *params)
{
	switch (variant) {
	case NOPS_LEAN:
		return load_lean(loop, params);
	case NOPS_FULL:
		return load_full(loop, params);
	case NOPS_NAIVE:
		return load_naive(loop, params);
	}
	return -EINVAL;
}

/* libbpf attaches .struct_ops.link maps by itself. */
static int attach(struct nops_loop *loop)
{
	if (loop->lean)
		return baseline_nops_bpf__attach(loop->lean);
	if (loop->full)
		return baseline_full_bpf__attach(loop->full);
	return baseline_naive_bpf__attach(loop->naive);
}

static void free_loop(struct nops_loop *loop)
{
	baseline_nops_bpf__destroy(loop->lean);
	baseline_full_bpf__destroy(loop->full);
	baseline_naive_bpf__destroy(loop->naive);
	io_uring_queue_exit(&loop->ring);
	if (loop->state)
		munmap(loop->state, loop->state_size);
	free(loop);
}

struct nops_loop *nops_loop_open(enum nops_variant variant, unsigned int sq_entries, unsigned int cq_entries)
{
	struct io_uring_params params = {0};
	struct nops_loop *loop;
	int ret;

	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	params.cq_entries = cq_entries;
	params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE |
		       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SQ_REWIND;
	ret = io_uring_queue_init_params(sq_entries, &loop->ring, &params);
	if (ret < 0) {
		free(loop);
		errno = -ret;
		return NULL;
	}
	ret = io_uring_register_ring_fd(&loop->ring);
	ret = ret < 0 ? ret : register_state(loop);
	if (!ret)
		ret = load(loop, variant, &params);
	if (!ret)
		ret = attach(loop);
	if (ret < 0) {
		free_loop(loop);
		errno = -ret;
		return NULL;
	}
	return loop;
}

void nops_loop_close(struct nops_loop *loop)
{
	if (loop)
		free_loop(loop);
}

struct nops_state *nops_loop_reset(struct nops_loop *loop, __u64 total, __u64 depth)
{
	memset(loop->state, 0, sizeof(*loop->state));
	loop->state->total = total;
	loop->state->depth = depth;
	return loop->state;
}

int nops_loop_run(struct nops_loop *loop)
{
	return io_uring_enter2((unsigned int)loop->ring.enter_ring_fd, 0, 0,
			       IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL, 0);
}
