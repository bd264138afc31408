/* SPDX-License-Identifier: MIT */
/*
 * The program half of nested.c: counts calls in maps that it finds in maps.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "nested.h"

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NESTED_KEYS * 2);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

/* The tool exchanges what stands at 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct counts);
} buffers SEC(".maps") = {.values = {&first}};

struct numbers {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NESTED_NUMBERS);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 64);
	__type(key, __u32);
	__array(values, struct numbers);
} by_pid SEC(".maps");

struct mappable {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NESTED_NUMBERS);
	__type(key, __u32);
	__type(value, __u64);
};

/* The same of arrays that the tool may map itself. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 64);
	__type(key, __u32);
	__array(values, struct mappable);
} mapped SEC(".maps");

/* One per kind of map whose elements are not those of a hash or array. */
struct each_cpu {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} each_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct each_cpu);
} cpus SEC(".maps") = {.values = {&each_cpu}};

struct nested_totals totals;

static __always_inline void count_in_buffer(__u32 key)
{
	__u64 zero = 0, *value;
	__u32 place = 0;
	void *inner = bpf_map_lookup_elem(&buffers, &place);

	if (!inner) {
		__sync_fetch_and_add(&totals.no_buffer, 1);
		return;
	}
	value = bpf_map_lookup_elem(inner, &key);
	if (!value) {
		bpf_map_update_elem(inner, &key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(inner, &key);
	}
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		__sync_fetch_and_add(&totals.no_element, 1);
}

static __always_inline void count_by_pid(__u32 number)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	void *inner = bpf_map_lookup_elem(&by_pid, &pid);
	__u64 *value;

	if (!inner) {
		__sync_fetch_and_add(&totals.strangers, 1);
		return;
	}
	value = bpf_map_lookup_elem(inner, &number);
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline void count_mapped(__u32 number)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	void *inner = bpf_map_lookup_elem(&mapped, &pid);
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &number) : NULL;

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("uprobe")
int on_hit(struct pt_regs *ctx)
{
	__u64 number = PT_REGS_PARM1(ctx), *value;
	__u32 zero = 0;
	void *inner;

	__sync_fetch_and_add(&totals.calls, 1);
	count_in_buffer(number % NESTED_KEYS);
	count_by_pid(number % NESTED_NUMBERS);
	count_mapped(number % NESTED_NUMBERS);
	inner = bpf_map_lookup_elem(&cpus, &zero);
	value = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
	if (value)
		++*value;
	return 0;
}

/* For the test of placement: the same maps from the kernel. */
SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *ctx)
{
	__sync_fetch_and_add(&totals.kernel_calls, 1);
	count_in_buffer(0);
	return 0;
}

char _license[] SEC("license") = "GPL";
