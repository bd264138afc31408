/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of inner.c: counts in maps that it looks up in maps.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "inner.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INNER_RESULTS);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} first SEC(".maps");

struct table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INNER_KEYS);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

/* By place: hashes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, INNER_SLOTS);
	__type(key, __u32);
	__array(values, struct counts);
} outer SEC(".maps") = {.values = {[0] = &first}};

/* By name: arrays. */
struct name {
	__u64 a, b;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 20);
	__type(key, struct name);
	__array(values, struct table);
} named SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} late SEC(".maps");

/* Large: not within what processes have mapped before the program came. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, __u64);
} own SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, __u64);
	__type(value, __u64);
} own_hash SEC(".maps");

static void add(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&results, &which);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* inner_place(slot, key) */
SEC("uprobe")
int on_place(struct pt_regs *ctx)
{
	__u32 slot = PT_REGS_PARM1(ctx);
	__u64 key = PT_REGS_PARM2(ctx), one = 1, *value;
	void *map = bpf_map_lookup_elem(&outer, &slot);

	add(INNER_ENTERED);
	if (!map) {
		add(INNER_NONE);
		return 0;
	}
	value = bpf_map_lookup_elem(map, &key);
	if (!value && bpf_map_update_elem(map, &key, &one, BPF_NOEXIST) == 0)
		return 0;
	value = bpf_map_lookup_elem(map, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		add(INNER_MISS);
	return 0;
}

/* inner_name(a, key) */
SEC("uprobe")
int on_name(struct pt_regs *ctx)
{
	struct name name = {.a = PT_REGS_PARM1(ctx), .b = ~PT_REGS_PARM1(ctx)};
	void *map = bpf_map_lookup_elem(&named, &name);
	__u32 key = PT_REGS_PARM2(ctx);
	__u64 *value;

	add(INNER_ENTERED);
	if (!map) {
		add(INNER_NONE);
		bpf_tail_call(ctx, &late, 0);
		return 0;
	}
	value = bpf_map_lookup_elem(map, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		add(INNER_MISS);
	return 0;
}

SEC("uprobe")
int on_late(struct pt_regs *ctx)
{
	__u32 last = 99999;
	__u64 key = PT_REGS_PARM1(ctx) % 50000, one = 1;
	__u64 *value = bpf_map_lookup_elem(&own, &last);

	if (value)
		__sync_fetch_and_add(value, 1);
	bpf_map_update_elem(&own_hash, &key, &one, BPF_ANY);
	add(INNER_LATE);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
