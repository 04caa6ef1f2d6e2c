// SPDX-License-Identifier: GPL-2.0
/*
 * The calls themselves. Rings lie at fixed file descriptors, and a table says where their memory is mapped. So a thread finds what others have
 * made, and uses it while it goes.
 */
#define _GNU_SOURCE
#include "random_calls.h"
#include "check.h"
#include "coverage.h"
#include "random_numbers.h"
#include "random_script.h"

#include <bpf/bpf.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	FIRST_FILE = 100, /* pipes, sockets and so on */
	FILES = 8,
	FIRST_LINK = 300,
	FIRST_TAKEN = 400, /* above all that this program opens */
};

/* Memory that a ring may use: for a region of user memory, and for what requests read and write. */
#define AREA (16UL << 20)
#define PART (4UL << 20)
#define AREA_OF(ring) ((char *)(0x200000000000UL + (unsigned long)(ring) * AREA))
#define USER_REGION_OF(ring) (AREA_OF(ring) + 2 * PART)
#define DATA_OF(ring) (AREA_OF(ring) + 3 * PART)

/*
 * The addresses of the memory that each ring shares with the kernel: its queues, its SQEs and its memory region. This is a table because io_uring
 * refuses MAP_FIXED, so the kernel chooses these addresses. Until a ring is mapped, its pointers point to ordinary memory, and can be used.
 */
static struct mapping {
	char *volatile queues, *volatile sqes, *volatile region;
	volatile size_t queues_size, sqes_size, region_size;
} mappings[RINGS];

struct counts *counts;
struct io_uring_params offsets;
struct loop loops[RINGS];
#define COUNT(what) __atomic_add_fetch(&counts->what, 1, __ATOMIC_RELAXED)

static __thread sigjmp_buf after_fault;

/* Never one of the three that this program shares with who has started it: a request could shut that down. */
static int some_fd(void)
{
	const int any = (int)number();

	switch (below(8)) {
	case 0:
		return FIRST_RING + (int)below(RINGS);
	case 1:
		return any >= 0 && any <= 2 ? FIRST_TAKEN : any;
	default:
		return FIRST_FILE + (int)below(FILES);
	}
}

static __u64 some_address(unsigned ring)
{
	switch (below(8)) {
	case 0:
		return random_bits();
	case 1:
		return (__u64)(uintptr_t)AREA_OF(ring) + below(AREA);
	case 2:
		return (__u64)(uintptr_t)(one_in(2) ? mappings[ring].queues : mappings[ring].sqes) + below(4096);
	default:
		return (__u64)(uintptr_t)DATA_OF(ring) + below(16384);
	}
}

/* Maps memory of a ring, in place of what was mapped before. Sometimes that stays mapped although its ring may be gone. */
static void map_from_ring(unsigned ring, size_t size, __u64 offset, char *volatile *at, volatile size_t *mapped)
{
	char *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, FIRST_RING + (int)ring, (off_t)offset);

	if (memory == MAP_FAILED)
		return;
	COUNT(mapped);
	if (*mapped && !one_in(4))
		munmap(*at, *mapped);
	*at = memory;
	*mapped = size;
}

static void open_some_ring(unsigned ring)
{
	struct io_uring_params params = {.flags = LOOP_RING};
	size_t queues_size, sqes_size;
	int fd;

	if (one_in(2))
		params.flags |= IORING_SETUP_SQ_REWIND;
	if (one_in(8))
		params.flags |= IORING_SETUP_R_DISABLED;
	if (one_in(8))
		params.flags |= IORING_SETUP_CQE32;
	if (one_in(8))
		params.flags &= ~(unsigned)IORING_SETUP_NO_SQARRAY;
	params.flags = some_flags(params.flags);
	params.cq_entries = one_in(8) ? number() : 8U << below(6);
	fd = sys_setup(one_in(8) ? number() & 4095 : 4U << below(4), &params);
	if (fd < 0)
		return;
	COUNT(rings);
	dup2(fd, FIRST_RING + (int)ring);
	close(fd);
	queues_size = params.cq_off.cqes + (size_t)params.cq_entries * sizeof(struct io_uring_cqe);
	sqes_size = (size_t)params.sq_entries * sizeof(struct io_uring_sqe);
	map_from_ring(ring, queues_size, IORING_OFF_SQ_RING, &mappings[ring].queues, &mappings[ring].queues_size);
	map_from_ring(ring, sqes_size, IORING_OFF_SQES, &mappings[ring].sqes, &mappings[ring].sqes_size);
}

