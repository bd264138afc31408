/* SPDX-License-Identifier: MIT */
/*
 * Who locks a bucket, in the daemon: its thread ids mean nothing in the tenant's pid namespace and
 * its tenants' nothing here, so its locks carry a mark and it takes none over. What a run that is
 * over held, the next one that wants it in a target replaces.
 */
#include <sys/syscall.h>

#include "vm/runtime/local.h"
#include "vm/runtime/lock.h"

uint32_t rt_lock_id(unsigned char *base, uint32_t slot)
{
	return (uint32_t)rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0) | RT_LOCK_DAEMON;
}

bool rt_lock_orphaned(unsigned char *base, uint32_t word)
{
	return false;
}
