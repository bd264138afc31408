/* SPDX-License-Identifier: MIT */
/*
 * Between map.c and the map types. Operations know who calls: the owner of a slot, or the daemon.
 */
#pragma once

#include "vm/runtime/bytes.h"

/*
 * Types that are covered. Numbers of enum bpf_map_type; the header that has it is not freestanding.
 */
#define MAP_TYPE_HASH	      1u
#define MAP_TYPE_ARRAY	      2u
#define MAP_TYPE_PROG_ARRAY   3u
#define MAP_TYPE_PERF_ARRAY   4u
#define MAP_TYPE_PERCPU_HASH  5u
#define MAP_TYPE_PERCPU_ARRAY 6u
#define MAP_TYPE_STACK_TRACE  7u
#define MAP_TYPE_LRU_HASH     9u
#define MAP_TYPE_LRU_PERCPU   10u
#define MAP_TYPE_LPM_TRIE     11u
#define MAP_TYPE_ARRAY_OF_MAPS 12u
#define MAP_TYPE_HASH_OF_MAPS 13u
#define MAP_TYPE_QUEUE	      22u
#define MAP_TYPE_STACK	      23u
#define MAP_TYPE_RINGBUF      27u
#define MAP_TYPE_BLOOM	      30u

#define MAP_NO_PREALLOC	  1u /* BPF_F_NO_PREALLOC */
#define MAP_NO_COMMON_LRU 2u /* BPF_F_NO_COMMON_LRU */

#define MAP_ANY	    0u
#define MAP_NOEXIST 1u
#define MAP_EXIST   2u

/**
 * struct map_values - where the new value of an element comes from
 * @bytes: one value, or (@all) one per slot, each rounded up to 8 bytes
 * @slot: whose value it is in a per-CPU map
 */
struct map_values {
	const unsigned char *bytes;
	uint32_t slot;
	bool all;
};

rt_inline bool map_is_percpu(const struct region_map *map)
{
	return map->type == MAP_TYPE_PERCPU_HASH || map->type == MAP_TYPE_PERCPU_ARRAY ||
	       map->type == MAP_TYPE_LRU_PERCPU;
}

/* As tools see it. */
rt_inline uint64_t map_value_size(const struct region_map *map)
{
	return map_is_percpu(map) ? (uint64_t)map->value_stride * map->slots : map->value_size;
}

rt_inline bool map_is_lru(const struct region_map *map)
{
	return map->type == MAP_TYPE_LRU_HASH || map->type == MAP_TYPE_LRU_PERCPU;
}

rt_inline bool map_is_hash(const struct region_map *map)
{
	return map->type == MAP_TYPE_HASH || map->type == MAP_TYPE_PERCPU_HASH || map_is_lru(map);
}

rt_inline bool map_is_queue(const struct region_map *map)
{
	return map->type == MAP_TYPE_QUEUE || map->type == MAP_TYPE_STACK;
}

/** map_put() - write an element's value @fresh: a new element, whose other slots become 0 */
void map_put(const struct region_map *map, unsigned char *value, const struct map_values *values,
	     bool fresh);

unsigned char *array_lookup(unsigned char *base, const struct region_map *map, const void *key);
int array_update(unsigned char *base, const struct region_map *map, const void *key,
		 const struct map_values *values, uint64_t flags);
int array_next_key(const struct region_map *map, const void *key, void *ret_key);

/**
 * array_each(), hash_each() - call @act with each element's key and value, where they stand, until
 * it returns false. It may delete the element. Return: how often it was called
 */
typedef bool (*map_each_fn)(void *key, unsigned char *value, void *data);
uint64_t array_each(unsigned char *base, const struct region_map *map, map_each_fn act, void *data);
uint64_t hash_each(unsigned char *base, const struct region_map *map, map_each_fn act, void *data);

/* @slot of these: the slot the caller owns, or RT_ALL_SLOTS. A lookup of a program is a use of the
 * element, hash_read() is none. */
int hash_layout(struct region_map *map, uint64_t *ret_size);
unsigned char *hash_lookup(unsigned char *base, const struct region_map *map, const void *key);
int hash_update(unsigned char *base, const struct region_map *map, const void *key,
		const struct map_values *values, uint64_t flags, uint32_t slot);
int hash_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot);
int hash_next_key(unsigned char *base, const struct region_map *map, const void *key,
		  void *ret_key);
int hash_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value);

int hash_take(unsigned char *base, const struct region_map *map, const void *key, void *ret_value);
/** struct map_elems - room for so many keys and values as tools see them */
struct map_elems {
	void *keys, *values;
	uint32_t room;
};
int hash_bucket(unsigned char *base, const struct region_map *map, uint32_t bucket,
		const struct map_elems *elems, bool take, uint32_t *ret_cnt);

/* Keys are struct bpf_lpm_trie_key_u8. */
int lpm_layout(struct region_map *map, uint64_t *ret_size);
unsigned char *lpm_lookup(unsigned char *base, const struct region_map *map, const void *key,
			  uint32_t slot);
int lpm_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value);
int lpm_update(unsigned char *base, const struct region_map *map, const void *key,
	       const struct map_values *values, uint64_t flags, uint32_t slot);
int lpm_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot);
int lpm_next_key(unsigned char *base, const struct region_map *map, const void *key, void *ret_key);

/** queue_take() - the value that comes next @pop: and remove it
 *  @ret_value: all zero on errors */
int queue_layout(struct region_map *map, uint64_t *ret_size);
int queue_push(unsigned char *base, const struct region_map *map, const void *value, uint64_t flags,
	       uint32_t slot);
int queue_take(unsigned char *base, const struct region_map *map, void *ret_value, bool pop,
	       uint32_t slot);

int bloom_layout(struct region_map *map, uint64_t *ret_size);
int bloom_push(unsigned char *base, const struct region_map *map, const void *value,
	       uint64_t flags);
int bloom_peek(unsigned char *base, const struct region_map *map, const void *value);

/** ringbuf_layout() - only what targets map of it */
int ringbuf_layout(const struct region_map *map, uint64_t *ret_size);

int stack_layout(struct region_map *map, uint64_t *ret_size);
int stack_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value);
int stack_delete(unsigned char *base, const struct region_map *map, const void *key);
int stack_next_key(unsigned char *base, const struct region_map *map, const void *key,
		   void *ret_key);

/** map_get() - an element's value as tools see it */
void map_get(const struct region_map *map, const unsigned char *value, void *ret_value);
