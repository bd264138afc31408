/* SPDX-License-Identifier: MIT */
/*
 * Whether a process is in code, or believes records, of programs and probes that are gone. They may
 * be written over only when it is not. What slots and the like say of it stands in memory that the
 * tenant's other processes write; this is what the process' own registers and stacks say.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"
#include "shim/apply.h"

/** struct shim_extent - bytes of the region */
struct shim_extent {
	uint64_t at, size;
};

/**
 * shim_is_quiet() - that no thread of @pid knows a place in @extents, or is on a stack of the
 * region's
 * @extents: ascending, @cnt of them
 * @cgroup_fd: where processes that share its memory are looked for, borrowed
 *
 * The process is stopped for that. Each register and each word of the stack is looked at, and the
 * stack that a signal handler's thread was on before; more than a megabyte of a stack is not, and
 * then the process is not quiet. Not seen: a context that a handler saved and switched away from
 * (swapcontext()) when its signal had come in the middle of a program.
 *
 * Return: 0 and @ret_quiet, -ESRCH when it is gone, and the errors of tracee_stop().
 */
int shim_is_quiet(pid_t pid, const struct shim_region *region, const struct shim_extent *extents,
		  uint32_t cnt, int cgroup_fd, bool *ret_quiet, struct reason *reason);
