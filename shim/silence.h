/* SPDX-License-Identifier: MIT */
/*
 * Ending all that programs do in one process, without stopping it: it is about to get a seccomp
 * filter, and helpers make system calls which that may answer by killing it. Jumps and stubs stay,
 * and run nothing; so do return probes that are pending, and children inherit it.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "shim/region.h"

/**
 * shim_silence() - stubs of a process run nothing any more, but unwinders' pass return probes still
 * @tid: any thread of it: its first may have ended
 * @mem_fd: its /proc/TID/mem, read and write, borrowed; pins the process that is meant
 * @ret_base: where its region is, 0 if no stub ran anything
 *
 * Return: how many stubs ran something before; -ESRCH gone, -EFAULT, -ENOMEM.
 */
int shim_silence(pid_t tid, int mem_fd, uint64_t *ret_base);

/**
 * shim_wait_quiet() - until no thread of a silent process is in the middle of a hit
 * @base: from shim_silence()
 * @slots, @cnt: of the region
 *
 * A thread that runs is looked at from outside only: it has left the hit that it was in once it has
 * had time on a processor for a hundred of them, and neither owns a slot nor waits for one.
 *
 * Return: 0, -ETIMEDOUT after @timeout_ms, -ESRCH, -ENOMEM.
 */
int shim_wait_quiet(pid_t tid, uint64_t base, const struct region_slot *slots, uint32_t cnt,
		    int timeout_ms);
