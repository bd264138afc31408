/* SPDX-License-Identifier: MIT */
/*
 * Pending returns, keyed by the stack slot that held the return address: right for longjmp,
 * coroutines and any number of threads, where a stack per thread runs out of step.
 *
 * Open addressing; a slot's entries lie within PROBES places of its hash. An entry is busy (slot |
 * 2) while it is filled in. Places once used are marked 1 and used again; a lookup that meets a
 * free place stops there, and only one that found nothing looks everywhere.
 */
#include "vm/runtime/local.h"

#include <sys/syscall.h>

#define PROBES 64u
#define FREE   0ull
#define USED   1ull
#define BUSY   2ull

static struct region_return *table(unsigned char *base)
{
	return (void *)(base + REGION_SHADOW);
}

static uint32_t place(uint64_t slot, uint32_t probe)
{
	uint32_t hash = (uint32_t)((slot >> 3) * 0x9e3779b97f4a7c15ull >> 40);

	return (hash + probe) % (uint32_t)REGION_RETURNS;
}

static bool take_place(struct region_return *entry, uint64_t slot)
{
	uint64_t found = __atomic_load_n(&entry->slot, __ATOMIC_RELAXED);

	return (found == FREE || found == USED) &&
	       __atomic_compare_exchange_n(&entry->slot, &found, slot | BUSY, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Whether an entry's slot holds the trampoline no more; its stack may be unmapped by now. */
static bool stale(unsigned char *base, uint64_t slot)
{
	uint64_t held = 0;
	struct {
		uint64_t base, len;
	} local = {(uint64_t)&held, sizeof(held)}, remote = {slot, sizeof(held)};
	long pid = rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);

	if (rt_syscall(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1, 0) !=
	    sizeof(held))
		return true;
	return held != (uint64_t)base + rt_header(base)->ret;
}

/* No place: entries of frames that were left by longjmp, or of threads that ended, make room. */
static __attribute__((noinline, cold)) struct region_return *reclaim(unsigned char *base,
								     uint64_t slot)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		struct region_return *entry = &table(base)[place(slot, i)];
		uint64_t found = __atomic_load_n(&entry->slot, __ATOMIC_RELAXED);

		if (found <= USED || (found & BUSY) || !stale(base, found))
			continue;
		if (__atomic_compare_exchange_n(&entry->slot, &found, slot | BUSY, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return entry;
	}
	return NULL;
}

bool rt_returns_add(unsigned char *base, uint64_t slot, uint64_t address, uint64_t stub)
{
	struct region_return *entry = NULL;
	uint64_t newest = 0;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct region_return *at = &table(base)[place(slot, i)];
		uint64_t found = __atomic_load_n(&at->slot, __ATOMIC_RELAXED);

		if (found == slot && at->sequence > newest)
			newest = at->sequence;
		if (!entry && take_place(at, slot))
			entry = at;
		if (found == FREE)
			break;
	}
	if (!entry)
		entry = reclaim(base, slot);
	if (!entry)
		return false;
	entry->address = address;
	entry->stub = stub;
	entry->sequence = newest + 1;
	__atomic_store_n(&entry->slot, slot, __ATOMIC_RELEASE);
	return true;
}

static struct region_return *newest_of(unsigned char *base, uint64_t slot, uint32_t probes,
				       bool stop)
{
	struct region_return *best = NULL;

	for (uint32_t i = 0; i < probes; i++) {
		struct region_return *at = &table(base)[place(slot, i)];
		uint64_t found = __atomic_load_n(&at->slot, __ATOMIC_ACQUIRE);

		if (found == slot && (!best || at->sequence > best->sequence))
			best = at;
		if (found == FREE && stop)
			break;
	}
	return best;
}

static void give_place(unsigned char *base, struct region_return *entry)
{
	const struct region_return *next =
		&table(base)[(size_t)(entry - table(base) + 1) % REGION_RETURNS];

	/* Free again when nothing can lie behind it, so that lookups stay short. Should somebody
	 * take the next place at this moment, its lookup goes the long way. */
	__atomic_store_n(&entry->slot,
			 __atomic_load_n(&next->slot, __ATOMIC_RELAXED) == FREE ? FREE : USED,
			 __ATOMIC_RELEASE);
}

bool rt_returns_take(unsigned char *base, uint64_t slot, struct region_return *ret_entry)
{
	struct region_return *entry = newest_of(base, slot, PROBES, true);

	if (!entry)
		entry = newest_of(base, slot, (uint32_t)REGION_RETURNS, false);
	if (!entry)
		return false;
	*ret_entry = *entry;
	give_place(base, entry);
	return true;
}

void rt_returns_drop(unsigned char *base, uint64_t slot)
{
	struct region_return *entry;

	while ((entry = newest_of(base, slot, PROBES, true)))
		give_place(base, entry);
}
