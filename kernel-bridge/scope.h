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
 * @pidns_dev: st_dev of /proc/PID/ns/pid as stat(2) gives it
 * @pidns_ino: st_ino of it
 * @translate_uids: the tenant has a user namespace of its own; helpers report its ids
 * @host_uid_base: first id of the namespace's extent, in the initial user namespace
 * @uid_base: the same id inside of the namespace
 * @uid_count: length of the extent (ids); ids outside of it read as 65534
 * @host_gid_base: as @host_uid_base, for groups
 * @gid_base: as @uid_base, for groups
 * @gid_count: as @uid_count, for groups
 */
struct scope {
	uint64_t cgroup_id;
	uint32_t cgroup_level;
	bool translate_pids;
	uint64_t pidns_dev;
	uint64_t pidns_ino;
	bool translate_uids;
	uint32_t host_uid_base;
	uint32_t uid_base;
	uint32_t uid_count;
	uint32_t host_gid_base;
	uint32_t gid_base;
	uint32_t gid_count;
};
