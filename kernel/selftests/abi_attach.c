// SPDX-License-Identifier: GPL-2.0
/* Attaching a loop: to which rings, and how often. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <errno.h>
#include <unistd.h>

/* Attaches a loop to a ring with these flags. Returns the result. */
static int attach_to(unsigned flags)
{
	struct ring ring;
	struct loop loop;
	int status;

	NEED(open_ring(&ring, 8, 16, flags));
	NEED(load_loop(&loop, &ring));
	status = attach_loop(&loop);
	free_loop(&loop);
	close_ring(&ring);
	return status;
}

static void attach_needs_deferred_taskrun(void)
{
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SINGLE_ISSUER), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_COOP_TASKRUN), -EOPNOTSUPP);
	CHECK_EQ(attach_to(LOOP_RING), 0);
	CHECK_EQ(attach_to(LOOP_RING & ~IORING_SETUP_NO_SQARRAY), 0);
	CHECK_EQ(attach_to(LOOP_RING | IORING_SETUP_SQ_REWIND), 0);
}

static void attach_refuses_polling(void)
{
	CHECK_EQ(attach_to(LOOP_RING | IORING_SETUP_IOPOLL), -EOPNOTSUPP);
	CHECK_EQ(attach_to(IORING_SETUP_CQSIZE | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQPOLL), -EOPNOTSUPP);
}

static void attach_needs_a_ring(void)
{
	struct ring ring, wrong;
	struct loop loop;
	int pipes[2];

	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	wrong = ring;
	wrong.fd = 1000;
	NEED(load_loop(&loop, &wrong));
	CHECK_EQ(attach_loop(&loop), -EBADF);
	free_loop(&loop);

	NEED(pipe(pipes));
	wrong.fd = pipes[0];
	NEED(load_loop(&loop, &wrong));
	CHECK_EQ(attach_loop(&loop), -EOPNOTSUPP);
	free_loop(&loop);
}

static void attach_needs_a_step(void)
{
	struct ring ring;
	struct loop loop;

	if (lacks(ONLY_IN_OURS))
		SKIP("kernels up to 7.3 refuse it, but also warn");
	NEED(open_ring(&ring, 8, 16, LOOP_RING));
	NEED(load_loop_without_step(&loop, &ring));
	CHECK_EQ(attach_loop(&loop), -EINVAL);
	free_loop(&loop);
	/* The ring can have a loop afterwards. */
	NEED(load_loop(&loop, &ring));
	CHECK_EQ(attach_loop(&loop), 0);
	free_loop(&loop);
	close_ring(&ring);
}

static void a_ring_has_one_loop(void)
{
	struct setup setup;
	struct loop second;

	make_setup(&setup);
	NEED(load_loop(&second, &setup.ring));
	CHECK_EQ(attach_loop(&second), -EBUSY);
	detach_loop(&setup.loop);
	CHECK_EQ(attach_loop(&second), 0);
	CHECK_EQ(run_plan(&setup, stop_in_turn(1)), 0);
	free_loop(&second);
	end_setup(&setup);
}

static void a_loop_has_one_ring(void)
{
	struct setup setup;
	struct bpf_link *second;

	make_setup(&setup);
	/* The same ring is refused for two reasons: the ring has a loop, and the loop has a ring. */
	second = bpf_map__attach_struct_ops(setup.loop.map);
	CHECK_EQ(second ? 0 : -errno, -EBUSY);

	/* Another ring, to which the map's ring_fd now refers. 7.1 to 7.1.4 have a bug there, so the test does not try this in 7.1. */
	if (!lacks(702)) {
		struct ring other;

		NEED(open_ring(&other, 8, 16, LOOP_RING));
		NEED(dup2(other.fd, setup.ring.fd));
		second = bpf_map__attach_struct_ops(setup.loop.map);
		CHECK_EQ(second ? 0 : -errno, -EBUSY);
	}
	free_loop(&setup.loop);
}

static void attach_again_after_detach(void)
{
	struct setup setup;

	make_setup(&setup);
	*setup.ring.plan = stop_in_turn(1);
	for (int i = 1; i <= 3; i++) {
		CHECK_EQ(enter(&setup), 0);
		CHECK_EQ(setup.ring.plan->turns, i);
		detach_loop(&setup.loop);
		/* Without a loop it is an ordinary ring. */
		fill_nops(&setup.ring, 1, 1);
		CHECK_EQ(sys_enter(setup.ring.fd, 1, 1, IORING_ENTER_GETEVENTS), 1);
		CHECK_EQ(setup.ring.plan->turns, i);
		NEED(attach_loop(&setup.loop));
	}
	end_setup(&setup);
}

static void disabled_ring(void)
{
	struct setup setup;

	make_setup_with(&setup, 8, 16, IORING_SETUP_R_DISABLED);
	CHECK_EQ(run_plan(&setup, stop_in_turn(1)), -EBADFD);
	CHECK_EQ(setup.ring.plan->turns, 0);
	NEED(sys_register(setup.ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	CHECK_EQ(enter(&setup), 0);
	end_setup(&setup);
}

const struct test attach_tests[] = {
	TEST(attach_needs_deferred_taskrun), TEST(attach_refuses_polling), TEST(attach_needs_a_ring),
	TEST(attach_needs_a_step),	     TEST(a_ring_has_one_loop),	   TEST(a_loop_has_one_ring),
	TEST(attach_again_after_detach),     TEST(disabled_ring),	   END_OF_TESTS,
};
