/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of helpers.c.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "helpers.h"

const char wanted[] = "0x1f";

#define RESULT(name)                                                                               \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct helpers_##name);                                              \
	} name SEC(".maps");                                                                       \
	static struct helpers_##name *get_##name(void)                                             \
	{                                                                                          \
		__u32 zero = 0;                                                                    \
                                                                                                   \
		return bpf_map_lookup_elem(&name, &zero);                                          \
	}

RESULT(text)
RESULT(stack)
RESULT(copy)
RESULT(act)

/* helpers_text(text) */
SEC("uprobe")
int on_text(struct pt_regs *ctx)
{
	struct helpers_text *text = get_text();
	char buf[HELPERS_TEXT] = {0};
	__u64 args[1];

	if (!text)
		return 0;
	bpf_probe_read_user_str(buf, sizeof(buf), (const void *)PT_REGS_PARM1(ctx));
	text->consumed = bpf_strtol(buf, sizeof(buf), 0, (long *)&args[0]);
	text->number = (long long)args[0];
	text->unsigned_consumed = bpf_strtoul(buf, sizeof(buf), 16, (unsigned long *)&args[0]);
	text->compared = bpf_strncmp(buf, 4, wanted);
	text->len = BPF_SNPRINTF(text->out, sizeof(text->out), "%s|%5lld|%-8llx|%c|%pi4|%%", buf,
				 text->number, args[0], 'z', buf);
	text->short_len = BPF_SNPRINTF(text->cut, sizeof(text->cut), "[%pus]",
				       (const void *)PT_REGS_PARM1(ctx));
	text->traced = bpf_printk("text %s is %lld", buf, text->number);
	return 0;
}

/* helpers_stack(dev, ino) */
SEC("uprobe")
int on_stack(struct pt_regs *ctx)
{
	struct helpers_stack *stack = get_stack();
	__u64 dev = PT_REGS_PARM1(ctx), ino = PT_REGS_PARM2(ctx), odd[2];
	struct bpf_pidns_info info;

	if (!stack)
		return 0;
	stack->user = bpf_get_stack(ctx, stack->ips, sizeof(stack->ips), BPF_F_USER_STACK);
	stack->skipped =
		bpf_get_stack(ctx, stack->outer, sizeof(stack->outer), BPF_F_USER_STACK | 1);
	stack->kernel = bpf_get_stack(ctx, odd, sizeof(odd), 0);
	stack->kernel_skipped = bpf_get_stack(ctx, odd, sizeof(odd), 1);
	stack->bad_flags = bpf_get_stack(ctx, odd, sizeof(odd), BPF_F_USER_STACK | 1 << 20);
	stack->odd_size = bpf_get_stack(ctx, odd, 12, BPF_F_USER_STACK);
	stack->pid_tgid = bpf_get_current_pid_tgid();
	stack->jiffies = bpf_jiffies64();
	stack->named = bpf_get_ns_current_pid_tgid(dev, ino, &info, sizeof(info));
	stack->ids[0] = info.pid;
	stack->ids[1] = info.tgid;
	stack->unnamed = bpf_get_ns_current_pid_tgid(dev, ino + 1, &info, sizeof(info));
	return 0;
}

/* helpers_copy(address) */
SEC("uprobe.s")
int on_copy(struct pt_regs *ctx)
{
	struct helpers_copy *copy = get_copy();

	if (!copy)
		return 0;
	copy->read = bpf_copy_from_user(copy->bytes, sizeof(copy->bytes),
					(const void *)PT_REGS_PARM1(ctx));
	copy->fault = bpf_copy_from_user(copy->bytes + 8, 8, (const void *)8);
	return 0;
}

/* helpers_signal(to the process, to the thread) */
SEC("uprobe")
int on_signal(struct pt_regs *ctx)
{
	struct helpers_act *act = get_act();

	if (!act)
		return 0;
	act->sent = bpf_send_signal((__u32)PT_REGS_PARM1(ctx));
	act->sent_thread = bpf_send_signal_thread((__u32)PT_REGS_PARM2(ctx));
	act->sent_bad = bpf_send_signal(65);
	return 0;
}

/* helpers_write(address, constant) */
SEC("uprobe")
int on_write(struct pt_regs *ctx)
{
	struct helpers_act *act = get_act();
	char bytes[8] = "written";

	if (!act)
		return 0;
	act->written = bpf_probe_write_user((void *)PT_REGS_PARM1(ctx), bytes, sizeof(bytes));
	act->unwritten = bpf_probe_write_user((void *)PT_REGS_PARM2(ctx), bytes, sizeof(bytes));
	return 0;
}

/* The kernel attaches this to none of its uprobes. */
SEC("uprobe")
int on_override(struct pt_regs *ctx)
{
	return (int)bpf_override_return(ctx, 1);
}

char _license[] SEC("license") = "GPL";
