/* SPDX-License-Identifier: MIT */
/*
 * The words of a policy file and what they stand for. Data and look-ups only.
 *
 * Types are spelled as bpftool does: the kernel's constant in lower case. Numbers stand here where
 * Debian 12's headers lack the constant. Source: include/uapi/linux/bpf.h, Linux 6.18.
 */
#include "policy/internal.h"

#include <assert.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

static const char *const prog_types[] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = "socket_filter",
	[BPF_PROG_TYPE_KPROBE] = "kprobe",
	[BPF_PROG_TYPE_SCHED_CLS] = "sched_cls",
	[BPF_PROG_TYPE_SCHED_ACT] = "sched_act",
	[BPF_PROG_TYPE_TRACEPOINT] = "tracepoint",
	[BPF_PROG_TYPE_XDP] = "xdp",
	[BPF_PROG_TYPE_PERF_EVENT] = "perf_event",
	[BPF_PROG_TYPE_CGROUP_SKB] = "cgroup_skb",
	[BPF_PROG_TYPE_CGROUP_SOCK] = "cgroup_sock",
	[BPF_PROG_TYPE_LWT_IN] = "lwt_in",
	[BPF_PROG_TYPE_LWT_OUT] = "lwt_out",
	[BPF_PROG_TYPE_LWT_XMIT] = "lwt_xmit",
	[BPF_PROG_TYPE_SOCK_OPS] = "sock_ops",
	[BPF_PROG_TYPE_SK_SKB] = "sk_skb",
	[BPF_PROG_TYPE_CGROUP_DEVICE] = "cgroup_device",
	[BPF_PROG_TYPE_SK_MSG] = "sk_msg",
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = "raw_tracepoint",
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "cgroup_sock_addr",
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = "lwt_seg6local",
	[BPF_PROG_TYPE_LIRC_MODE2] = "lirc_mode2",
	[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport",
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = "flow_dissector",
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = "cgroup_sysctl",
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = "raw_tracepoint_writable",
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "cgroup_sockopt",
	[BPF_PROG_TYPE_TRACING] = "tracing",
	[BPF_PROG_TYPE_STRUCT_OPS] = "struct_ops",
	[BPF_PROG_TYPE_EXT] = "ext",
	[BPF_PROG_TYPE_LSM] = "lsm",
	[BPF_PROG_TYPE_SK_LOOKUP] = "sk_lookup",
	[BPF_PROG_TYPE_SYSCALL] = "syscall",
	[32] = "netfilter",
};