static void map_area(char *at, size_t size)
{
	mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

static void register_some_region(unsigned ring)
{
	struct region_desc desc = {.size = 4096UL << below(6)};
	struct region_registration registration = {.desc = (__u64)(uintptr_t)&desc};
	int status;

	if (one_in(2)) {
		desc.user_addr = (__u64)(uintptr_t)USER_REGION_OF(ring);
		desc.flags = MEM_REGION_TYPE_USER;
		if (one_in(4))
			map_area(USER_REGION_OF(ring), PART);
	}
	if (one_in(8))
		desc.size = number();
	if (one_in(8))
		desc.user_addr = some_address(ring);
	if (one_in(16))
		desc.flags = number();
	registration.flags = one_in(8) ? number() : 0;
	status = sys_register(FIRST_RING + (int)ring, REGISTER_MEM_REGION,
			      one_in(16) ? (void *)(uintptr_t)some_address(ring) : &registration, one_in(16) ? number() : 1);
	if (status)
		return;
	COUNT(regions);
	if (desc.flags & MEM_REGION_TYPE_USER)
		mappings[ring].region = USER_REGION_OF(ring), mappings[ring].region_size = 0;
	else
		map_from_ring(ring, desc.size, desc.mmap_offset, &mappings[ring].region, &mappings[ring].region_size);
}

static void write_script(unsigned ring)
{
	volatile struct script *script = (volatile struct script *)mappings[ring].region;

	script->turns = 0;
	script->most = 1 + below(one_in(8) ? 1000 : 8);
	for (int i = 0; i < SCRIPT_LENGTH; i++) {
		volatile struct script_instruction *now = &script->instruction[i];
		const unsigned what = below(SCRIPT_KINDS + 4);

		/* Most scripts submit and reap, and end at their end. */
		now->what = what == SCRIPT_RETURN && !one_in(4) ? SCRIPT_REAP : what > SCRIPT_KINDS ? SCRIPT_SUBMIT : what;
		for (int k = 0; k < 3; k++)
			now->a[k] = number();
		if (now->what == SCRIPT_READ_BUFFER || now->what == SCRIPT_WRITE_BUFFER)
			now->a[1] = below(SCRIPT_DATA + 1);
	}
}

static void fill_some_sqe(unsigned ring, struct io_uring_sqe *sqe)
{
	static const __u8 opcodes[] = {
		IORING_OP_NOP,
		IORING_OP_NOP,
		IORING_OP_NOP,
		IORING_OP_READ,
		IORING_OP_WRITE,
		IORING_OP_READ_FIXED,
		IORING_OP_WRITE_FIXED,
		IORING_OP_POLL_ADD,
		IORING_OP_POLL_REMOVE,
		IORING_OP_TIMEOUT,
		IORING_OP_TIMEOUT_REMOVE,
		IORING_OP_LINK_TIMEOUT,
		IORING_OP_ASYNC_CANCEL,
		IORING_OP_SEND,
		IORING_OP_RECV,
		IORING_OP_MSG_RING,
		IORING_OP_CLOSE,
		IORING_OP_SPLICE,
		IORING_OP_TEE,
		IORING_OP_FILES_UPDATE,
		IORING_OP_PROVIDE_BUFFERS,
		IORING_OP_REMOVE_BUFFERS,
		IORING_OP_SEND_ZC,
		IORING_OP_FUTEX_WAIT,
		IORING_OP_FUTEX_WAKE,
		IORING_OP_SHUTDOWN,
		IORING_OP_FIXED_FD_INSTALL,
	};
	const __u8 opcode = one_in(32) ? IORING_OP_LAST + (__u8)below(4) : opcodes[below(sizeof(opcodes))];
	struct __kernel_timespec *const time = (struct __kernel_timespec *)DATA_OF(ring);

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->flags = one_in(3) ? (__u8)(1U << below(8)) : one_in(8) ? (__u8)random_bits() : 0;
	sqe->fd = opcode == IORING_OP_MSG_RING ? FIRST_RING + (int)below(RINGS) : some_fd();
	sqe->addr = some_address(ring);
	sqe->len = one_in(8) ? number() : below(64);
	sqe->off = one_in(4) ? number() : one_in(2) ? ~0ULL : 0;
	sqe->rw_flags = one_in(16) ? number() : 0;
	sqe->buf_index = (__u16)below(4);
	sqe->ioprio = one_in(4) ? (__u16)(1U << below(4)) : 0;
	sqe->user_data = below(32);
	switch (opcode) {
	case IORING_OP_TIMEOUT:
	case IORING_OP_LINK_TIMEOUT:
		time->tv_sec = 0;
		time->tv_nsec = (long long)below(2000000);
		sqe->fd = -1;
		sqe->len = 1;
		sqe->addr = (__u64)(uintptr_t)time;
		break;
	case IORING_OP_POLL_ADD:
		sqe->poll32_events = one_in(4) ? number() : POLLIN | POLLRDHUP;
		sqe->len = one_in(4) ? IORING_POLL_ADD_MULTI : 0;
		break;
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_POLL_REMOVE:
	case IORING_OP_TIMEOUT_REMOVE:
		sqe->addr = below(32);
		sqe->cancel_flags = one_in(2) ? 1U << below(6) : 0;
		break;
	default:
		break;
	}
}

static void fill_some_sqes(unsigned ring)
{
	volatile unsigned *const head = (volatile unsigned *)(mappings[ring].queues + offsets.sq_off.head);
	volatile unsigned *const tail = (volatile unsigned *)(mappings[ring].queues + offsets.sq_off.tail);
	const unsigned mask = (*(volatile unsigned *)(mappings[ring].queues + offsets.sq_off.ring_mask)) & 255;
	/* The queues may be of another ring than the SQEs are, and larger. */
	const size_t size = mappings[ring].sqes_size, room = (size ? size : PART) / sizeof(struct io_uring_sqe);

	for (unsigned count = 1 + below(8); count > 0; count--) {
		struct io_uring_sqe sqe;

		fill_some_sqe(ring, &sqe);
		/* With IORING_SETUP_SQ_REWIND, requests are taken from the first on. */
		memcpy(mappings[ring].sqes + (one_in(2) ? count - 1 : *tail & mask) % room * sizeof(sqe), &sqe, sizeof(sqe));
		*tail = *tail + 1;
	}
	if (one_in(16))
		*tail = number();
	if (one_in(16))
		*head = number();
}

static void enter_some(unsigned ring)
{
	volatile struct script *script = (volatile struct script *)mappings[ring].region;
	long result;

	script->turns = 0;
	result = syscall(__NR_io_uring_enter, FIRST_RING + (int)ring, number() & 63, number() & 15,
			 some_flags(IORING_ENTER_GETEVENTS), NULL, 0);
	if (result < 0)
		return;
	COUNT(entered);
	__atomic_add_fetch(&counts->submitted, (unsigned long)result, __ATOMIC_RELAXED);
	__atomic_add_fetch(&counts->turns, script->turns & 1023, __ATOMIC_RELAXED);
}

static void attach_some(unsigned ring)
{
	const int fd = bpf_link_create(bpf_map__fd(loops[one_in(8) ? below(RINGS) : ring].map), 0, BPF_STRUCT_OPS, NULL);

	if (fd < 0)
		return;
	COUNT(attached);
	dup2(fd, FIRST_LINK + (int)ring);
	close(fd);
}

static void detach_some(unsigned ring)
{
	switch (below(4)) {
	case 0:
		if (bpf_link_detach(FIRST_LINK + (int)ring) == 0)
			COUNT(detached);
		break;
	case 1:
		bpf_link_update(FIRST_LINK + (int)ring, bpf_map__fd(loops[below(RINGS)].map), NULL);
		break;
	default:
		if (close(FIRST_LINK + (int)ring) == 0)
			COUNT(detached);
	}
}

/* Registers and unregisters files, buffers, an eventfd, busy polling and workers, or makes any call of io_uring_register() below 40. */
static void register_something(unsigned ring)
{
	struct iovec vectors[4];
	int files[4];
	unsigned long long words[8] = {number(), number()};
	const int fd = FIRST_RING + (int)ring;

	for (int i = 0; i < 4; i++) {
		vectors[i].iov_base = (void *)(uintptr_t)some_address(ring);
		vectors[i].iov_len = one_in(4) ? number() : 4096;
		files[i] = some_fd();
	}
	switch (below(9)) {
	case 0:
		sys_register(fd, IORING_REGISTER_BUFFERS, vectors, 4);
		break;
	case 1:
		sys_register(fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
		break;
	case 2:
		sys_register(fd, IORING_REGISTER_FILES, files, 4);
		break;
	case 3:
		sys_register(fd, IORING_UNREGISTER_FILES, NULL, 0);
		break;
	case 4:
		sys_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		break;
	case 5:
		sys_register(fd, IORING_REGISTER_EVENTFD, &files[0], 1);
		break;
	case 6:
		sys_register(fd, 27 /* IORING_REGISTER_NAPI */, words, 1);
		break;
	case 7:
		sys_register(fd, IORING_REGISTER_IOWQ_MAX_WORKERS, words, 2);
		break;
	default:
		for (int i = 0; i < 8; i++)
			words[i] = one_in(2) ? number() : some_address(ring);
		sys_register(fd, below(40), one_in(2) ? (void *)words : (void *)(uintptr_t)some_address(ring), number());
	}
}

static void use_files(void)
{
	char bytes[64] = {0};
	const int fd = FIRST_FILE + (int)below(FILES);

	if (one_in(2))
		(void)!write(fd, bytes, below(sizeof(bytes)));
	else
		(void)!read(fd, bytes, below(sizeof(bytes)));
	if (one_in(8)) {
		close(fd);
		/* Another file takes its place, as a rule. */
		dup2(FIRST_FILE + (int)below(FILES), fd);
	}
}

/* Changes how a part of the ring's memory is mapped. Memory shared with the kernel that is unmapped here comes back with the next ring. */
static void change_memory(unsigned ring)
{
	const struct mapping *const mapping = &mappings[ring];
	char *at = AREA_OF(ring) + below(4) * PART;
	size_t size = PART;

	switch (below(6)) {
	case 0:
		at = mapping->queues;
		size = mapping->queues_size;
		break;
	case 1:
		at = mapping->sqes;
		size = mapping->sqes_size;
		break;
	case 2:
		at = mapping->region;
		size = mapping->region_size;
		break;
	default:
		break;
	}
	switch (below(5)) {
	case 0:
		munmap(at, size);
		break;
	case 1:
		mprotect(at, size, one_in(2) ? PROT_READ : PROT_NONE);
		break;
	case 2:
		madvise(at, size, MADV_DONTNEED);
		break;
	case 3:
		mprotect(at, size, PROT_READ | PROT_WRITE);
		break;
	default:
		map_area(DATA_OF(ring), PART);
	}
}

static __thread timer_t timer;

/* Interrupts this thread again and again, so that it does not wait for ever. */
static void make_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		_exit(EPISODE_NOT_BEGUN);
}

static void interrupt_soon(void)
{
	const struct itimerspec when = {.it_value.tv_nsec = 1 + (long)below(5000000), .it_interval.tv_nsec = 10000000};

	timer_settime(timer, 0, &when, NULL);
}

static void call_something(unsigned thread);

static void fork_and_go_on(void)
{
	const pid_t child = fork();

	if (child < 0)
		return;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It has this thread only, and ends where the thread would go on with other calls. */
		if (sigsetjmp(after_fault, 1))
			_exit(0);
		make_timer();
		interrupt_soon();
		for (int i = 0; i < 10; i++)
			call_something(below(THREADS));
		_exit(0);
	}
	if (one_in(2))
		kill(child, SIGKILL);
	waitpid(child, NULL, one_in(2) ? WNOHANG : 0);
}

