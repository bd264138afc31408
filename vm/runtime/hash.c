/* SPDX-License-Identifier: MIT */
/*
 * HASH and PERCPU_HASH with all elements allocated beforehand, and their LRU kinds.
 *
 *	64 bytes	struct hash_header
 *	buckets		lock and first element (lock.h)
 *	elements	struct hash_elem, key, value or a value per slot
 *	marks		LRU: a byte per element, 1 when it was used since the hand last came by
 *
 * Elements are named by number + 1; 0 ends a chain. Lookups take no lock. An element that is given
 * back loses its mark, and one that is used again gets it after its contents: a walk that meets an
 * element without it, or one of another bucket, has left its chain and starts again.
 *
 * All of this is hostile memory: numbers are compared with the map's size before they are used, and
 * no walk is longer than CHAIN_MAX. The order of the stores is such that a process killed between
 * any two of them leaves a usable map; at worst an element is lost to it.
 *
 * What a tool takes out with its value is read between its chain and the list of free ones, when
 * the runs have ended that may have looked it up before: they add to it up to then.
 *
 * A full LRU map evicts as a clock does: a hand goes round all elements, passes over those that
 * were used, taking their marks, and stops at one that was not. Nobody holds two locks: an element
 * is evicted, then the bucket of the new key is locked again.
 */
#include <errno.h>

#include "vm/runtime/hash_table.h"
#include "vm/runtime/lock.h"
#include "vm/runtime/slot.h"

#define LOOKUP_TRIES 8
#define UPDATE_TRIES 8
#define POP_TRIES    4096
#define ENTRIES_MAX  (1u << 26)
#define EVICT_PASS   128u  /* used elements in a row that are passed over, as in the kernel */
#define EVICT_STEPS  4096u /* elements looked at, when they all are in the hands of others */
#define EVICT_YIELD  64u
#define EVICT_NS     RT_NSEC_PER_SEC /* from the first element that could not be had */

int hash_layout(struct region_map *map, uint64_t *ret_size)
{
	uint64_t stride;

	if (map->max_entries > ENTRIES_MAX || map->key_size > REGION_MAPS_SIZE)
		return -E2BIG;
	stride = value_offset(map) + (uint64_t)map->value_stride * map->slots;
	stride = (stride + 15) / 16 * 16;
	if (stride > REGION_MAPS_SIZE)
		return -E2BIG;
	map->elem_stride = (uint32_t)stride;
	map->buckets = 2;
	while (map->buckets < map->max_entries)
		map->buckets *= 2;
	*ret_size = HEADER_SIZE + buckets_size(map) + stride * map->max_entries;
	if (map_is_lru(map))
		*ret_size += rt_align8(map->max_entries);
	return 0;
}

rt_inline uint32_t key_hash(const struct region_map *map, const void *key)
{
	return rt_hash(key, map->key_size, map->seed) | LIVE;
}

/** struct place - where a walk ended @number, @elem: the element, 0 and NULL if there is none
 *  @prev: the one before it in the chain @moved: the walk left the chain */
struct place {
	struct hash_elem *elem, *prev;
	uint32_t number;
	bool moved;
};

/*
 * The next pointer counts only if the element still was in this chain after it had been read; loads
 * are not reordered with one another on this processor, acquire keeps the compiler from it.
 */
rt_inline struct place chain_find(const struct table *table, const void *key, uint32_t hash,
				  uint32_t number)
{
	struct place place = {0};

	for (uint32_t steps = 0; number && steps < CHAIN_MAX; steps++) {
		struct hash_elem *elem = elem_at(table, number);
		uint32_t found, next;

		if (rt_unlikely(!elem))
			break;
		found = __atomic_load_n(&elem->hash, __ATOMIC_ACQUIRE);
		if (rt_likely(found == hash && rt_equal(elem->key, key, table->map->key_size))) {
			place.elem = elem;
			place.number = number;
			return place;
		}
		next = __atomic_load_n(&elem->next, __ATOMIC_ACQUIRE);
		if (((found ^ hash) & table->in_chain) || rt_load(&elem->hash) != found) {
			place.moved = true;
			return place;
		}
		place.prev = elem;
		number = next;
	}
	return place;
}

/* Under the bucket's lock, where nothing moves. */
static __attribute__((noinline)) struct place
find_locked(unsigned char *base, const struct table *table, const void *key, uint32_t hash)
{
	uint64_t *bucket = &table->buckets[hash & table->mask];
	struct place place = {0};
	uint64_t word;

	if (!lock_take(base, bucket, lock_holder(base, RT_ALL_SLOTS), &word))
		return place;
	place = chain_find(table, key, hash, (uint32_t)word);
	lock_give(bucket, word, (uint32_t)word);
	return place;
}

