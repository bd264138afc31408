/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN of a program that runs in processes: in the thread that asks for it, so that it
 * is the current task and its memory is what is read, as in the kernel. It is done while the thread
 * stands at the end of its system call, whose result is what comes of it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"
#include "shim/region.h"

struct maps;
struct tracee;

/**
 * struct shim_test_run
 * @tid: whose call it is
 * @enter, @end: struct region_header.test_run, test_run_end
 * @code: of the program, offset in the region
 * @cpu: as in struct region_test_run
 * @ctx: the program's context
 * @retval_at: address where the thread wants to find what the program returns (uint32_t)
 */
struct shim_test_run {
	pid_t tid;
	uint64_t enter, end, code;
	uint32_t cpu;
	unsigned char ctx[REGION_TEST_RUN_CTX];
	uint64_t retval_at;
};

/**
 * shim_test_run() - run it in a process that has the region at @base, and make calls in
 *
 * A run that has not ended after ten seconds is taken away: what it held is as if its process had
 * been killed.
 *
 * Return: 0, or the -errno that the call returns: -EFAULT when @retval_at is not writable, -EBUSY,
 * -ENOMEM, -EINTR for a run without end; -ESRCH: the thread was killed meanwhile.
 */
int shim_test_run(struct tracee *tracee, uint64_t base, const struct shim_test_run *run,
		  struct reason *reason);
