/* SPDX-License-Identifier: MIT */
/*
 * CPU slots: one run owns one slot from entry to exit, so whatever is indexed by the slot can be
 * changed without atomic operations. See struct region_slot.
 */
#pragma once

#include "vm/runtime/internal.h"

#define SLOT_NONE UINT32_MAX

/** slot_claim_slow() - the general case of slot_claim() @first: slot to look at first */
uint32_t slot_claim_slow(unsigned char *base, uint32_t first, uint64_t sp);

/**
 * slot_wait_all() - until the runs that are under way have ended; for who owns no slot
 *
 * What was taken away from programs before the call is in nobody's hands behind it, but for those
 * who did not end within a tenth of a millisecond: owners may be stopped or dead.
 */
void slot_wait_all(unsigned char *base);

/*
 * The CPU this thread runs on, or ran on a moment ago (lower 12 bits), and its memory node. Only a
 * hint: where to find a free slot that no other core has in its cache. lsl reads the segment in
 * which the kernel keeps the number for processors without rdpid.
 */
#define SLOT_NODE_SHIFT 12
rt_inline uint32_t slot_cpu_value(uint32_t features)
{
	uint64_t value = 0x7b;

	if (rt_likely(features & REGION_HAS_RDPID))
		__asm__ volatile("rdpid %0" : "=r"(value));
	else
		__asm__ volatile("lsl %k0, %k0" : "+r"(value) : : "cc");
	return (uint32_t)value;
}

/*
 * 20 bits, not 0, that tell this thread from others most of the time; SLOT_THREAD_UNKNOWN if the
 * processor cannot say. Equal ones therefore prove nothing alone: see slot_near().
 */
#define SLOT_THREAD_MASK    0xfffffu
#define SLOT_THREAD_UNKNOWN 1u
rt_inline uint32_t slot_thread(uint32_t features)
{
	uint64_t fs = 0;

	if (rt_likely(features & REGION_HAS_FSGSBASE))
		__asm__ volatile("rdfsbase %0" : "=r"(fs));
	return (uint32_t)((fs * 0x9e3779b97f4a7c15ull) >> 44) | SLOT_THREAD_UNKNOWN;
}

/* Whether two owner words may be of one thread. */
rt_inline bool slot_same_thread(uint64_t a, uint64_t b)
{
	return a == b && (a & SLOT_THREAD_MASK) != SLOT_THREAD_UNKNOWN;
}

/* Whether two stack pointers can be taken to be on one stack. */
rt_inline bool slot_near(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= 0x40000;
}

rt_inline bool slot_try(struct region_slot *slot, uint64_t word, uint64_t sp)
{
	uint64_t owner = 0;

	if (!__atomic_compare_exchange_n(&slot->owner, &owner, word, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	rt_store(&slot->sp, sp);
	return true;
}

/** slot_claim_own() - own the slot of this CPU; NULL: slot_claim() may find another */
rt_inline struct region_slot *slot_claim_own(unsigned char *base, uint64_t sp, uint32_t *ret_cpu)
{
	uint32_t features = region_header(base)->features;
	uint64_t owner = rt_load(&region_cache(base)->owner);
	uint32_t cpu = slot_cpu_value(features) & ((1u << SLOT_NODE_SHIFT) - 1);
	struct region_slot *slot = &region_shared(base)->slots[cpu];

	*ret_cpu = cpu;
	if (rt_unlikely(cpu >= region_header(base)->slots || !owner))
		return NULL;
	return rt_likely(slot_try(slot, owner | slot_thread(features), sp)) ? slot : NULL;
}

/**
 * slot_claim() - own a slot
 * @sp: the application's stack pointer at the hit, by which runs of one thread are told apart
 * Return: its number; SLOT_NONE if all slots are held by owners that do not move
 */
rt_inline uint32_t slot_claim(unsigned char *base, uint64_t sp)
{
	uint32_t cpu;

	return rt_likely(slot_claim_own(base, sp, &cpu)) ? cpu : slot_claim_slow(base, cpu, sp);
}

/*
 * The end of an ownership is counted before the slot is free: whoever claims it next has another
 * number of episodes than the one that may have been found stalled. Ownership is taken away only
 * from runs that never get here, so there is nothing to check.
 */
rt_inline void slot_release(struct region_slot *slot)
{
	rt_store(&slot->sp, 0);
	rt_store(&slot->episodes, rt_load(&slot->episodes) + 1);
	__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
}
