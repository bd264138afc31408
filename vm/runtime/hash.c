/* SPDX-License-Identifier: MIT */
/*
 * Hash maps in memory that anybody in the tenant may scribble on.
 *
 *	[ struct head ][ buckets ][ elements, numbered from 1 ]
 *
 * A bucket is a chain of element numbers. Readers take no lock: elements are never unmapped, a
 *number is brought into bounds before it is used, and a walk that finds itself in another bucket's
 *chain (an element was freed and used again under it) starts over. Writers lock the bucket; the
 *lock says who has it, so that one whose owner is gone is taken over.
 *
 * Free elements are a stack whose head carries a counter, so that a number that was taken and given
 *back meanwhile is noticed.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <sys/syscall.h>

#include "vm/runtime/local.h"
#include "vm/runtime/lock.h"
#include "vm/runtime/map.h"

#define BUCKETS_MAX  (1u << 20)
#define LOCK_YIELDS  64u
#define LOCK_ROUNDS  64u
#define WALK_RETRIES 8u

/* @free: number of the first free element, with a counter in the upper half */
struct head {
	uint64_t free;
	uint32_t count, pad;
	uint64_t reserved[6];
};

struct bucket {
	uint32_t first;
	uint32_t lock; /* 0, or who holds it (lock.h) */
};

struct element {
	uint32_t next;
	uint32_t hash;
	unsigned char key[]; /* padded to 8, then the values */
};

static struct head *head_of(unsigned char *base, const struct region_map *map)
{
	return (void *)(base + map->data);
}

static struct bucket *bucket_of(unsigned char *base, const struct region_map *map, uint32_t hash)
{
	struct bucket *buckets = (void *)(base + map->data + sizeof(struct head));

	return &buckets[hash & (map->buckets - 1)];
}

static uint32_t key_stride(const struct region_map *map)
{
	return (map->key_size + 7) & ~7u;
}

/* @number: 1 to max_entries; whatever shared memory held is brought there. */
static struct element *element_of(unsigned char *base, const struct region_map *map,
				  uint32_t number)
{
	uint32_t index = number - 1 < map->max_entries ? number - 1 : 0;

	return (void *)(base + map->data + sizeof(struct head) +
			(uint64_t)map->buckets * sizeof(struct bucket) +
			(uint64_t)index * map->elem_stride);
}

static unsigned char *values_of(const struct region_map *map, struct element *element)
{
	return element->key + key_stride(map);
}

int rt_hash_layout(struct region_map *map)
{
	uint64_t values = (uint64_t)map->value_stride * (map->slots ? map->slots : 1);
	uint64_t stride = sizeof(struct element) + key_stride(map) + values;

	if (map->max_entries > BUCKETS_MAX || stride > UINT32_MAX)
		return -E2BIG;
	map->elem_stride = (uint32_t)stride;
	for (map->buckets = 1; map->buckets < map->max_entries;)
		map->buckets *= 2;
	map->data_size = sizeof(struct head) + (uint64_t)map->buckets * sizeof(struct bucket) +
			 stride * map->max_entries;
	return 0;
}

void rt_hash_init(unsigned char *base, const struct region_map *map)
{
	/* Elements that were never used need no chain: @count numbers them. */
	struct head *head = head_of(base, map);

	head->free = 0;
	head->count = 0;
}

/* Multiply and fold: not for adversaries, who may scribble on the chains themselves. */
static uint32_t hash_key(const struct region_map *map, const void *key)
{
	const unsigned char *at = key;
	uint64_t hash = map->seed + 0x9e3779b97f4a7c15ull;
	uint32_t left = map->key_size;

	for (; left >= 8; left -= 8, at += 8) {
		uint64_t word;

		rt_copy(&word, at, 8);
		hash = (hash ^ word) * 0xff51afd7ed558ccdull;
		hash ^= hash >> 32;
	}
	for (; left; left--)
		hash = (hash ^ *at++) * 0x100000001b3ull;
	hash ^= hash >> 29;
	hash *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(hash >> 32);
}