rt_inline struct place find(unsigned char *base, const struct table *table, const void *key,
			    uint32_t hash)
{
	const uint64_t *bucket = &table->buckets[hash & table->mask];

	for (int i = 0; i < LOOKUP_TRIES; i++) {
		uint32_t head = (uint32_t)__atomic_load_n(bucket, __ATOMIC_ACQUIRE);
		struct place place = chain_find(table, key, hash, head);

		if (rt_likely(!place.moved))
			return place;
	}
	return find_locked(base, table, key, hash);
}

rt_inline unsigned char *mark_of(const struct table *table, uint32_t number)
{
	return table->elems + (uint64_t)table->map->elem_stride * table->map->max_entries + number -
	       1;
}

/* Stored only when it changes: the line is shared by 64 elements. */
rt_inline void mark(const struct table *table, uint32_t number)
{
	unsigned char *at = mark_of(table, number);

	if (!rt_load(at))
		rt_store(at, 1);
}

unsigned char *hash_lookup(unsigned char *base, const struct region_map *map, const void *key)
{
	struct table table = table_of(base, map);
	struct place place = find(base, &table, key, key_hash(map, key));

	if (!place.elem)
		return NULL;
	if (map_is_lru(map))
		mark(&table, place.number);
	return elem_value(&table, place.elem);
}

