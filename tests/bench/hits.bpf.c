/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of hits.c: one addition in a per-CPU array for each hit.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} count SEC(".maps");

SEC("uprobe")
int enter(struct pt_regs *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&count, &zero);

	if (value)
		*value += 1;
	return 0;
}

SEC("uretprobe")
int leave(struct pt_regs *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&count, &zero);

	if (value)
		*value += 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
