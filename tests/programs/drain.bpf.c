/* SPDX-License-Identifier: MIT */
/*
 * The program half of drain.c: a probe on work() of tests/programs/sample.c counts in every kind of
 * hash, by key and in one value that programs add to where it stands.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "drain.h"

#define KEYS 16

#define COUNTER(kind, map_type)                                                                    \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(max_entries, 1024);                                                         \
		__type(key, __u64);                                                                \
		__type(value, __u64);                                                              \
	} kind SEC(".maps");                                                                       \
	SEC("uprobe") int on_##kind(struct pt_regs *ctx)                                           \
	{                                                                                          \
		return count(&kind, (__u64)PT_REGS_PARM1(ctx) % KEYS);                             \
	}

/* The second time around it is there: who was first may have lost the race for it. */
static __always_inline int count(void *map, __u64 key)
{
	__u64 one = 1, *value = bpf_map_lookup_elem(map, &key);

	if (value)
		return __sync_fetch_and_add(value, 1), 0;
	if (bpf_map_update_elem(map, &key, &one, BPF_NOEXIST) == 0)
		return 0;
	value = bpf_map_lookup_elem(map, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

COUNTER(hash, BPF_MAP_TYPE_HASH)
COUNTER(percpu, BPF_MAP_TYPE_PERCPU_HASH)
COUNTER(lru, BPF_MAP_TYPE_LRU_HASH)
COUNTER(lru_percpu, BPF_MAP_TYPE_LRU_PERCPU_HASH)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

struct prefix {
	__u32 bits;
	__u8 data[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 10);
	__type(key, struct prefix);
	__type(value, __u64);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 10);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 127 * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps"), noise SEC(".maps");

struct block {
	unsigned char bytes[8192];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct block);
} blocks SEC(".maps");

/* What the output of an event returned behind more than a ring holds. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __s64);
} answers SEC(".maps");

/* Uses the others, so that they are where its like are. */
SEC("uprobe") int on_others(struct pt_regs *ctx)
{
	__u32 index = 9;
	__u64 *value = bpf_map_lookup_elem(&array, &index), call = PT_REGS_PARM1(ctx);
	struct prefix prefix = {32, {1, 2, 3, 4}};

	if (value)
		*value += 1;
	if (bpf_map_lookup_elem(&trie, &prefix))
		bpf_map_push_elem(&queue, &call, 0);
	bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	return 0;
}

/* Events, as large as the ring holds no more if asked for. */
SEC("uprobe") int on_events(struct pt_regs *ctx)
{
	__u64 call = PT_REGS_PARM1(ctx);
	__u32 zero = 0;
	struct block *block = bpf_map_lookup_elem(&blocks, &zero);
	__s64 *answer = bpf_map_lookup_elem(&answers, &zero);

	if (call == DRAIN_NOISE)
		bpf_perf_event_output(ctx, &noise, BPF_F_CURRENT_CPU, &call, sizeof(call));
	if (call == DRAIN_EVENT)
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &call, sizeof(call));
	if (!block || !answer || call != DRAIN_FLOOD)
		return 0;
#pragma unroll
	for (int i = 0; i < 20; i++)
		bpf_perf_event_output(ctx, &noise, BPF_F_CURRENT_CPU, block, sizeof(*block));
	*answer = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, block, sizeof(*block));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
