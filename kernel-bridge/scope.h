/* SPDX-License-Identifier: MIT */
/*
 * What belongs to a tenant, in the terms a kernel program can check by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/**
 * struct scope - the tenant as the guard prologue sees it
 * @cgroup_id: cgroup v2 id (inode number) of the tenant's cgroup; its subtree is the tenant
 * @cgroup_level: depth of that cgroup, root = 0
 * @translate_pids: the tenant has a pid namespace of its own; helpers report its numbers
 * @pidns_dev: st_dev of /proc/PID/ns/pid, as bpf_get_ns_current_pid_tgid() wants it
 * @pidns_ino: st_ino of it
 */
struct scope {
	uint64_t cgroup_id;
	uint32_t cgroup_level;
	bool translate_pids;
	uint64_t pidns_dev;
	uint64_t pidns_ino;
};
