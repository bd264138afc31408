/* SPDX-License-Identifier: MIT */
/*
 * Pending returns, keyed by the stack slot that held the return address: right with longjmp,
 * coroutines and any number of threads, without asking for a thread id.
 *
 * Buckets of 8 entries are always looked through whole, so there are no deleted markers to pile up.
 * Entries of a stack slot are changed by the thread whose stack it is, with one exception: when a
 * bucket is full, entries are freed whose stack slot does not hold the trampoline any more (the
 * function was left by longjmp, the thread is gone). The trampoline is therefore written to the
 * stack before the entry appears.
 *
 * A freed entry keeps its contents and the slot it was for (bit 0 set) until it is used again. That
 * is where a function finds its address that returns a second time, as vfork() does.
 */
#include "vm/runtime/shadow.h"

#include "vm/runtime/internal.h"

#define SPILL_BUCKETS 4u   /* home and those behind it */
#define BACKOFF	      256u /* full pushes between two searches for stale entries */
#define PUSH_TRIES    4
#define FREE	      1ull

struct shadow_scan {
	struct region_return *room; /* best free entry */
	uint64_t room_value;	    /* what its slot field was */
	uint32_t depth;		    /* live entries of the stack slot */
	uint64_t sequence;	    /* behind all of them */
};

static uint32_t bucket_of(uint64_t slot)
{
	return (uint32_t)(((slot >> 3) * 0x9e3779b97f4a7c15ull) >> 54) % REGION_RETURN_BUCKETS;
}

static struct region_return *bucket_at(unsigned char *base, uint32_t nr)
{
	struct region_return *first = RT_PTR(base, REGION_SHADOW);

	return &first[(uint64_t)(nr % REGION_RETURN_BUCKETS) * REGION_RETURN_BUCKET];
}

static bool spilled(unsigned char *base, uint32_t home)
{
	return rt_load(&region_config(base)->spilled[home / 64]) >> (home % 64) & 1;
}

/* Free entries: best the one that was for this slot already, then one never used. */
static int room_rank(uint64_t value, uint64_t slot)
{
	if (value == (slot | FREE))
		return 3;
	return value == 0 ? 2 : 1;
}

/* @chained: the slot's entries are live; otherwise they are left from a function that was left by
 * longjmp, and freed. */
static void scan_bucket(struct region_return *bucket, uint64_t slot, bool chained,
			struct shadow_scan *scan)
{
	for (uint32_t i = 0; i < REGION_RETURN_BUCKET; i++) {
		struct region_return *entry = &bucket[i];
		uint64_t value = rt_load(&entry->slot);

		if (value == slot && chained) {
			scan->depth++;
			if (entry->sequence >= scan->sequence)
				scan->sequence = entry->sequence + 1;
			continue;
		}
		if (value == slot) {
			value |= FREE;
			rt_store(&entry->slot, value);
		}
		if (value && !(value & FREE))
			continue;
		if (!scan->room || room_rank(value, slot) > room_rank(scan->room_value, slot)) {
			scan->room = entry;
			scan->room_value = value;
		}
	}
}

