/* SPDX-License-Identifier: MIT */
/*
 * Who locks a bucket, in a traced process: a run of a program, by its slot and a digest of the
 * slot's owner. A slot whose owner has changed tells that the run is over: it was killed, or left
 * by a jump.
 */
#include <linux/errno.h>
#include <sys/syscall.h>

#include "vm/runtime/local.h"
#include "vm/runtime/lock.h"

#define SLOT_BITS 8
static_assert(REGION_SLOTS_MAX <= 1u << SLOT_BITS, "a slot fits its bits");

/* 22 bits, and one that keeps the word from being 0. */
static uint32_t digest(uint64_t owner)
{
	return ((uint32_t)(owner * 0x9e3779b97f4a7c15ull >> 42) | 1u << 22) << SLOT_BITS;
}

uint32_t rt_lock_id(unsigned char *base, uint32_t slot)
{
	return digest(rt_shared(base)->slots[slot].owner) | slot;
}

bool rt_lock_orphaned(unsigned char *base, uint32_t word)
{
	uint32_t slot = word & ((1u << SLOT_BITS) - 1);
	uint64_t owner;

	if (word & RT_LOCK_DAEMON)
		return false;
	if (slot >= rt_header(base)->slots)
		return true;
	owner = __atomic_load_n(&rt_shared(base)->slots[slot].owner, __ATOMIC_RELAXED);
	return (digest(owner) | slot) != word ||
	       rt_syscall(SYS_kill, (long)(owner >> 32), 0, 0, 0, 0, 0) == -ESRCH;
}
