// SPDX-License-Identifier: MIT
/*
 * A plugin for QEMU (9.1 or later, software emulation) that counts how often each translated block of the guest runs, between marks that the
 * guest itself sets. Marks are instructions without effect: bench/common/marks.hpp has them.
 *
 *   qemu-system-x86_64 … -plugin count.so,out=FILE
 *
 * The guest has one processor, because -icount allows no more. FILE gets a line "section" for each pair of marks, and then a line for each block
 * that ran between them: its address, how often it ran, and the bytes of each of its instructions. A line "failed" says why counts are missing.
 *
 * No package of Debian has qemu-plugin.h. So this file declares the functions of QEMU that it calls.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
enum { QEMU_PLUGIN_CB_NO_REGS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op, qemu_plugin_u64 entry,
						       uint64_t operand);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned int, void *), int flags,
					    void *data);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int vcpu);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *data, size_t size);

EXPORT int qemu_plugin_version = 3;

#define LONGEST_INSN 15
#define MOST_INSNS 512 /* of a block, as in QEMU */
#define MOST_BLOCKS (1U << 19)
#define BUCKETS (1U << 16)

/* A block of instructions, which is the same as another one only if its bytes are. */
struct block {
	uint64_t address;
	struct block *next;
	uint32_t index; /* of its counter */
	uint32_t insns;
	uint32_t size; /* bytes that follow: the length of each instruction, then the instructions */
	uint8_t bytes[];
};

/* nopl NUMBER(%rax), which no compiler emits */
static const uint8_t mark[] = {0x0f, 0x1f, 0x80};
static const uint32_t mark_begin = 0x52530001, mark_end = 0x52530002;

static struct block *buckets[BUCKETS];
static struct qemu_plugin_scoreboard *counters; /* MOST_BLOCKS numbers of 64 bits */
static uint32_t blocks;
static bool failed;
static FILE *out;

static void on_begin(unsigned int cpu, void *unused)
{
	(void)unused;
	memset(qemu_plugin_scoreboard_find(counters, cpu), 0, MOST_BLOCKS * sizeof(uint64_t));
}

static void write_block(const struct block *block, uint64_t executed)
{
	const uint8_t *byte = block->bytes + block->insns;

	fprintf(out, "%lx %lu", block->address, executed);
	for (uint32_t i = 0; i < block->insns; i++) {
		fputc(' ', out);
		for (uint8_t n = 0; n < block->bytes[i]; n++)
			fprintf(out, "%02x", *byte++);
	}
	fputc('\n', out);
}

static void on_end(unsigned int cpu, void *unused)
{
	const uint64_t *executed = qemu_plugin_scoreboard_find(counters, cpu);

	(void)unused;
	fprintf(out, "section\n");
	for (uint32_t i = 0; i < BUCKETS; i++)
		for (const struct block *block = buckets[i]; block; block = block->next)
			if (executed[block->index])
				write_block(block, executed[block->index]);
	if (failed)
		fprintf(out, "failed: the guest ran more than %u different blocks\n", MOST_BLOCKS);
	fflush(out);
}

static struct block *find_block(uint64_t address, uint32_t insns, const uint8_t *bytes, uint32_t size)
{
	uint64_t hash = address * 0x9e3779b97f4a7c15;
	struct block **bucket, *block;

	for (uint32_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	bucket = &buckets[hash >> 48];
	for (block = *bucket; block; block = block->next)
		if (block->address == address && block->insns == insns && block->size == size &&
		    !memcmp(block->bytes, bytes, size))
			return block;
	if (blocks == MOST_BLOCKS)
		return NULL;
	block = malloc(sizeof(*block) + size);
	if (!block)
		return NULL;
	block->address = address;
	block->next = *bucket;
	block->index = blocks++;
	block->insns = insns;
	block->size = size;
	memcpy(block->bytes, bytes, size);
	*bucket = block;
	return block;
}

static void look_for_mark(struct qemu_plugin_insn *insn, const uint8_t *bytes, size_t length)
{
	uint32_t number;

	if (length != sizeof(mark) + sizeof(number) || memcmp(bytes, mark, sizeof(mark)))
		return;
	memcpy(&number, bytes + sizeof(mark), sizeof(number));
	if (number == mark_begin)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
	else if (number == mark_end)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	static uint8_t bytes[MOST_INSNS * (LONGEST_INSN + 1)];
	const size_t insns = qemu_plugin_tb_n_insns(tb);
	uint8_t *end = bytes + insns;
	const struct block *block;

	(void)id;
	if (insns > MOST_INSNS) {
		failed = true;
		return;
	}
	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const size_t length = qemu_plugin_insn_data(insn, end, LONGEST_INSN);

		look_for_mark(insn, end, length);
		bytes[i] = (uint8_t)length;
		end += length;
	}
	block = find_block(qemu_plugin_tb_vaddr(tb), (uint32_t)insns, bytes, (uint32_t)(end - bytes));
	if (!block) {
		failed = true;
		return;
	}
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
		tb, QEMU_PLUGIN_INLINE_ADD_U64, (qemu_plugin_u64){.score = counters, .offset = block->index * sizeof(uint64_t)},
		1);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "we");
	}
	if (!out) {
		perror("count.so: out=FILE");
		return -1;
	}
	counters = qemu_plugin_scoreboard_new(MOST_BLOCKS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