static void call_something(unsigned thread)
{
	/* Each thread has a ring of its own, and sometimes uses that of another. */
	const unsigned ring = one_in(4) ? below(RINGS) : thread;

	COUNT(calls);
	switch (below(24)) {
	case 0:
		open_some_ring(ring);
		break;
	case 1:
	case 2:
		register_some_region(ring);
		break;
	case 3:
	case 4:
		write_script(ring);
		break;
	case 5:
	case 6:
	case 7:
		fill_some_sqes(ring);
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		enter_some(ring);
		break;
	case 12:
	case 13:
	case 14:
		attach_some(ring);
		break;
	case 15:
		detach_some(ring);
		break;
	case 16:
	case 17:
		register_something(ring);
		break;
	case 18:
		use_files();
		break;
	case 19:
		if (one_in(4))
			change_memory(ring);
		break;
	case 20:
		if (one_in(8))
			fork_and_go_on();
		break;
	case 21:
		interrupt_soon();
		break;
	case 22:
		if (one_in(4))
			close(FIRST_RING + (int)ring);
		break;
	default:
		usleep(below(1000));
	}
}

/* A step that waits for ever ends by a signal. So does a write to memory that another thread has taken away. */
static void on_signal(int number_of_signal)
{
	if (number_of_signal == SIGSEGV || number_of_signal == SIGBUS)
		siglongjmp(after_fault, 1);
}

