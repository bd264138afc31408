/* SPDX-License-Identifier: MIT */
/*
 * vm_set.h for eBPF: socket filters, which the kernel runs on demand.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/vm_set.h"

struct vm_input vm_in SEC(".data.in");
vm_u64 vm_out[VM_WORDS] SEC(".data.out");

#define PROGRAM(name)                                                                              \
	SEC("socket") int bench_##name(struct __sk_buff *skb)                                      \
	{                                                                                          \
		return (int)vm_##name(&vm_in, vm_out);                                             \
	}
VM_SET(PROGRAM)

char _license[] SEC("license") = "Dual MIT/GPL";
