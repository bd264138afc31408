/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of tails.c: programs that go on as others.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "tails.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TAILS_RESULTS);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

/* Of a map that only one of the programs in the array uses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} seen SEC(".maps");

int step_a(struct pt_regs *ctx);
int step_b(struct pt_regs *ctx);
int step_loop(struct pt_regs *ctx);
int step_function(struct pt_regs *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STEP_STEPS);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} steps SEC(".maps") = {
	.values = {
		[STEP_A] = (void *)&step_a,
		[STEP_B] = (void *)&step_b,
		[STEP_LOOP] = (void *)&step_loop,
		[STEP_FUNCTION] = (void *)&step_function,
	},
};

static void add(__u32 which, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&results, &which);

	if (value)
		__sync_fetch_and_add(value, amount);
}

/* tails_call(which) */
SEC("uprobe")
int on_call(struct pt_regs *ctx)
{
	add(TAILS_ENTERED, 1);
	bpf_tail_call(ctx, &steps, PT_REGS_PARM1(ctx));
	add(TAILS_FAILED, 1);
	return 0;
}

SEC("uprobe")
int step_a(struct pt_regs *ctx)
{
	add(TAILS_A, 1);
	return TAILS_ANSWER;
}

SEC("uprobe")
int step_b(struct pt_regs *ctx)
{
	add(TAILS_B, 1);
	bpf_tail_call(ctx, &steps, STEP_NONE);
	bpf_tail_call(ctx, &steps, STEP_A);
	return 0;
}

SEC("uprobe")
int step_loop(struct pt_regs *ctx)
{
	add(TAILS_LOOP, 1);
	bpf_tail_call(ctx, &steps, STEP_LOOP);
	add(TAILS_LIMIT, 1);
	return 0;
}

static __attribute__((noinline)) int go_on(struct pt_regs *ctx)
{
	volatile char room[64] = {1};

	bpf_tail_call(ctx, &steps, STEP_A);
	return room[0];
}

SEC("uprobe")
int step_function(struct pt_regs *ctx)
{
	add(TAILS_BACK, go_on(ctx));
	return 0;
}

SEC("uprobe")
int step_hash(struct pt_regs *ctx)
{
	__u64 key = PT_REGS_PARM2(ctx), one = 1, *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	else if (bpf_map_update_elem(&seen, &key, &one, BPF_NOEXIST)) {
		value = bpf_map_lookup_elem(&seen, &key);
		if (value)
			__sync_fetch_and_add(value, 1);
	}
	return 0;
}

SEC("uprobe")
int step_late(struct pt_regs *ctx)
{
	add(TAILS_LATE, 1);
	return 0;
}

SEC("uprobe")
int step_later(struct pt_regs *ctx)
{
	add(TAILS_LATER, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
