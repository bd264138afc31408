/* SPDX-License-Identifier: MIT */
/*
 * The first process of a command tree.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/reason.h"

/* Host uid and gid that root of an unprivileged tree is. */
#define CONTAINER_ID 65534

/**
 * struct container_options
 * @unprivileged: in new user, mount and pid namespaces under a small init
 * @cgroup_fd: directory to be born in
 * @argv: command, NULL-terminated
 * @mask: signal mask the command starts with
 */
struct container_options {
	bool unprivileged;
	int cgroup_fd;
	char *const *argv;
	sigset_t mask;
};

/**
 * struct container
 * @pid: init of an unprivileged tree, else the command itself
 * @pidfd: of @pid; owned
 * @sync_fd: the listener arrives here (fdpass_recv()); one byte back lets the tree go on; owned
 */
struct container {
	pid_t pid;
	int pidfd;
	int sync_fd;
};

/**
 * container_start() - create the process; it waits for its filter's listener to be served
 *
 * Return: 0, or -errno with a reason; nothing is left running on failure.
 */
int container_start(const struct container_options *options, struct container *ret_container,
		    struct reason *reason);

/**
 * container_exec() - in the process that becomes the command, under the filter already: restore the
 * signal mask, exec
 *
 * Return: exit status when that failed; a message is on standard error.
 */
int container_exec(char *const *argv, const sigset_t *mask);