/* The counter in the upper half keeps a pop from succeeding whose next pointer is out of date. */
static uint32_t elem_pop(const struct table *table)
{
	struct hash_header *header = table->header;
	uint64_t fresh;

	for (int i = 0; i < POP_TRIES; i++) {
		uint64_t old = __atomic_load_n(&header->free, __ATOMIC_ACQUIRE);
		struct hash_elem *elem = elem_at(table, (uint32_t)old);
		uint64_t next = (old >> 32) + 1;

		if (!(uint32_t)old)
			break;
		next = next << 32 | (elem ? rt_load(&elem->next) : 0);
		if (__atomic_compare_exchange_n(&header->free, &old, next, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED) &&
		    elem)
			return (uint32_t)old;
	}
	fresh = rt_load(&header->fresh);
	while (fresh < table->map->max_entries) {
		if (__atomic_compare_exchange_n(&header->fresh, &fresh, fresh + 1, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return (uint32_t)fresh + 1;
	}
	return 0;
}

void hash_elem_push(const struct table *table, uint32_t number)
{
	struct hash_elem *elem = elem_at(table, number);
	uint64_t old = rt_load(&table->header->free);
	uint64_t next;

	__atomic_store_n(&elem->hash, 0, __ATOMIC_RELEASE);
	do {
		__atomic_store_n(&elem->next, (uint32_t)old, __ATOMIC_RELEASE);
		next = ((old >> 32) + 1) << 32 | number;
	} while (!__atomic_compare_exchange_n(&table->header->free, &old, next, false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/*
 * Adds an element at the head, @spare if there is one, and gives the lock back. -EAGAIN: it was
 * taken over.
 */
static int insert_locked(const struct table *table, const void *key, uint32_t hash,
			 const struct map_values *values, uint64_t word, uint32_t *spare)
{
	uint64_t *bucket = &table->buckets[hash & table->mask];
	uint32_t number = *spare ? *spare : elem_pop(table);
	struct hash_elem *elem = elem_at(table, number);

	if (!elem) {
		lock_give(bucket, word, (uint32_t)word);
		return -E2BIG;
	}
	*spare = 0;
	if (map_is_lru(table->map))
		rt_store(mark_of(table, number), 0);
	rt_copy(elem->key, key, table->map->key_size);
	map_put(table->map, elem_value(table, elem), values, true);
	rt_store(&elem->next, (uint32_t)word);
	__atomic_store_n(&elem->hash, hash, __ATOMIC_RELEASE);
	if (lock_give(bucket, word, number))
		return 0;
	hash_elem_push(table, number);
	return -EAGAIN;
}

/* Existing elements are changed in place; the lock keeps them from being given to another key. */
static int update_once(unsigned char *base, const struct table *table, const void *key,
		       const struct map_values *values, uint64_t flags, uint32_t holder,
		       uint32_t *spare)
{
	uint32_t hash = key_hash(table->map, key);
	uint64_t *bucket = &table->buckets[hash & table->mask];
	struct place place;
	uint64_t word;
	int r = 0;

	if (!lock_take(base, bucket, holder, &word))
		return -EBUSY;
	place = chain_find(table, key, hash, (uint32_t)word);
	if (!place.elem && flags != MAP_EXIST)
		return insert_locked(table, key, hash, values, word, spare);
	if (!place.elem)
		r = -ENOENT;
	else if (flags == MAP_NOEXIST)
		r = -EEXIST;
	else
		map_put(table->map, elem_value(table, place.elem), values, false);
	if (r == 0 && map_is_lru(table->map))
		mark(table, place.number);
	lock_give(bucket, word, (uint32_t)word);
	return r;
}

/* Takes an element out of its chain and gives the lock back. Return: false, it was taken over. */
static bool unlink_locked(uint64_t *bucket, uint64_t word, const struct place *place)
{
	uint32_t next = rt_load(&place->elem->next);

	if (!place->prev)
		return lock_give(bucket, word, next);
	__atomic_store_n(&place->prev->next, next, __ATOMIC_RELEASE);
	lock_give(bucket, word, (uint32_t)word);
	return true;
}

/* Return: whether the element stood in a chain and now is the caller's. */
static bool evict_elem(unsigned char *base, const struct table *table, uint32_t number,
		       uint32_t holder)
{
	struct place place = {.elem = elem_at(table, number), .number = number};
	uint32_t hash = __atomic_load_n(&place.elem->hash, __ATOMIC_ACQUIRE);
	uint64_t *bucket = &table->buckets[hash & table->mask];
	uint64_t word;
	uint32_t at;

	if (!(hash & LIVE) || !lock_take(base, bucket, holder, &word))
		return false;
	at = (uint32_t)word;
	for (uint32_t steps = 0; at && at != number && steps < CHAIN_MAX; steps++) {
		place.prev = elem_at(table, at);
		at = place.prev ? rt_load(&place.prev->next) : 0;
	}
	if (at != number) {
		lock_give(bucket, word, (uint32_t)word);
		return false;
	}
	if (!unlink_locked(bucket, word, &place))
		return false;
	__atomic_store_n(&place.elem->hash, 0, __ATOMIC_RELEASE);
	return true;
}

/* Return: number of an element that is the caller's, 0 if there was none to be had. */
static uint32_t evict(unsigned char *base, const struct table *table, uint32_t holder)
{
	uint64_t start = 0;

	for (uint32_t steps = 0; steps < EVICT_STEPS; steps++) {
		uint64_t hand = __atomic_fetch_add(&table->header->hand, 1, __ATOMIC_RELAXED);
		uint32_t number = (uint32_t)(hand % table->map->max_entries) + 1;

		if (steps < EVICT_PASS && rt_load(mark_of(table, number))) {
			rt_store(mark_of(table, number), 0);
			continue;
		}
		if (evict_elem(base, table, number, holder))
			return number;
		/* Each may have been waited for. */
		if (!start)
			start = rt_monotonic();
		if (rt_monotonic() - start >= EVICT_NS)
			break;
		if (steps % EVICT_YIELD == EVICT_YIELD - 1)
			rt_syscall4(__NR_sched_yield, 0, 0, 0, 0);
	}
	return 0;
}

int hash_update(unsigned char *base, const struct region_map *map, const void *key,
		const struct map_values *values, uint64_t flags, uint32_t slot)
{
	struct table table = table_of(base, map);
	uint32_t holder = lock_holder(base, slot), spare = 0;
	int r = -EAGAIN;

	if (flags > MAP_EXIST)
		return -EINVAL;
	for (int i = 0; i < UPDATE_TRIES && r == -EAGAIN; i++) {
		r = update_once(base, &table, key, values, flags, holder, &spare);
		if (r != -E2BIG || !map_is_lru(map))
			continue;
		spare = evict(base, &table, holder);
		r = spare ? -EAGAIN : -ENOMEM;
	}
	if (spare)
		hash_elem_push(&table, spare);
	return r == -EAGAIN ? -EBUSY : r;
}

/* @ret_value: NULL if nobody wants it */
static int delete_once(unsigned char *base, const struct table *table, const void *key,
		       uint32_t holder, void *ret_value)
{
	uint32_t hash = key_hash(table->map, key);
	uint64_t *bucket = &table->buckets[hash & table->mask];
	struct place place;
	uint64_t word;

	if (!lock_take(base, bucket, holder, &word))
		return -EBUSY;
	place = chain_find(table, key, hash, (uint32_t)word);
	if (!place.elem) {
		lock_give(bucket, word, (uint32_t)word);
		return -ENOENT;
	}
	if (!unlink_locked(bucket, word, &place))
		return -EAGAIN;
	if (!ret_value) {
		hash_elem_push(table, place.number);
		return 0;
	}
	slot_wait_all(base);
	hash_elem_take(table, place.number, ret_value);
	return 0;
}

static int hash_remove(unsigned char *base, const struct region_map *map, const void *key,
		       uint32_t slot, void *ret_value)
{
	struct table table = table_of(base, map);
	uint32_t holder = lock_holder(base, slot);
	int r = -EAGAIN;

	for (int i = 0; i < UPDATE_TRIES && r == -EAGAIN; i++)
		r = delete_once(base, &table, key, holder, ret_value);
	return r == -EAGAIN ? -EBUSY : r;
}

int hash_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot)
{
	return hash_remove(base, map, key, slot, NULL);
}

int hash_take(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	return hash_remove(base, map, key, RT_ALL_SLOTS, ret_value);
}

/* Key of element @number if it is in bucket @bucket and stays there while the key is read. */
static bool elem_key(const struct table *table, uint32_t number, uint32_t bucket, void *ret_key)
{
	struct hash_elem *elem = elem_at(table, number);
	uint32_t hash;

	if (!elem)
		return false;
	hash = __atomic_load_n(&elem->hash, __ATOMIC_ACQUIRE);
	if ((hash ^ (bucket | LIVE)) & table->in_chain)
		return false;
	rt_copy(ret_key, elem->key, table->map->key_size);
	return __atomic_load_n(&elem->hash, __ATOMIC_ACQUIRE) == hash;
}

/* As the kernel: from the element's successor on; the first one if @key is not there (any more). */
int hash_next_key(unsigned char *base, const struct region_map *map, const void *key, void *ret_key)
{
	struct table table = table_of(base, map);
	uint32_t hash = key ? key_hash(map, key) : 0;
	struct hash_elem *elem = key ? find(base, &table, key, hash).elem : NULL;
	uint32_t bucket = 0;

	if (elem) {
		bucket = hash & table.mask;
		if (elem_key(&table, rt_load(&elem->next), bucket, ret_key))
			return 0;
		bucket++;
	}
	for (; bucket <= table.mask; bucket++) {
		uint32_t head = (uint32_t)__atomic_load_n(&table.buckets[bucket], __ATOMIC_ACQUIRE);

		if (head && elem_key(&table, head, bucket, ret_key))
			return 0;
	}
	return -ENOENT;
}

/* With the lock: whoever replaces the value holds it. -EBUSY: as it was read without. */
static int read_locked(unsigned char *base, const struct table *table, const void *key,
		       uint32_t hash, void *ret_value)
{
	uint64_t *bucket = &table->buckets[hash & table->mask];
	struct place place;
	uint64_t word;

	if (!lock_take(base, bucket, lock_holder(base, RT_ALL_SLOTS), &word))
		return -EBUSY;
	place = chain_find(table, key, hash, (uint32_t)word);
	if (place.elem)
		map_get(table->map, elem_value(table, place.elem), ret_value);
	lock_give(bucket, word, (uint32_t)word);
	return place.elem ? 0 : -ENOENT;
}

/* Whether @copy was made of a whole value: nobody was changing it, and it still is the same.
 * Per-CPU values are changed in place in the kernel, too. */
static bool is_whole(const struct table *table, struct hash_elem *elem, const uint64_t *bucket,
		     const void *copy)
{
	if (map_is_percpu(table->map))
		return true;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(bucket, __ATOMIC_ACQUIRE) >> 32)
		return false;
	return rt_equal(elem_value(table, elem), copy, table->map->value_size);
}

int hash_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	struct table table = table_of(base, map);
	uint32_t hash = key_hash(map, key);
	const uint64_t *bucket = &table.buckets[hash & table.mask];
	bool found = false;

	for (int i = 0; i < LOOKUP_TRIES; i++) {
		struct hash_elem *elem = find(base, &table, key, hash).elem;
		bool whole;

		if (!elem)
			return -ENOENT;
		map_get(map, elem_value(&table, elem), ret_value);
		whole = is_whole(&table, elem, bucket, ret_value);
		found = __atomic_load_n(&elem->hash, __ATOMIC_ACQUIRE) == hash &&
			rt_equal(elem->key, key, map->key_size);
		if (found && whole)
			return 0;
	}
	if (!found || read_locked(base, &table, key, hash, ret_value) == -ENOENT)
		return -ENOENT;
	return 0;
}

/* A chain that goes in circles has no more elements than the map. */
uint64_t hash_each(unsigned char *base, const struct region_map *map, map_each_fn act, void *data)
{
	struct table table = table_of(base, map);
	uint64_t cnt = 0;

	for (uint32_t bucket = 0; bucket <= table.mask; bucket++) {
		uint32_t number =
			(uint32_t)__atomic_load_n(&table.buckets[bucket], __ATOMIC_ACQUIRE);
		struct hash_elem *elem;

		while (cnt < map->max_entries && (elem = elem_in(&table, number, bucket))) {
			number = rt_load(&elem->next);
			cnt++;
			if (!act(elem->key, elem_value(&table, elem), data))
				return cnt;
		}
	}
	return cnt;
}
