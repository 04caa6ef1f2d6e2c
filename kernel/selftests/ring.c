// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "ring.h"

#include "next_plan.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *object_folder = ".";

static int negative_errno(long result)
{
	return result < 0 ? -errno : (int)result;
}

int sys_setup(unsigned entries, struct io_uring_params *params)
{
	return negative_errno(syscall(__NR_io_uring_setup, entries, params));
}

int sys_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return negative_errno(syscall(__NR_io_uring_enter, fd, to_submit, min_complete, flags, NULL, 0));
}

int sys_register(int fd, unsigned opcode, const void *arg, unsigned nr_args)
{
	return negative_errno(syscall(__NR_io_uring_register, fd, opcode, arg, nr_args));
}

static size_t whole_pages(size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

static void find_queues(struct ring *ring)
{
	const struct io_uring_params *params = &ring->params;

	ring->sq_head = (unsigned *)(ring->rings + params->sq_off.head);
	ring->sq_tail = (unsigned *)(ring->rings + params->sq_off.tail);
	ring->cq_head = (unsigned *)(ring->rings + params->cq_off.head);
	ring->cq_tail = (unsigned *)(ring->rings + params->cq_off.tail);
	ring->cq_overflow = (unsigned *)(ring->rings + params->cq_off.overflow);
	ring->cqes = (struct io_uring_cqe *)(ring->rings + params->cq_off.cqes);
	if (!(params->flags & IORING_SETUP_NO_SQARRAY))
		for (unsigned i = 0; i < params->sq_entries; i++)
			((unsigned *)(ring->rings + params->sq_off.array))[i] = i;
}

int open_ring(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned flags)
{
	struct io_uring_params *params = &ring->params;
	size_t cqes_end, array_end;

	memset(ring, 0, sizeof(*ring));
	params->flags = flags;
	params->cq_entries = cq_entries;
	ring->fd = sys_setup(sq_entries, params);
	if (ring->fd < 0)
		return ring->fd;

	cqes_end = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	array_end = flags & IORING_SETUP_NO_SQARRAY ? 0 : params->sq_off.array + params->sq_entries * sizeof(unsigned);
	ring->rings_size = whole_pages(cqes_end > array_end ? cqes_end : array_end);
	ring->sqes_size = whole_pages(params->sq_entries * sizeof(struct io_uring_sqe));
	ring->rings =
		mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
			  (off_t)IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->sqes == MAP_FAILED)
		return -errno;
	find_queues(ring);
	return ring->fd;
}

int open_ring_in(struct ring *ring, unsigned sq_entries, unsigned cq_entries, unsigned flags, void *rings, void *sqes,
		 size_t size)
{
	struct io_uring_params *params = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->rings = rings;
	ring->sqes = sqes;
	ring->rings_size = ring->sqes_size = size;
	params->flags = flags | IORING_SETUP_NO_MMAP;
	params->cq_entries = cq_entries;
	params->cq_off.user_addr = (__u64)(uintptr_t)rings;
	params->sq_off.user_addr = (__u64)(uintptr_t)sqes;
	ring->fd = sys_setup(sq_entries, params);
	if (ring->fd >= 0)
		find_queues(ring);
	return ring->fd;
}

void close_ring(struct ring *ring)
{
	munmap(ring->rings, ring->rings_size);
	munmap(ring->sqes, ring->sqes_size);
	close(ring->fd);
}

int register_region(int fd, struct region_desc *desc)
{
	const struct region_registration registration = {.desc = (__u64)(uintptr_t)desc};

	return sys_register(fd, REGISTER_MEM_REGION, &registration, 1);
}

int add_region(struct ring *ring, size_t size)
{
	struct region_desc desc = {.size = whole_pages(size), .flags = MEM_REGION_TYPE_USER};

	ring->region = mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring->region == MAP_FAILED)
		return -errno;
	desc.user_addr = (__u64)(uintptr_t)ring->region;
	return register_region(ring->fd, &desc);
}

