/* SPDX-License-Identifier: MIT */
/*
 * Processes found in several rounds, each once.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/** struct pid_set - @pids: owned, free() */
struct pid_set {
	pid_t *pids;
	uint32_t cnt, cap;
};

/** pid_set_add() - at the end, unless it is there. A targets_fn (shim/targets.h) with the set as
 * @data. Return: 0 or -ENOMEM */
int pid_set_add(pid_t pid, void *data);
