// SPDX-License-Identifier: GPL-2.0
/* A task that waits inside the kernel for as long as user space likes must not hold up others, whatever locks of its ring it has. */
#define _GNU_SOURCE
#include "abi.h"
#include "fuse.h"
#include "setup.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A ring of a thread that waits for the server of a stalled file. */
struct stuck {
	struct setup setup;
	struct stalled_file file;
	pthread_t thread;
	int socket; /* for a step that gets stuck, or -1 */
	volatile bool ready;
	volatile int result;
};

static void *get_stuck(void *arg)
{
	struct stuck *stuck = arg;

	make_setup(&stuck->setup);
	stuck->ready = true;
	if (stuck->socket < 0) {
		stuck->result = sys_register(stuck->setup.ring.fd, IORING_REGISTER_FILES, stuck->file.memory, 1);
	} else {
		struct io_uring_sqe *sqe = next_sqe(&stuck->setup.ring);

		sqe->opcode = IORING_OP_SENDMSG;
		sqe->fd = stuck->socket;
		sqe->addr = (__u64)(uintptr_t)stuck->file.memory;
		stuck->result = run_plan(&stuck->setup, (struct plan){.submit = 1, .submit_turns = 1, .reap = 8});
	}
	return NULL;
}

/* Starts the thread and waits until it is stuck. */
static void begin(struct stuck *stuck, int sock)
{
	memset(stuck, 0, sizeof(*stuck));
	stuck->socket = sock;
	make_stalled_file(&stuck->file);
	NEED(-pthread_create(&stuck->thread, NULL, get_stuck, stuck));
	CHECK(EVENTUALLY(*stuck->file.reads > 0));
}

/* What one thread does while another is stuck. */
struct task {
	struct loop *loop;
	volatile int result;
	volatile bool done;
};

static void *attach_task(void *arg)
{
	struct task *task = arg;

	task->result = attach_loop(task->loop);
	task->done = true;
	return NULL;
}

static void *detach_task(void *arg)
{
	struct task *task = arg;

	task->result = bpf_link_detach(bpf_link__fd(task->loop->link));
	detach_loop(task->loop);
	task->done = true;
	return NULL;
}

/* All that a loop of somebody else goes through. */
static void *life_of_a_loop(void *arg)
{
	struct task *task = arg;
	struct setup setup;
	struct ring second;
	struct bpf_link *link;

	make_setup(&setup);
	CHECK_EQ(run_plan(&setup, stop_in_turn(2)), 0);
	detach_loop(&setup.loop);
	NEED(attach_loop(&setup.loop));
	/* The ring goes with its loop attached. Once it has gone, the loop can have another ring, by the same number. */
	NEED(open_ring(&second, 8, 16, LOOP_RING));
	munmap(setup.ring.rings, setup.ring.rings_size);
	munmap(setup.ring.sqes, setup.ring.sqes_size);
	NEED(dup2(second.fd, setup.ring.fd));
	CHECK(EVENTUALLY((link = bpf_map__attach_struct_ops(setup.loop.map)) != NULL));
	bpf_link__destroy(link);
	free_loop(&setup.loop);
	task->done = true;
	return NULL;
}

/* Runs `work` in a thread of its own and waits for it. Leaves the thread behind if it does not come to its end. */
static bool ends(void *(*work)(void *), struct task *task)
{
	pthread_t thread;

	task->done = false;
	NEED(-pthread_create(&thread, NULL, work, task));
	if (!EVENTUALLY(task->done))
		return false;
	pthread_join(thread, NULL);
	return true;
}

/* Ends what the task waits for, and waits for the task. */
static void let_go(struct stuck *stuck)
{
	release_stalled_file(&stuck->file);
	pthread_join(stuck->thread, NULL);
	CHECK_EQ(stuck->result, -EFAULT);
}