int add_plan(struct ring *ring)
{
	return add_region(ring, sizeof(struct plan));
}

struct io_uring_sqe *next_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = &ring->sqes[*ring->sq_tail & (ring->params.sq_entries - 1)];

	memset(sqe, 0, sizeof(*sqe));
	__atomic_store_n(ring->sq_tail, *ring->sq_tail + 1, __ATOMIC_RELEASE);
	return sqe;
}

void fill_nops(struct ring *ring, unsigned count, __u64 first)
{
	for (unsigned i = 0; i < count; i++)
		next_sqe(ring)->user_data = first + i; /* IORING_OP_NOP is 0 */
}

void fill_read(struct ring *ring, int fd, char *byte, __u64 user_data)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	sqe->opcode = IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (__u64)(uintptr_t)byte;
	sqe->len = 1;
	sqe->user_data = user_data;
}

bool take_cqe(struct ring *ring, struct io_uring_cqe *cqe)
{
	const unsigned head = *ring->cq_head;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*cqe = ring->cqes[head & (ring->params.cq_entries - 1)];
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* The part of struct io_uring_bpf_ops that user space fills in. interface.bpf.h has all of it. */
struct ops {
	const struct bpf_program *loop_step;
	__u32 ring_fd;
};

static struct ops *ops_of(struct bpf_map *map)
{
	size_t size;

	return bpf_map__initial_value(map, &size);
}

static struct bpf_object *open_object(const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", object_folder, name);
	return bpf_object__open_file(path, NULL);
}

/*
 * Returns a 32-bit variable of a program, or NULL if there is none of that name. libbpf has the memory of all variables in a section, and
 * BTF has the offset of each one.
 */
static __u32 *variable_of(struct bpf_object *object, const char *section_name, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, section_name);
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_type *section;
	size_t size;
	char *data;

	if (!map)
		return NULL;
	data = bpf_map__initial_value(map, &size);
	section = btf__type_by_id(btf, (__u32)btf__find_by_name_kind(btf, section_name, BTF_KIND_DATASEC));
	if (!data || !section)
		return NULL;
	for (int i = 0; i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *info = btf_var_secinfos(section) + i;
		const struct btf_type *variable = btf__type_by_id(btf, info->type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) == 0 && info->offset + sizeof(__u32) <= size)
			return (__u32 *)(data + info->offset);
	}
	return NULL;
}

/* Sets a constant of a program that is not loaded yet. */
static int set_constant(struct bpf_object *object, const char *name, __u32 value)
{
	__u32 *constant = variable_of(object, ".rodata", name);

	if (!constant)
		return -ENOENT;
	*constant = value;
	return 0;
}

/* Opens an object and sets the ring's descriptor and layout in it. The caller loads it. */
static int open_loop(struct loop *loop, const struct ring *ring, const char *object_name)
{
	const struct {
		const char *name;
		__u32 value;
	} constants[] = {
		{"cq_head", ring->params.cq_off.head}, {"cq_tail", ring->params.cq_off.tail},
		{"cqes", ring->params.cq_off.cqes},    {"cq_mask", ring->params.cq_entries - 1},
		{"cq_size", (__u32)ring->rings_size},  {"sq_size", (__u32)ring->sqes_size},
	};
	__u32 *features;
	int status = 0;

	memset(loop, 0, sizeof(*loop));
	loop->object = open_object(object_name);
	if (!loop->object)
		return -errno;
	loop->map = bpf_object__find_map_by_name(loop->object, "ops");
	ops_of(loop->map)->ring_fd = (__u32)ring->fd;
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]) && status == 0; i++)
		status = set_constant(loop->object, constants[i].name, constants[i].value);
	/* Reading the kernel's BTF takes long, and most programs have no such constant. */
	features = variable_of(loop->object, ".rodata", "features");
	if (features)
		*features = next_features();
	return status;
}

int load_loop_from(struct loop *loop, const struct ring *ring, const char *object_name)
{
	const int status = open_loop(loop, ring, object_name);

	return status ? status : bpf_object__load(loop->object);
}

