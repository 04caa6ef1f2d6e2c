/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit program without a C library, for tests/compat.cpp: it opens a ring as its peer at descriptor 0 asks for it, tells the peer, waits
 * for a word, and runs the loop that the peer has attached.
 */
typedef unsigned int u32;

enum { READ = 3, WRITE = 4, EXIT = 1, SETUP = 425, ENTER = 426, REGISTER = 427 };
enum { ENABLE_RINGS = 12, REGISTER_RING_FDS = 20, GETEVENTS = 1, EINTR = 4 };

struct iovec32 {
	u32 base, length;
};

static int call(int number, u32 a, u32 b, u32 c, u32 d)
{
	int result;

	/* Six arguments, the last two of which are 0. The frame pointer is the last. */
	__asm__ volatile("push %%ebp\n\txor %%ebp, %%ebp\n\tint $0x80\n\tpop %%ebp"
			 : "=a"(result)
			 : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(0)
			 : "memory", "cc");
	return result;
}

static u32 params[30]; /* struct io_uring_params */
static const char text[2] = {'h', 'i'};
static struct iovec32 vector;

static void need(int condition)
{
	if (!condition)
		call(EXIT, 1, 0, 0, 0);
}

void _start(void)
{
	u32 told[2], update[4];
	int ring, result;

	need(call(READ, 0, (u32)params, sizeof(params), 0) == (int)sizeof(params));
	ring = call(SETUP, 8, (u32)params, 0, 0);
	need(ring >= 0);
	vector.base = (u32)text;
	vector.length = sizeof(text);
	told[0] = (u32)ring;
	told[1] = (u32)&vector;
	need(call(WRITE, 0, (u32)told, sizeof(told), 0) == (int)sizeof(told));
	need(call(WRITE, 0, (u32)params, sizeof(params), 0) == (int)sizeof(params));
	need(call(READ, 0, (u32)told, 1, 0) == 1);
	need(call(REGISTER, (u32)ring, ENABLE_RINGS, 0, 0) == 0);
	/* Kernels before 7.3 do not know the task otherwise. */
	update[0] = ~0U;
	update[1] = update[3] = 0;
	update[2] = (u32)ring;
	need(call(REGISTER, (u32)ring, REGISTER_RING_FDS, (u32)update, 1) == 1);
	do
		result = call(ENTER, (u32)ring, 0, 0, GETEVENTS);
	while (result == -EINTR);
	need(result == 0);
	call(EXIT, 0, 0, 0, 0);
}
