/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN of a program that runs in processes: in the thread that asks for it, so that it
 * is the current task and its memory is what is read, as in the kernel. It is done while the thread
 * stands at the end of its system call, whose result is what comes of it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"
#include "shim/region.h"

struct tracee;
struct shim_test_run;

/**
 * struct shim_test_result - when it has run
 * @duration: of one run on average (ns)
 * @ctx, @memory: as the program left them
 */
struct shim_test_result {
	uint32_t retval, duration;
	const unsigned char *ctx, *memory;
};

/**
 * struct shim_test_run
 * @tid: whose call it is
 * @enter, @end: struct region_header.test_run, test_run_end
 * @code: of the program, offset in the region
 * @cpu, @repeat: as in struct region_test_run
 * @memory_size: what the context points to, beside itself (bytes); where there is any, all lies
 *	below 4 GiB
 * @prepare: fill in @ctx of REGION_TEST_RUN_CTX bytes, all zero, and @memory, which will be at @at
 * @finish: give the caller the results. Return: 0, or the -errno that the call returns
 * @data: theirs. Both are called in the process that has the program run, a fork of the daemon.
 */
struct shim_test_run {
	pid_t tid;
	uint64_t enter, end, code;
	uint32_t cpu, repeat;
	uint32_t memory_size;
	void (*prepare)(const struct shim_test_run *run, uint64_t at, unsigned char *ctx,
			unsigned char *memory);
	int (*finish)(const struct shim_test_run *run, const struct shim_test_result *result);
	const void *data;
};

/** shim_test_give() - write into the memory of the thread that asks, with its right to, not with
 *  ours. Return: 0 or -EFAULT. */
int shim_test_give(pid_t tid, uint64_t address, const void *buf, size_t len);

/**
 * shim_test_run() - run it in a process that has the region at @base, and make calls in
 *
 * A run that has not ended after ten seconds is taken away: what it held is as if its process had
 * been killed.
 *
 * Return: 0, or the -errno that the call returns: that of @finish, -EBUSY, -ENOMEM, -EINTR with a
 * reason for a run without end; -ESRCH: the thread was killed meanwhile.
 */
int shim_test_run(struct tracee *tracee, uint64_t base, const struct shim_test_run *run,
		  struct reason *reason);
