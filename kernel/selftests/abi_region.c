// SPDX-License-Identifier: GPL-2.0
/* The memory region of a ring: registering it, mapping it, and what a step gets of all regions. */
#define _GNU_SOURCE
#include "abi.h"
#include "setup.h"

#include <sys/mman.h>

#include <errno.h>
#include <unistd.h>

/* Registers this region with a ring that has none. Returns the result. */
static int try_region(struct region_desc desc)
{
	const int fd = any_ring();
	const int status = register_region(fd, &desc);

	close(fd);
	return status;
}

static void region_refusals(void)
{
	void *memory = pages(4);
	const __u64 user = (__u64)(uintptr_t)memory;
	const int fd = any_ring();
	struct region_desc desc = {.size = 4096};
	struct region_registration registration = {.desc = (__u64)(uintptr_t)&desc};

	/* Wrong calls. */
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, NULL, 1), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 0), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 2), -EINVAL);
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, (void *)16, 1), -EFAULT);
	registration.desc = 16;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EFAULT);
	registration.desc = (__u64)(uintptr_t)&desc;
	registration.flags = 2;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	registration.flags = 1; /* wait arguments: only a disabled ring takes them, and our kernels never do */
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	registration.flags = 0;
	registration.reserved[1] = 1;
	CHECK_EQ(sys_register(fd, REGISTER_MEM_REGION, &registration, 1), -EINVAL);
	close(fd);

	/* Wrong descriptions of a region. */
	CHECK_EQ(try_region((struct region_desc){.size = 0}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 100}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = 2}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .id = 1}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .mmap_offset = 4096}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .reserved = {0, 0, 0, 1}}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .user_addr = user}), -EFAULT);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER}), -EFAULT);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user + 8}), -EINVAL);
	CHECK_EQ(try_region((struct region_desc){.size = 1ULL << 60}), -E2BIG);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = -4096ULL}),
		 -EOVERFLOW);
	/* Memory that is not mapped, and memory that is read-only. */
	munmap((char *)memory + 4096, 4096);
	CHECK_EQ(try_region((struct region_desc){.size = 3 * 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user}), -EFAULT);
	mprotect(memory, 4096, PROT_READ);
	CHECK_EQ(try_region((struct region_desc){.size = 4096, .flags = MEM_REGION_TYPE_USER, .user_addr = user}), -EFAULT);
}

static void region_once(void)
{
	const int fd = any_ring();
	struct region_desc desc = {.size = 4096};

	CHECK_EQ(register_region(fd, &desc), 0);
	desc = (struct region_desc){.size = 4096};
	CHECK_EQ(register_region(fd, &desc), -EBUSY);
	close(fd);
}

/* Nothing is registered if the kernel cannot write its answer into the description. */
static void region_needs_its_answer(void)
{
	const int fd = any_ring();
	struct region_desc *desc = pages(1);

	desc->size = 4096;
	mprotect(desc, 4096, PROT_READ);
	CHECK_EQ(register_region(fd, desc), -EFAULT);
	mprotect(desc, 4096, PROT_READ | PROT_WRITE);
	CHECK_EQ(register_region(fd, desc), 0);
	close(fd);
}

static void kernel_region_is_mapped(void)
{
	struct setup setup;
	struct region_desc desc = {.size = 16 * 4096};
	char *memory, *again;

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	/* Without a region there is nothing to map. */
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, PARAM_REGION_OFFSET) == MAP_FAILED);
	NEED(register_region(setup.ring.fd, &desc));
	CHECK_EQ(desc.mmap_offset, PARAM_REGION_OFFSET);
	memory = mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, (off_t)desc.mmap_offset);
	NEED(memory == MAP_FAILED ? -errno : 0);
	again = mmap(NULL, desc.size, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, (off_t)desc.mmap_offset);
	NEED(again == MAP_FAILED ? -errno : 0);
	for (size_t i = 0; i < desc.size; i++)
		if (memory[i])
			report(__FILE__, __LINE__, "memory[i]", memory[i], 0);
	memory[desc.size - 1] = 'y';
	CHECK_EQ(again[desc.size - 1], 'y');

	/* The loop sees the same memory. */
	setup.ring.plan = (struct plan *)memory;
	NEED(add_loop(&setup.loop, &setup.ring));
	CHECK_EQ(run_plan(&setup, stop_in_turn(5)), 0);
	CHECK_EQ(((struct plan *)again)->turns, 5);

	/* The mapping keeps the ring, and with it the region. */
	free_loop(&setup.loop);
	close_ring(&setup.ring);
	CHECK_EQ(memory[desc.size - 1], 'y');
	munmap(memory, desc.size);
	munmap(again, desc.size);
}

static void user_region_is_not_mapped(void)
{
	struct setup setup;

	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_plan(&setup.ring));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, setup.ring.fd, PARAM_REGION_OFFSET) == MAP_FAILED);
	close_ring(&setup.ring);
}

/* The kernel keeps the pages as long as the ring exists, even if the application unmaps them. */
static void user_region_is_pinned(void)
{
	struct setup setup;

	make_setup(&setup);
	*setup.ring.plan = stop_in_turn(1);
	munmap(setup.ring.plan, 4096);
	CHECK_EQ(enter(&setup), 0);
	end_setup(&setup);
}

static void missing_regions(void)
{
	struct setup setup;
	struct ring pretended;

	/* Without a memory region, the step gets NULL and stops. */
	NEED(open_ring(&setup.ring, 8, 16, LOOP_RING));
	NEED(add_loop(&setup.loop, &setup.ring));
	CHECK_EQ(enter(&setup), 0);
	free_loop(&setup.loop);

	/* The step asks for one byte more than the CQ has; then for one byte more than the SQ has. */
	NEED(add_plan(&setup.ring));
	pretended = setup.ring;
	pretended.rings_size++;
	NEED(add_loop(&setup.loop, &pretended));
	CHECK_EQ(enter(&setup), 0);
	CHECK_EQ(setup.ring.plan->cq_missing, 1);
	free_loop(&setup.loop);
	pretended = setup.ring;
	pretended.sqes_size++;
	NEED(add_loop(&setup.loop, &pretended));
	CHECK_EQ(run_plan(&setup, stop_in_turn(1)), 0);
	CHECK_EQ(setup.ring.plan->cq_missing, 0);
	CHECK_EQ(setup.ring.plan->sq_missing, 1);
	free_loop(&setup.loop);

	/* The step asks for exactly as many bytes as there are. */
	NEED(add_loop(&setup.loop, &setup.ring));
	CHECK_EQ(run_plan(&setup, stop_in_turn(1)), 0);
	CHECK_EQ(setup.ring.plan->cq_missing + setup.ring.plan->sq_missing, 0);

	/* Number 2 is the SQ. The other numbers belong to no region. */
	for (unsigned i = 0; i < 5; i++) {
		static const __u32 numbers[] = {2, 3, 4, 1000, ~0U};

		CHECK_EQ(run_plan(&setup, (struct plan){.last_turn = 1, .last_result = 1, .other_region = numbers[i]}), 0);
		CHECK_EQ(setup.ring.plan->other_region_found, i == 0);
	}
	end_setup(&setup);
}

const struct test region_tests[] = {
	TEST(region_refusals),		 TEST(region_once),
	TEST(region_needs_its_answer),	 TEST(kernel_region_is_mapped),
	TEST(user_region_is_not_mapped), TEST(user_region_is_pinned),
	TEST(missing_regions),		 END_OF_TESTS,
};
