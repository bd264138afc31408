/* SPDX-License-Identifier: MIT */
/*
 * The tenant's processes, by what they map.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/**
 * targets_find() - processes of a cgroup's subtree that map a file executable
 * @cgroup_fd: directory of cgroup v2
 * @dev, @ino: as stat() of the mapped file shows them
 * @found: called for each, in any order; a negative result ends the search and is returned
 *
 * A process may be reported twice, and one that was just born may be missed: look again.
 *
 * Return: 0 or -errno.
 */
int targets_find(int cgroup_fd, dev_t dev, ino_t ino, int (*found)(pid_t pid, void *data),
		 void *data);

/** targets_have() - whether a process maps the file behind @fd as code from its beginning on */
bool targets_have(pid_t pid, int fd);
