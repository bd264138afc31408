/* SPDX-License-Identifier: MIT */
/*
 * The program half of kinds.c: a probe on work() of tests/programs/sample.c for every kind of map
 * that is more than an array or a hash.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 10);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 10);
	__type(value, __u64);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, __u64);
} lru SEC(".maps");

/* Smaller than what goes in. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(map_flags, BPF_F_NO_COMMON_LRU);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} lru_small SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, __u64);
} lru_cpu SEC(".maps");

struct prefix {
	__u32 bits;
	__u8 data[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 40);
	__type(key, struct prefix);
	__type(value, __u64);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 4096);
	__uint(map_extra, 7);
	__type(value, __u64);
} filter SEC(".maps");

/* What helpers answered: their number * 1000 + the error, and how often. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __s64);
	__type(value, __u64);
} answers SEC(".maps");

static __always_inline void count(void *map, const void *key)
{
	__u64 one = 1, *value = bpf_map_lookup_elem(map, key);

	if (value)
		*value += 1;
	else
		bpf_map_update_elem(map, key, &one, BPF_ANY);
}

static __always_inline void answered(__s64 number, long result)
{
	__s64 key = number * 1000 - result;

	count(&answers, &key);
}

SEC("uprobe")
int BPF_KPROBE(on_queue, __u64 number)
{
	__u64 value = 0;

	answered(1, bpf_map_push_elem(&queue, &number, 0));
	if (number % 3 == 0) {
		answered(2, bpf_map_peek_elem(&queue, &value));
		value++;
		answered(3, bpf_map_push_elem(&queue, &value, BPF_EXIST));
	}
	if (number % 4 == 0)
		answered(4, bpf_map_pop_elem(&queue, &value));
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_stack, __u64 number)
{
	__u64 value = 0;

	answered(11, bpf_map_push_elem(&stack, &number, BPF_EXIST));
	if (number % 5 == 0)
		answered(12, bpf_map_pop_elem(&stack, &value));
	answered(13, bpf_map_push_elem(&stack, &value, BPF_NOEXIST));
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_lru, __u64 number)
{
	__u64 key = number % 8;

	count(&lru, &key);
	count(&lru_cpu, &key);
	answered(21, bpf_map_update_elem(&lru_small, &number, &number, BPF_NOEXIST));
	answered(22, bpf_map_update_elem(&lru_small, &number, &key, BPF_NOEXIST));
	key = number + 1000000;
	answered(23, bpf_map_update_elem(&lru_small, &key, &key, BPF_EXIST));
	answered(24, bpf_map_delete_elem(&lru_cpu, &key));
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_trie, __u64 number)
{
	struct prefix prefix = {32, {10, number % 4, number, 1}};
	__u64 *value = bpf_map_lookup_elem(&trie, &prefix), one = 1;

	if (value)
		*value += 1;
	answered(31, value ? 0 : -1);
	prefix.bits = 8 + number % 25;
	if (number % 3)
		answered(32, bpf_map_update_elem(&trie, &prefix, &one, BPF_NOEXIST));
	else
		answered(33, bpf_map_delete_elem(&trie, &prefix));
	prefix.bits = 33;
	answered(34, bpf_map_update_elem(&trie, &prefix, &one, BPF_ANY));
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_filter, __u64 number)
{
	__u64 value = number % 100;

	/* The tool pushes 0 to 9; then these are in, too. */
	answered(41, bpf_map_peek_elem(&filter, &value));
	value = number + 5000;
	answered(42, bpf_map_push_elem(&filter, &value, 0));
	answered(43, bpf_map_push_elem(&filter, &value, BPF_EXIST));
	answered(44, bpf_map_peek_elem(&filter, &value));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
