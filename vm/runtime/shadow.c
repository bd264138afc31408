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
 *
 * The next function with a return address at the same place uses that same entry: it is the first
 * choice. While there is one, no other entry of that stack slot is live, because whoever made that
 * other one live would have found this one; so the search may end there. Entries freed by other
 * threads do not count for that (RECLAIMED).
 */
#include "vm/runtime/shadow.h"

#include "vm/runtime/internal.h"

#define SPILL_BUCKETS 4u   /* home and those behind it */
#define BACKOFF	      256u /* full pushes between two searches for stale entries */
#define PUSH_TRIES    4
#define FREE	      1ull
#define RECLAIMED     2ull	   /* beside FREE: by another thread than the stack's */
#define CHAINED	      (1ull << 63) /* in the sequence of the first entry: there are others */

/**
 * struct shadow_scan - what a search for room found
 * @room, @room_value: best free entry and what its slot field was
 * @root: the entry that has the real return address
 * @depth: entries of the stack slot that were live
 */
struct shadow_scan {
	struct region_return *room, *root;
	uint64_t room_value;
	uint32_t depth;
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

/*
 * @chained: the slot's entries are live; otherwise they are left from functions that were left by
 * longjmp, and freed: all of them. Return: whether the search is over.
 */
rt_inline bool scan_bucket(struct region_return *bucket, uint64_t slot, bool chained,
			   uint64_t trampoline, struct shadow_scan *scan)
{
	for (uint32_t i = 0; i < REGION_RETURN_BUCKET; i++) {
		struct region_return *entry = &bucket[i];
		uint64_t value = rt_load(&entry->slot);

		if (value == (slot | FREE) && !chained && !scan->depth) {
			scan->room = entry;
			scan->room_value = value;
			return true;
		}
		if (value == slot) {
			scan->depth++;
			if (entry->address != trampoline)
				scan->root = entry;
			if (chained)
				continue;
			value |= FREE;
			rt_store(&entry->slot, value);
		}
		/* Those never used first: a freed one may still be wanted (returns again). */
		if ((!value || value & FREE) && (!scan->room || (!value && scan->room_value))) {
			scan->room = entry;
			scan->room_value = value;
		}
	}
	return false;
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
		freed += __atomic_compare_exchange_n(&entry->slot, &slot, slot | FREE | RECLAIMED,
						     false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
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

rt_inline bool push_once(unsigned char *base, uint64_t slot, uint64_t stub, uint64_t trampoline,
			 bool *ret_again)
{
	uint64_t *place = (uint64_t *)slot;
	uint64_t address = *place;
	bool chained = address == trampoline;
	uint32_t home = bucket_of(slot);
	uint32_t buckets = spilled(base, home) ? SPILL_BUCKETS : 1;
	struct shadow_scan scan = {0};

	*ret_again = false;
	for (uint32_t i = 0; i < buckets; i++) {
		if (scan_bucket(bucket_at(base, home + i), slot, chained, trampoline, &scan))
			break;
	}
	if (rt_unlikely(chained && (!scan.root || scan.depth >= SHADOW_CHAIN_MAX)))
		return false;
	if (rt_unlikely(!scan.room)) {
		*ret_again = make_room(base, home, trampoline);
		return false;
	}
	rt_store(place, trampoline);
	if (rt_unlikely(!__atomic_compare_exchange_n(&scan.room->slot, &scan.room_value, slot,
						     false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))) {
		rt_store(place, address);
		*ret_again = true;
		return false;
	}
	scan.room->address = address;
	scan.room->stub = stub;
	scan.room->sequence = chained ? scan.depth : 0;
	if (rt_unlikely(chained))
		scan.root->sequence |= CHAINED; /* never 0 again while there are others */
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

/* Keeps the newest first. */
static void pending_add(struct shadow_pending *pending, uint32_t cnt,
			const struct region_return *entry)
{
	uint64_t sequence = entry->sequence & ~CHAINED;
	uint32_t at = cnt;

	for (; at && pending[at - 1].sequence < sequence; at--)
		pending[at] = pending[at - 1];
	pending[at].stub = entry->stub;
	pending[at].sequence = sequence;
}

/* No live entry has the real address: the last one freed that was for this slot. */
static uint32_t pop_again(unsigned char *base, uint64_t slot, uint64_t trampoline,
			  struct shadow_pending *ret_pending, uint64_t *ret_address)
{
	uint32_t home = bucket_of(slot);

	for (uint32_t i = 0; i < SPILL_BUCKETS * REGION_RETURN_BUCKET; i++) {
		struct region_return *entry =
			&bucket_at(base, home + i / REGION_RETURN_BUCKET)[i % REGION_RETURN_BUCKET];

		if ((rt_load(&entry->slot) & ~RECLAIMED) != (slot | FREE) ||
		    entry->address == trampoline)
			continue;
		*ret_address = entry->address;
		ret_pending[0].stub = entry->stub;
		return 1;
	}
	return 0;
}

/* Several entries, or none. */
static __attribute__((noinline)) uint32_t pop_all(unsigned char *base, uint64_t slot,
						  uint64_t trampoline,
						  struct shadow_pending *ret_pending,
						  uint64_t *ret_address)
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
	if (*ret_address)
		return cnt;
	return pop_again(base, slot, trampoline, ret_pending, ret_address);
}

uint64_t shadow_peek(unsigned char *base, uint64_t slot, uint64_t trampoline)
{
	uint32_t home = bucket_of(slot);

	for (uint32_t i = 0; i < SPILL_BUCKETS * REGION_RETURN_BUCKET; i++) {
		struct region_return *entry =
			&bucket_at(base, home + i / REGION_RETURN_BUCKET)[i % REGION_RETURN_BUCKET];

		if (rt_load(&entry->slot) == slot && entry->address != trampoline)
			return entry->address;
	}
	return 0;
}

uint32_t shadow_pop(unsigned char *base, uint64_t slot, uint64_t trampoline,
		    struct shadow_pending *ret_pending, uint64_t *ret_address)
{
	struct region_return *bucket = bucket_at(base, bucket_of(slot));

	for (uint32_t i = 0; i < REGION_RETURN_BUCKET; i++) {
		if (rt_load(&bucket[i].slot) != slot)
			continue;
		if (rt_unlikely(bucket[i].sequence))
			break;
		*ret_address = bucket[i].address;
		ret_pending[0].stub = bucket[i].stub;
		rt_store(&bucket[i].slot, slot | FREE);
		return 1;
	}
	return pop_all(base, slot, trampoline, ret_pending, ret_address);
}