static bool same_key(const struct region_map *map, const struct element *element, const void *key)
{
	const unsigned char *a = element->key, *b = key;
	uint32_t left = map->key_size;

	for (; left >= 8; left -= 8, a += 8, b += 8) {
		uint64_t x, y;

		rt_copy(&x, a, 8);
		rt_copy(&y, b, 8);
		if (x != y)
			return false;
	}
	for (; left; left--)
		if (*a++ != *b++)
			return false;
	return true;
}

/* Number of the element with @key, or 0. */
static uint32_t find(unsigned char *base, const struct region_map *map, uint32_t hash,
		     const void *key)
{
	struct bucket *bucket = bucket_of(base, map, hash);

	for (uint32_t retry = 0; retry < WALK_RETRIES; retry++) {
		uint32_t number = __atomic_load_n(&bucket->first, __ATOMIC_ACQUIRE), steps = 0;

		while (number && steps++ < map->max_entries) {
			struct element *element = element_of(base, map, number);
			uint32_t other = __atomic_load_n(&element->hash, __ATOMIC_RELAXED);

			if (other == hash && same_key(map, element, key))
				return number;
			if ((other ^ hash) & (map->buckets - 1))
				break; /* freed and used again under us */
			number = __atomic_load_n(&element->next, __ATOMIC_ACQUIRE);
		}
		if (!number)
			return 0;
	}
	return 0;
}

unsigned char *rt_hash_find(unsigned char *base, const struct region_map *map, const void *key)
{
	uint32_t number = find(base, map, hash_key(map, key), key);

	return number ? values_of(map, element_of(base, map, number)) : NULL;
}