int load_loop_without_step(struct loop *loop, const struct ring *ring)
{
	const int status = open_loop(loop, ring, "step.bpf.o");

	if (status)
		return status;
	ops_of(loop->map)->loop_step = NULL;
	return bpf_object__load(loop->object);
}

int load_loop(struct loop *loop, const struct ring *ring)
{
	return load_loop_from(loop, ring, "step.bpf.o");
}

int attach_loop(struct loop *loop)
{
	loop->link = bpf_map__attach_struct_ops(loop->map);
	return loop->link ? 0 : -errno;
}

int add_loop(struct loop *loop, const struct ring *ring)
{
	const int status = load_loop(loop, ring);

	return status ? status : attach_loop(loop);
}

void detach_loop(struct loop *loop)
{
	bpf_link__destroy(loop->link);
	loop->link = NULL;
}

void free_loop(struct loop *loop)
{
	detach_loop(loop);
	bpf_object__close(loop->object);
	loop->object = NULL;
}

int load_refused(const char *object_name, const char *program_name, int ring_fd)
{
	struct bpf_object *object = open_object(object_name);
	struct bpf_program *program;
	struct bpf_map *map;
	int status;

	if (!object)
		return -errno;
	program = bpf_object__find_program_by_name(object, program_name);
	map = bpf_object__find_map_by_name(object, "ops");
	if (!program || !map) {
		bpf_object__close(object);
		return -ENOENT;
	}
	bpf_program__set_autoload(program, true);
	ops_of(map)->loop_step = program;
	ops_of(map)->ring_fd = (__u32)ring_fd;
	status = bpf_object__load(object);
	bpf_object__close(object);
	return status;
}

/* Runs an iterator program once over all tasks. */
static int run_iterator(struct bpf_program *program)
{
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);
	ssize_t got;
	char buffer[64];
	int fd;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	do
		got = fd < 0 ? fd : read(fd, buffer, sizeof(buffer));
	while (got > 0);
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	return got < 0 ? -EIO : 0;
}

int look_at_workers(struct workers *workers)
{
	struct bpf_object *object = open_object("tasks.bpf.o");
	int status;

	if (!object)
		return -errno;
	status = set_constant(object, "process", (__u32)getpid());
	if (!status)
		status = bpf_object__load(object);
	if (!status)
		status = run_iterator(bpf_object__find_program_by_name(object, "look"));
	if (!status) {
		workers->all = *variable_of(object, ".bss", "workers");
		workers->pinned = *variable_of(object, ".bss", "pinned");
	}
	bpf_object__close(object);
	return status;
}

int kernel_number(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	return major * 100 + minor;
}

#ifdef IN_KERNEL_TREE
bool kernel_is_ours(void)
{
	return true;
}
#else
bool kernel_is_ours(void)
{
	struct utsname name;

	uname(&name);
	return strstr(name.release, "-ringstep") != NULL;
}
#endif

unsigned next_features(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const size_t params = size_of_params();
	unsigned features = 0;

	/* Patches that add to the parameters add to their end. */
	if (params >= 16)
		features |= NEXT_TIMEOUTS;
	if (params >= 24)
		features |= NEXT_POLLING;
	if (btf && btf__find_by_name_kind(btf, "bpf_io_uring_read_buffer", BTF_KIND_FUNC) > 0)
		features |= NEXT_BUFFERS;
	if (btf && btf__find_by_name_kind(btf, "bpf_io_uring_run_work", BTF_KIND_FUNC) > 0)
		features |= NEXT_RUN_WORK;
	btf__free(btf);
	return features;
}

size_t size_of_params(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const __s32 type = btf ? btf__find_by_name_kind(btf, "iou_loop_params", BTF_KIND_STRUCT) : -1;
	const __s64 size = type > 0 ? btf__resolve_size(btf, (__u32)type) : 0;

	btf__free(btf);
	return size > 0 ? (size_t)size : 0;
}
