/* SPDX-License-Identifier: MIT */
/*
 * The cgroup v2 directory that holds exactly one tenant. Membership is inherited by fork and cannot
 * be left without privilege, so it is what "the tenant's processes" means to kernel programs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"

/**
 * struct cgroup
 * @fd: the directory; owned
 * @parent_fd: directory it lies in; owned
 * @name: its name there
 * @path: path below the cgroup root, as /proc/PID/cgroup shows it
 * @id: kernel id (the directory's inode number)
 * @level: depth below the root, which is 0
 */
struct cgroup {
	int fd, parent_fd;
	char name[64];
	char path[512];
	uint64_t id;
	uint32_t level;
};

/**
 * cgroup_new() - make a fresh directory below our own cgroup
 *
 * Directories left by daemons that were killed are removed on the way.
 *
 * Return: 0, or -errno with a reason.
 */
int cgroup_new(struct cgroup **ret_cgroup, struct reason *reason);

/** cgroup_free() - close; the directory stays. Return: NULL. */
struct cgroup *cgroup_free(struct cgroup *cgroup);

/** cgroup_has_pid() - whether a process of our pid namespace lies in the subtree */
bool cgroup_has_pid(const struct cgroup *cgroup, pid_t pid);

/** cgroup_kill() - SIGKILL to every process of the subtree. Return: 0 or -errno. */
int cgroup_kill(const struct cgroup *cgroup);

/** cgroup_wait_empty() - wait until no process is left. @timeout_ms: -1 for ever.
 *  Return: 0 or -ETIMEDOUT. */
int cgroup_wait_empty(const struct cgroup *cgroup, int timeout_ms);

/** cgroup_remove() - remove the directory and what the tenant made below it. Return: 0 or -errno.
 */
int cgroup_remove(const struct cgroup *cgroup);