/* Frees stale entries of the buckets from @home on. Their stack slots may be gone altogether. */
static __attribute__((noinline)) uint32_t reclaim(unsigned char *base, uint32_t home,
						  uint64_t trampoline)
{
	uint32_t freed = 0;

	for (uint32_t i = 0; i < SPILL_BUCKETS * REGION_RETURN_BUCKET; i++) {
		struct region_return *entry =
			&bucket_at(base, home + i / REGION_RETURN_BUCKET)[i % REGION_RETURN_BUCKET];
		uint64_t slot = rt_load(&entry->slot), held = 0;

		if (!slot || slot & FREE)
			continue;
		if (rt_vm_read(&held, slot, sizeof(held)) == sizeof(held) && held == trampoline)
			continue;
		freed += __atomic_compare_exchange_n(&entry->slot, &slot, slot | FREE, false,
						     __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
	return freed;
}

/* The home bucket is full. Return: whether looking again may help. */
static __attribute__((noinline)) bool make_room(unsigned char *base, uint32_t home,
						uint64_t trampoline)
{
	struct region_cache *cache = region_cache(base);
	uint64_t full = rt_load(&cache->full);

	if (!spilled(base, home)) {
		__atomic_fetch_or(&region_config(base)->spilled[home / 64], 1ull << (home % 64),
				  __ATOMIC_RELAXED);
		return true;
	}
	if (full) {
		rt_store(&cache->full, full - 1);
		return false;
	}
	if (reclaim(base, home, trampoline))
		return true;
	rt_store(&cache->full, BACKOFF);
	return false;
}

static bool push_once(unsigned char *base, uint64_t slot, uint64_t stub, uint64_t trampoline,
		      bool *ret_again)
{
	uint64_t *place = (uint64_t *)slot;
	uint64_t address = *place;
	bool chained = address == trampoline;
	uint32_t home = bucket_of(slot);
	uint32_t buckets = spilled(base, home) ? SPILL_BUCKETS : 1;
	struct shadow_scan scan = {0};

	*ret_again = false;
	for (uint32_t i = 0; i < buckets; i++)
		scan_bucket(bucket_at(base, home + i), slot, chained, &scan);
	if (chained && (!scan.depth || scan.depth >= SHADOW_CHAIN_MAX))
		return false;
	if (!scan.room) {
		*ret_again = make_room(base, home, trampoline);
		return false;
	}
	rt_store(place, trampoline);
	if (!__atomic_compare_exchange_n(&scan.room->slot, &scan.room_value, slot, false,
					 __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
		rt_store(place, address);
		*ret_again = true;
		return false;
	}
	scan.room->address = address;
	scan.room->stub = stub;
	scan.room->sequence = scan.sequence;
	return true;
}

bool shadow_push(unsigned char *base, uint64_t slot, uint64_t stub, uint64_t trampoline)
{
	bool again = true;

	if (slot % sizeof(uint64_t))
		return false;
	for (int i = 0; i < PUSH_TRIES && again; i++) {
		if (push_once(base, slot, stub, trampoline, &again))
			return true;
	}
	return false;
}

/* Keeps the newest first; the chain is short, mostly one. */
static void pending_add(struct shadow_pending *pending, uint32_t cnt,
			const struct region_return *entry)
{
	uint32_t at = cnt;

	for (; at && pending[at - 1].sequence < entry->sequence; at--)
		pending[at] = pending[at - 1];
	pending[at].stub = entry->stub;
	pending[at].sequence = entry->sequence;
}

/* No live entry has the real address: the last one freed that was for this slot. */
static __attribute__((noinline)) uint32_t pop_again(unsigned char *base, uint64_t slot,
						    uint64_t trampoline,
						    struct shadow_pending *ret_pending,
						    uint64_t *ret_address)
{
	for (uint32_t i = 0; i < SPILL_BUCKETS * REGION_RETURN_BUCKET; i++) {
		struct region_return *entry = &bucket_at(
			base, bucket_of(slot) + i / REGION_RETURN_BUCKET)[i % REGION_RETURN_BUCKET];

		if (rt_load(&entry->slot) != (slot | FREE) || entry->address == trampoline)
			continue;
		*ret_address = entry->address;
		ret_pending[0].stub = entry->stub;
		return 1;
	}
	return 0;
}

uint32_t shadow_pop(unsigned char *base, uint64_t slot, uint64_t trampoline,
		    struct shadow_pending *ret_pending, uint64_t *ret_address)
{
	uint32_t home = bucket_of(slot);
	uint32_t entries = (spilled(base, home) ? SPILL_BUCKETS : 1) * REGION_RETURN_BUCKET;
	uint32_t cnt = 0;

	*ret_address = 0;
	for (uint32_t i = 0; i < entries; i++) {
		struct region_return *entry =
			&bucket_at(base, home + i / REGION_RETURN_BUCKET)[i % REGION_RETURN_BUCKET];

		if (rt_load(&entry->slot) != slot)
			continue;
		if (entry->address != trampoline)
			*ret_address = entry->address;
		if (cnt < SHADOW_CHAIN_MAX)
			pending_add(ret_pending, cnt++, entry);
		rt_store(&entry->slot, slot | FREE);
	}
	if (rt_likely(*ret_address))
		return cnt;
	return pop_again(base, slot, trampoline, ret_pending, ret_address);
}
