/* SPDX-License-Identifier: MIT */
/*
 * Between hash.c, which says how such a map is built, and hash_bucket.c.
 */
#pragma once

#include "vm/runtime/map.h"

#define CHAIN_MAX   RT_BUCKET_MAX /* with a bucket per element, chains of even 16 do not occur */
#define LINE	    64u
#define LIVE	    0x80000000u
#define HEADER_SIZE 64u

struct hash_elem {
	uint32_t hash; /* LIVE and 31 bits, or 0 */
	uint32_t next; /* in the chain, or in the list of free ones */
	unsigned char key[];
};

struct hash_header {
	uint64_t free;	/* first free element, and a counter above that changes with each use */
	uint64_t fresh; /* elements below have been used at some time */
	uint64_t hand;	/* LRU: counts elements looked at; place modulo their number */
};

/** struct table - a map's parts @in_chain: bits of an element's hash that its bucket decides */
struct table {
	const struct region_map *map;
	struct hash_header *header;
	uint64_t *buckets;
	unsigned char *elems;
	uint32_t mask, in_chain;
};

rt_inline uint64_t buckets_size(const struct region_map *map)
{
	return ((uint64_t)map->buckets * sizeof(uint64_t) + LINE - 1) / LINE * LINE;
}

rt_inline uint32_t value_offset(const struct region_map *map)
{
	return (uint32_t)(sizeof(struct hash_elem) + rt_align8(map->key_size));
}

rt_inline struct table table_of(unsigned char *base, const struct region_map *map)
{
	unsigned char *data = base + map->data;
	struct table table = {
		.map = map,
		.header = (void *)data,
		.buckets = (void *)(data + HEADER_SIZE),
		.elems = data + HEADER_SIZE + buckets_size(map),
		.mask = map->buckets - 1,
		.in_chain = LIVE | (map->buckets - 1),
	};

	return table;
}

/* NULL for numbers that no element has. */
rt_inline struct hash_elem *elem_at(const struct table *table, uint32_t number)
{
	uint32_t index = number - 1;

	if (rt_unlikely(index >= table->map->max_entries))
		return NULL;
	return (void *)(table->elems + (uint64_t)index * table->map->elem_stride);
}

rt_inline unsigned char *elem_value(const struct table *table, struct hash_elem *elem)
{
	return (unsigned char *)elem + value_offset(table->map);
}

/* Whether element @number is in bucket @bucket now. */
rt_inline struct hash_elem *elem_in(const struct table *table, uint32_t number, uint32_t bucket)
{
	struct hash_elem *elem = elem_at(table, number);

	if (!elem ||
	    ((__atomic_load_n(&elem->hash, __ATOMIC_ACQUIRE) ^ (bucket | LIVE)) & table->in_chain))
		return NULL;
	return elem;
}

/** hash_elem_push() - give an element back that is in no chain */
void hash_elem_push(const struct table *table, uint32_t number);

/** hash_elem_take() - the same, and what its value is now */
rt_inline void hash_elem_take(const struct table *table, uint32_t number, void *ret_value)
{
	map_get(table->map, elem_value(table, elem_at(table, number)), ret_value);
	hash_elem_push(table, number);
}
