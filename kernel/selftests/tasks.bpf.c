// SPDX-License-Identifier: GPL-2.0
/* Counts the io-wq workers of a process, and those of them for which migration is disabled. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define PF_IO_WORKER 0x10

struct task_struct {
	unsigned int flags;
	unsigned short migration_disabled;
	int tgid;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

const volatile __u32 process;
__u32 workers, pinned;

SEC("iter/task")
int look(struct bpf_iter__task *context)
{
	const struct task_struct *task = context->task;

	if (!task || (__u32)task->tgid != process || !(task->flags & PF_IO_WORKER))
		return 0;
	workers++;
	if (task->migration_disabled)
		pinned++;
	return 0;
}
