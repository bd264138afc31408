/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of flow.c: what a compiler makes of loops, functions and arrays on the stack.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "flow.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOW_RESULTS);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

/* Not inlined: a function of the program. */
static __attribute__((noinline)) __u64 mix(__u64 hash, __u64 byte)
{
	return (hash ^ byte) * 0x100000001b3ull;
}

static __attribute__((noinline)) __u64 hash_of(const char *text, __u32 len)
{
	__u64 hash = 0xcbf29ce484222325ull;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_TEXT; i++) {
		if (i >= len)
			break;
		hash = mix(hash, (unsigned char)text[i]);
	}
	return hash;
}

static void add(__u32 which, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&results, &which);

	if (value)
		__sync_fetch_and_add(value, amount);
}

/* flow_text(text, len) */
SEC("uprobe")
int on_text(struct pt_regs *ctx)
{
	char text[FLOW_TEXT];
	__u32 len = PT_REGS_PARM2(ctx) & (FLOW_TEXT - 1);

	/* What was not read stays as the stack was: nothing is made of it. */
	if (bpf_probe_read_user(text, len, (const void *)PT_REGS_PARM1(ctx)) == 0)
		add(FLOW_HASH, hash_of(text, len));
	return 0;
}

/* flow_number(number): how often each of its hexadecimal digits, as a number that tells them apart
 */
SEC("uprobe")
int on_number(struct pt_regs *ctx)
{
	__u64 number = PT_REGS_PARM1(ctx), code = 0;
	__u8 counts[16] = {0};

#pragma clang loop unroll(disable)
	for (int i = 0; i < 16; i++)
		counts[(number >> (4 * i)) & 15]++;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 16; i++)
		code = code * 17 + counts[i];
	add(FLOW_DIGITS, code);
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOW_KEYS);
	__type(key, __u64);
	__type(value, __u64);
} table SEC(".maps");

struct turns {
	__u64 number, sum;
};

/* Until the sum is large enough. */
static long add_turn(__u64 turn, void *data)
{
	struct turns *turns = data;

	turns->sum += turn * turns->number;
	return turns->sum > 1000;
}

static long add_element(void *map, const void *key, void *value, void *data)
{
	struct turns *turns = data;

	turns->sum += *(const __u64 *)key * *(__u64 *)value;
	return 0;
}

static long first_element(void *map, const void *key, void *value, void *data)
{
	return 1;
}

/* flow_turns(number) */
SEC("uprobe")
int on_turns(struct pt_regs *ctx)
{
	struct turns turns = {.number = PT_REGS_PARM1(ctx) & 255};
	__u64 key = turns.number % FLOW_KEYS;
	long cnt = bpf_loop(100, add_turn, &turns, 0);

	add(FLOW_TURNS, (__u64)cnt * 1000000 + turns.sum);
	turns.sum = 0;
	bpf_map_update_elem(&table, &key, &turns.number, BPF_ANY);
	cnt = bpf_for_each_map_elem(&table, add_element, &turns, 0);
	add(FLOW_EACH, (__u64)cnt * 1000000 + turns.sum);
	cnt = bpf_for_each_map_elem(&table, first_element, 0, 0);
	add(FLOW_STOPPED, (__u64)cnt);
	return 0;
}

char _license[] SEC("license") = "GPL";