static const struct episode *running;

/* Makes the calls of a piece from the given one on, which it counts, until all are made or one ends at memory that is not there. */
static void make_calls(unsigned thread, const struct piece *piece, volatile unsigned *made)
{
	if (sigsetjmp(after_fault, 1))
		return;
	while (*made < piece->calls) {
		(*made)++;
		call_something(thread);
		coverage_take();
	}
}

static void *run_thread(void *argument)
{
	const unsigned thread = (unsigned)(uintptr_t)argument;

	make_timer();
	coverage_begin();
	interrupt_soon();
	random_state = running->piece[0].seed * 1000003 + thread;
	/* What most episodes need, so that the calls find something to do. */
	if (sigsetjmp(after_fault, 1) == 0) {
		open_some_ring(thread);
		register_some_region(thread);
		write_script(thread);
		fill_some_sqes(thread);
	}
	for (unsigned i = 0; i < running->count; i++) {
		const struct piece *const piece = &running->piece[i];
		volatile unsigned made = 0;

		random_state = piece->seed * 1000003 + thread + 16;
		while (made < piece->calls)
			make_calls(thread, piece, &made);
	}
	return NULL;
}

_Noreturn void run_episode(const struct episode *episode)
{
	static const int signals[] = {SIGALRM, SIGSEGV, SIGBUS, SIGPIPE, SIGUSR1};
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
	pthread_t threads[THREADS];
	int pipes[4], pair[4];

	running = episode;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The limit of locked memory holds for who lacks this. Regions of gigabytes would use up the machine's memory otherwise. */
	drop_capabilities(1ULL << CAP_IPC_LOCK);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	for (unsigned ring = 0; ring < RINGS; ring++) {
		map_area(AREA_OF(ring), AREA);
		mappings[ring] =
			(struct mapping){.queues = AREA_OF(ring), .sqes = AREA_OF(ring) + PART, .region = USER_REGION_OF(ring)};
	}
	if (pipe2(pipes, O_NONBLOCK) || pipe(pipes + 2) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair + 2))
		_exit(EPISODE_NOT_BEGUN);
	for (int i = 0; i < 4; i++) {
		dup2(pipes[i], FIRST_FILE + i);
		dup2(pair[i], FIRST_FILE + 4 + i);
	}
	for (unsigned i = 1; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run_thread, (void *)(uintptr_t)i))
			_exit(EPISODE_NOT_BEGUN);
	run_thread(NULL);
	/* Some episodes end while other threads are in the middle of something. */
	if (episode->piece[0].seed % 2)
		for (unsigned i = 1; i < THREADS; i++)
			pthread_join(threads[i], NULL);
	_exit(0);
}
