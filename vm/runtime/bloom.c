/* SPDX-License-Identifier: MIT */
/*
 * BLOOM_FILTER: bits that are only ever set, so that neither locks nor an order are needed. As many
 * bits and hash functions as in the kernel (kernel/bpf/bloom_filter.c, Linux 6.18); which values
 * are taken for others differs, as it does from one of the kernel's filters to the next.
 */
#include <errno.h>

#include "vm/runtime/map.h"

#define FUNCTIONS      5u /* when the creator says nothing */
#define WORD_BITS      64u
#define BLOOM_BITS_MAX (1u << 31)

static uint32_t functions(const struct region_map *map)
{
	return map->extra ? map->extra : FUNCTIONS;
}

int bloom_layout(struct region_map *map, uint64_t *ret_size)
{
	uint64_t wanted = (uint64_t)map->max_entries * functions(map) / 5 * 7;
	uint32_t bits = WORD_BITS;

	if (wanted > BLOOM_BITS_MAX)
		return -E2BIG;
	while (bits < wanted)
		bits *= 2;
	map->buckets = bits;
	*ret_size = bits / 8;
	return 0;
}

/* The word a hash function chooses for @value, and the bit in it. */
rt_inline uint64_t *word_of(unsigned char *base, const struct region_map *map, const void *value,
			    uint32_t function, uint64_t *ret_bit)
{
	uint32_t index = rt_hash(value, map->value_size, map->seed + function) & (map->buckets - 1);

	*ret_bit = 1ull << index % WORD_BITS;
	return (uint64_t *)(base + map->data) + index / WORD_BITS;
}

int bloom_push(unsigned char *base, const struct region_map *map, const void *value, uint64_t flags)
{
	if (flags != MAP_ANY)
		return -EINVAL;
	for (uint32_t i = 0; i < functions(map); i++) {
		uint64_t bit, *word = word_of(base, map, value, i, &bit);

		if (!(rt_load(word) & bit))
			__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
	}
	return 0;
}

int bloom_peek(unsigned char *base, const struct region_map *map, const void *value)
{
	for (uint32_t i = 0; i < functions(map); i++) {
		uint64_t bit, *word = word_of(base, map, value, i, &bit);

		if (!(rt_load(word) & bit))
			return -ENOENT;
	}
	return 0;
}
