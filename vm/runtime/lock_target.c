/* SPDX-License-Identifier: MIT */
/*
 * Who locks a bucket, in a traced process: the thread, so that the lock of a dead one is taken over.
 */
#include <linux/errno.h>
#include <sys/syscall.h>

#include "vm/runtime/local.h"
#include "vm/runtime/lock.h"

uint32_t rt_lock_id(void)
{
	return (uint32_t)rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

bool rt_lock_orphaned(uint32_t owner)
{
	return !(owner & RT_LOCK_DAEMON) &&
	       rt_syscall(SYS_kill, owner, 0, 0, 0, 0, 0) == -ESRCH;
}