/* Lock a bucket, in bounded time. */
static bool lock(unsigned char *base, struct bucket *bucket, uint32_t slot)
{
	const uint32_t mine = rt_lock_id(base, slot);

	for (uint32_t round = 0; round < LOCK_ROUNDS; round++) {
		uint32_t owner = 0;

		for (uint32_t i = 0; i < LOCK_YIELDS; i++) {
			owner = 0;
			if (__atomic_compare_exchange_n(&bucket->lock, &owner, mine, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return true;
			rt_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		}
		if (rt_lock_orphaned(base, owner) &&
		    __atomic_compare_exchange_n(&bucket->lock, &owner, mine, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static void unlock(struct bucket *bucket)
{
	__atomic_store_n(&bucket->lock, 0, __ATOMIC_RELEASE);
}

/* A free element, or 0. */
static uint32_t take_free(unsigned char *base, const struct region_map *map)
{
	struct head *head = head_of(base, map);
	uint64_t free = __atomic_load_n(&head->free, __ATOMIC_ACQUIRE);
	uint32_t count;

	for (uint32_t tries = 0; (uint32_t)free && tries < map->max_entries; tries++) {
		uint32_t next = __atomic_load_n(&element_of(base, map, (uint32_t)free)->next,
						__ATOMIC_RELAXED);
		uint64_t want = ((free >> 32) + 1) << 32 | next;

		if (__atomic_compare_exchange_n(&head->free, &free, want, false, __ATOMIC_ACQUIRE,
						__ATOMIC_ACQUIRE)) {
			uint32_t number = (uint32_t)free;

			return number <= map->max_entries ? number : 0;
		}
	}
	count = __atomic_load_n(&head->count, __ATOMIC_RELAXED);
	while (count < map->max_entries)
		if (__atomic_compare_exchange_n(&head->count, &count, count + 1, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return count + 1;
	return 0;
}

static void give_free(unsigned char *base, const struct region_map *map, uint32_t number)
{
	struct head *head = head_of(base, map);
	struct element *element = element_of(base, map, number);
	uint64_t free = __atomic_load_n(&head->free, __ATOMIC_RELAXED), want;

	do {
		__atomic_store_n(&element->next, (uint32_t)free, __ATOMIC_RELAXED);
		want = ((free >> 32) + 1) << 32 | number;
	} while (!__atomic_compare_exchange_n(&head->free, &free, want, false, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

/* A new element's values: one slot's, the others zero; or all of them. */
static void set_values(const struct region_map *map, unsigned char *values, const void *value,
		       uint32_t slot, bool fresh)
{
	if (!map->slots) {
		rt_copy(values, value, map->value_size);
		return;
	}
	if (slot == RT_ALL_SLOTS) {
		rt_copy(values, value, (size_t)map->value_stride * map->slots);
		return;
	}
	if (fresh)
		rt_zero(values, (size_t)map->value_stride * map->slots);
	rt_copy(values + (size_t)slot * map->value_stride, value, map->value_size);
}

static int insert(unsigned char *base, const struct region_map *map, struct bucket *bucket,
		  uint32_t hash, const void *key, const void *value, uint32_t slot)
{
	uint32_t number = take_free(base, map);
	struct element *element;

	if (!number)
		return -E2BIG;
	element = element_of(base, map, number);
	__atomic_store_n(&element->hash, hash, __ATOMIC_RELAXED);
	rt_copy(element->key, key, map->key_size);
	set_values(map, values_of(map, element), value, slot, true);
	__atomic_store_n(&element->next, bucket->first, __ATOMIC_RELAXED);
	/* A reader that finds the number finds the rest as well. */
	__atomic_store_n(&bucket->first, number, __ATOMIC_RELEASE);
	return 0;
}

int rt_hash_update(unsigned char *base, const struct region_map *map, const void *key,
		   const void *value, uint64_t flags, uint32_t slot)
{
	uint32_t hash = hash_key(map, key), number;
	struct bucket *bucket = bucket_of(base, map, hash);
	int r = 0;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (!lock(base, bucket, slot))
		return -EBUSY;
	number = find(base, map, hash, key);
	if (number && flags == BPF_NOEXIST)
		r = -EEXIST;
	else if (!number && flags == BPF_EXIST)
		r = -ENOENT;
	else if (number)
		set_values(map, values_of(map, element_of(base, map, number)), value, slot, false);
	else
		r = insert(base, map, bucket, hash, key, value, slot);
	unlock(bucket);
	return r;
}

/* Take @number out of its chain; the caller holds the lock. */
static bool unlink_element(unsigned char *base, const struct region_map *map, struct bucket *bucket,
			   uint32_t number)
{
	uint32_t *from = &bucket->first;

	for (uint32_t steps = 0; steps <= map->max_entries; steps++) {
		uint32_t at = __atomic_load_n(from, __ATOMIC_RELAXED);
		struct element *element = element_of(base, map, at);

		if (!at)
			return false;
		if (at == number) {
			__atomic_store_n(from, __atomic_load_n(&element->next, __ATOMIC_RELAXED),
					 __ATOMIC_RELEASE);
			return true;
		}
		from = &element->next;
	}
	return false;
}

int rt_hash_delete(unsigned char *base, const struct region_map *map, const void *key,
		   uint32_t slot)
{
	uint32_t hash = hash_key(map, key), number;
	struct bucket *bucket = bucket_of(base, map, hash);
	int r = -ENOENT;

	if (!lock(base, bucket, slot))
		return -EBUSY;
	number = find(base, map, hash, key);
	if (number && unlink_element(base, map, bucket, number)) {
		give_free(base, map, number);
		r = 0;
	}
	unlock(bucket);
	return r;
}

/* First element of the first bucket from @from on that has one. */
static uint32_t first_from(unsigned char *base, const struct region_map *map, uint32_t from)
{
	for (uint32_t i = from; i < map->buckets; i++) {
		uint32_t number =
			__atomic_load_n(&bucket_of(base, map, i)->first, __ATOMIC_ACQUIRE);

		if (number)
			return number;
	}
	return 0;
}

int rt_hash_next_key(unsigned char *base, const struct region_map *map, const void *key,
		     void *ret_key)
{
	uint32_t hash = key ? hash_key(map, key) : 0;
	uint32_t number = key ? find(base, map, hash, key) : 0, next = 0;

	/* A key that is not there, or not any more: from the beginning, as the kernel does. */
	if (number)
		next = __atomic_load_n(&element_of(base, map, number)->next, __ATOMIC_ACQUIRE);
	if (!next)
		next = first_from(base, map, number ? (hash & (map->buckets - 1)) + 1 : 0);
	if (!next)
		return -ENOENT;
	rt_copy(ret_key, element_of(base, map, next)->key, map->key_size);
	return 0;
}