static const char *const map_types[] = {
	[BPF_MAP_TYPE_HASH] = "hash",
	[BPF_MAP_TYPE_ARRAY] = "array",
	[BPF_MAP_TYPE_PROG_ARRAY] = "prog_array",
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = "perf_event_array",
	[BPF_MAP_TYPE_PERCPU_HASH] = "percpu_hash",
	[BPF_MAP_TYPE_PERCPU_ARRAY] = "percpu_array",
	[BPF_MAP_TYPE_STACK_TRACE] = "stack_trace",
	[BPF_MAP_TYPE_CGROUP_ARRAY] = "cgroup_array",
	[BPF_MAP_TYPE_LRU_HASH] = "lru_hash",
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = "lru_percpu_hash",
	[BPF_MAP_TYPE_LPM_TRIE] = "lpm_trie",
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = "array_of_maps",
	[BPF_MAP_TYPE_HASH_OF_MAPS] = "hash_of_maps",
	[BPF_MAP_TYPE_DEVMAP] = "devmap",
	[BPF_MAP_TYPE_SOCKMAP] = "sockmap",
	[BPF_MAP_TYPE_CPUMAP] = "cpumap",
	[BPF_MAP_TYPE_XSKMAP] = "xskmap",
	[BPF_MAP_TYPE_SOCKHASH] = "sockhash",
	[BPF_MAP_TYPE_CGROUP_STORAGE] = "cgroup_storage",
	[BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = "reuseport_sockarray",
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = "percpu_cgroup_storage",
	[BPF_MAP_TYPE_QUEUE] = "queue",
	[BPF_MAP_TYPE_STACK] = "stack",
	[BPF_MAP_TYPE_SK_STORAGE] = "sk_storage",
	[BPF_MAP_TYPE_DEVMAP_HASH] = "devmap_hash",
	[BPF_MAP_TYPE_STRUCT_OPS] = "struct_ops",
	[BPF_MAP_TYPE_RINGBUF] = "ringbuf",
	[BPF_MAP_TYPE_INODE_STORAGE] = "inode_storage",
	[BPF_MAP_TYPE_TASK_STORAGE] = "task_storage",
	[BPF_MAP_TYPE_BLOOM_FILTER] = "bloom_filter",
	[BPF_MAP_TYPE_USER_RINGBUF] = "user_ringbuf",
	[32] = "cgrp_storage",
	[33] = "arena",
	[34] = "insn_array",
};
static_assert(ARRAY_SIZE(prog_types) <= POLICY_TYPE_MAX, "program types fit a set");
static_assert(ARRAY_SIZE(map_types) <= POLICY_TYPE_MAX, "map types fit a set");

static const char *const attach_kinds[POLICY_ATTACH_COUNT] = {
	[POLICY_ATTACH_UPROBE] = "uprobe",
	[POLICY_ATTACH_KPROBE] = "kprobe",
	[POLICY_ATTACH_TRACEPOINT] = "tracepoint",
	[POLICY_ATTACH_RAW_TRACEPOINT] = "raw_tracepoint",
	[POLICY_ATTACH_PERF_EVENT] = "perf_event",
	[POLICY_ATTACH_WATCHPOINT] = "watchpoint",
};

static const char *const quotas[POLICY_QUOTA_COUNT] = {
	[POLICY_QUOTA_PROGS] = "progs",		[POLICY_QUOTA_MAPS] = "maps",
	[POLICY_QUOTA_MAP_BYTES] = "map_bytes", [POLICY_QUOTA_INSNS] = "insns",
	[POLICY_QUOTA_LINKS] = "links",		[POLICY_QUOTA_EVENTS] = "events",
	[POLICY_QUOTA_BTFS] = "btfs",		[POLICY_QUOTA_CLOCK_RATE] = "clock_rate",
};

static const char *const verifiers[] = {
	[POLICY_VERIFIER_KERNEL] = "kernel",
	[POLICY_VERIFIER_USER] = "user",
	[POLICY_VERIFIER_BOTH] = "both",
};

const struct policy_names policy_verifier_names = {verifiers, ARRAY_SIZE(verifiers)};
const struct policy_names policy_prog_type_names = {prog_types, ARRAY_SIZE(prog_types)};
const struct policy_names policy_map_type_names = {map_types, ARRAY_SIZE(map_types)};
const struct policy_names policy_attach_names = {attach_kinds, ARRAY_SIZE(attach_kinds)};
const struct policy_names policy_quota_names = {quotas, ARRAY_SIZE(quotas)};

const struct policy_switch policy_switches[POLICY_SWITCH_COUNT] = {
	{"user", "deny", "allow", offsetof(struct policy, user)},
	{"kernel", "deny", "guarded", offsetof(struct policy, kernel)},
	{"kernel_memory", "deny", "allow", offsetof(struct policy, kernel_memory)},
	{"kfuncs", "deny", "allow", offsetof(struct policy, kfuncs)},
	{"host_breakpoints", "deny", "allow", offsetof(struct policy, host_breakpoints)},
	{"prefer", "kernel", "user", offsetof(struct policy, prefer_user)},
};

const struct policy_set policy_sets[POLICY_SET_COUNT] = {
	{"prog_types", "program type", &policy_prog_type_names,
	 offsetof(struct policy, prog_types)},
	{"map_types", "map type", &policy_map_type_names, offsetof(struct policy, map_types)},
	{"attach", "kind of attachment", &policy_attach_names, offsetof(struct policy, attach)},
};

const char *policy_name(const struct policy_names *names, uint32_t id)
{
	return id < names->cnt ? names->names[id] : NULL;
}

int policy_name_id(const struct policy_names *names, const char *name)
{
	for (uint32_t id = 0; id < names->cnt; id++)
		if (names->names[id] && strcmp(names->names[id], name) == 0)
			return (int)id;
	return -ENOENT;
}

int policy_helper_id(const char *name)
{
	for (uint32_t id = 1; id < POLICY_HELPER_COUNT; id++)
		if (strcmp(policy_helpers[id].name, name) == 0)
			return (int)id;
	return -ENOENT;
}

const char *policy_prog_type_name(uint32_t type)
{
	return policy_name(&policy_prog_type_names, type);
}

const char *policy_map_type_name(uint32_t type)
{
	return policy_name(&policy_map_type_names, type);
}

const char *policy_attach_name(enum policy_attach kind)
{
	return policy_name(&policy_attach_names, kind);
}
