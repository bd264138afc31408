/* SPDX-License-Identifier: MIT */
/*
 * Who locks a bucket, in the daemon: its thread ids mean nothing in the tenant's pid namespace and its
 * tenants' nothing here, so its locks carry a mark and it takes none over. What a dead thread of a target
 * held, the next one that wants it in a target replaces.
 */
#include <sys/syscall.h>

#include "vm/runtime/local.h"
#include "vm/runtime/lock.h"

uint32_t rt_lock_id(void)
{
	return (uint32_t)rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0) | RT_LOCK_DAEMON;
}

bool rt_lock_orphaned(uint32_t owner)
{
	return false;
}