/* A task is inside io_uring_register(), with the ring's lock. */
static void stuck_ring_holds_up_nobody(void)
{
	static struct task attach, detach, others;
	static struct stuck stuck;
	static struct loop second;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 wait for the ring's lock with a lock that all rings share");
	begin(&stuck, -1);
	NEED(load_loop(&second, &stuck.setup.ring));
	attach.loop = &second;
	detach.loop = &stuck.setup.loop;
	CHECK(ends(attach_task, &attach));
	/* The ring is another task's, which only_the_own_task_attaches is about, and has a loop. */
	CHECK(attach.result == -EEXIST || attach.result == -EBUSY);
	CHECK(ends(detach_task, &detach));
	CHECK_EQ(detach.result, 0);
	CHECK(ends(life_of_a_loop, &others));
	let_go(&stuck);
}

/* A task is inside the step. Its loop is detached all the same, and ends when the task comes out of there. */
static void stuck_step_holds_up_nobody(void)
{
	static struct task detach, others;
	static struct stuck stuck;
	int sockets[2];

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 wait for the step with a lock that all rings share");
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	begin(&stuck, sockets[0]);
	CHECK_EQ(stuck.setup.ring.plan->turns, 1);
	detach.loop = &stuck.setup.loop;
	CHECK(ends(detach_task, &detach));
	CHECK_EQ(detach.result, 0);
	CHECK(ends(life_of_a_loop, &others));
	let_go(&stuck);
	CHECK_EQ(stuck.setup.ring.plan->turns, 1);
	CHECK_EQ(stuck.setup.ring.plan->submitted, 1);
}

/* Returns a page that is not present, and that nobody provides (userfaultfd). Unlike one of a stalled file, it can be waited for killably. */
static char *page_that_never_comes(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.range = {.len = 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const int fd = (int)syscall(SYS_userfaultfd, 0);

	NEED(fd);
	NEED(page == MAP_FAILED ? -errno : 0);
	range.range.start = (__u64)(uintptr_t)page;
	NEED(ioctl(fd, UFFDIO_API, &api) ? -errno : 0);
	NEED(ioctl(fd, UFFDIO_REGISTER, &range) ? -errno : 0);
	return page;
}

/* Kills a process that is inside io_uring_register(), or inside a step. It ends although nobody provides the page, and its ring with it. */
static void kill_stuck_process(bool in_step)
{
	static struct task others;
	struct stuck stuck = {.socket = -1};
	int sockets[2];
	pid_t child;

	if (in_step) {
		NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
		stuck.socket = sockets[0];
	}
	child = fork();
	if (child == 0) {
		stuck.file.memory = page_that_never_comes();
		get_stuck(&stuck);
		exit(FAILED);
	}
	CHECK(EVENTUALLY(sleeps_in(child, "handle_userfault")));
	NEED(kill(child, SIGKILL) ? -errno : 0);
	CHECK(EVENTUALLY(waitpid(child, NULL, WNOHANG) == child));
	CHECK(ends(life_of_a_loop, &others));
}

static void stuck_process_can_be_killed(void)
{
	if (syscall(SYS_userfaultfd, 0) < 0)
		SKIP("there is no userfaultfd");
	kill_stuck_process(false);
	kill_stuck_process(true);
}

/* A ring belongs to one task. A child that has inherited its descriptor cannot attach a loop, and neither can another thread. */
static void only_the_own_task_attaches(void)
{
	static struct task task;
	struct setup setup;

	if (lacks(ONLY_IN_OURS))
		SKIP("up to 7.3, every task with the descriptor can attach");
	make_setup(&setup);
	detach_loop(&setup.loop);
	task.loop = &setup.loop;
	CHECK(ends(attach_task, &task));
	CHECK_EQ(task.result, -EEXIST);
	NEED(attach_loop(&setup.loop));
	end_setup(&setup);

	/* A disabled ring has no task yet. */
	make_setup_with(&setup, 8, 16, IORING_SETUP_R_DISABLED);
	detach_loop(&setup.loop);
	CHECK(ends(attach_task, &task));
	CHECK_EQ(task.result, 0);
	end_setup(&setup);
}

const struct test stall_tests[] = {
	TEST(stuck_ring_holds_up_nobody),
	TEST(stuck_step_holds_up_nobody),
	TEST(stuck_process_can_be_killed),
	TEST(only_the_own_task_attaches),
	END_OF_TESTS,
};
