/* SPDX-License-Identifier: MIT */
/*
 * See table.h.
 */
#include <errno.h>

#include "vm/runtime/table.h"

#define TRIES 64u /* that a reader waits for the daemon, which may be gone */

struct table_slot {
	uint64_t sequence, word;
	unsigned char key[];
};

static struct table_slot *slot_at(unsigned char *base, const struct region_map *map, uint32_t slot)
{
	return RT_PTR(base, map->data + (uint64_t)slot * map->elem_stride);
}

int table_layout(struct region_map *map, uint64_t *ret_size)
{
	uint32_t buckets = 2;

	if (map->value_size != sizeof(uint32_t) || !map->max_entries || !map->key_size)
		return -EINVAL;
	if (map->type != MAP_TYPE_HASH_OF_MAPS) {
		if (map->key_size != sizeof(uint32_t))
			return -EINVAL;
		*ret_size = (uint64_t)map->max_entries * sizeof(uint64_t);
		return 0;
	}
	if (map->max_entries > 1u << 24 || map->key_size > RT_PAGE)
		return -E2BIG;
	while (buckets < 2 * map->max_entries)
		buckets *= 2;
	map->buckets = buckets;
	map->elem_stride = (uint32_t)(sizeof(struct table_slot) + rt_align8(map->key_size));
	*ret_size = (uint64_t)buckets * map->elem_stride;
	return 0;
}

static void *resolve(unsigned char *base, uint64_t word)
{
	if (!word || word >> 32 > rt_load(&region_config(base)->mapped))
		return NULL;
	return RT_PTR(base, (uint32_t)word);
}

/* Return: 1 with the slot's word if it is the key's; 0 if it is another's; -1 if none follows. */
static int read_slot(const struct table_slot *slot, const struct region_map *map, const void *key,
		     uint64_t *ret_word)
{
	for (uint32_t i = 0; i < TRIES; i++) {
		uint64_t sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
		uint64_t word = rt_load(&slot->word);
		bool same = word > TABLE_GONE && rt_equal(slot->key, key, map->key_size);

		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (sequence & 1 || rt_load(&slot->sequence) != sequence)
			continue;
		*ret_word = word;
		return same ? 1 : word ? 0 : -1;
	}
	return 0;
}

static void *hash_of_maps_lookup(unsigned char *base, const struct region_map *map, const void *key)
{
	const uint32_t mask = map->buckets - 1;
	uint32_t at = rt_hash(key, map->key_size, map->seed);
	uint64_t word;

	for (uint32_t i = 0; i <= mask; i++, at++) {
		int r = read_slot(slot_at(base, map, at & mask), map, key, &word);

		if (r)
			return r > 0 ? resolve(base, word) : NULL;
	}
	return NULL;
}

void *table_lookup(unsigned char *base, const struct region_map *map, const void *key)
{
	const uint64_t *table = RT_PTR(base, map->data);
	uint32_t index;

	if (map->type == MAP_TYPE_HASH_OF_MAPS)
		return hash_of_maps_lookup(base, map, key);
	index = rt_get32(key);
	return index < map->max_entries ? resolve(base, rt_load(&table[index])) : NULL;
}

void table_array_write(unsigned char *base, const struct region_map *map, uint32_t slot,
		       uint64_t word)
{
	uint64_t *table = RT_PTR(base, map->data);

	__atomic_store_n(&table[slot], word, __ATOMIC_RELEASE);
}

int64_t table_hash_find(unsigned char *base, const struct region_map *map, const void *key,
			bool make)
{
	const uint32_t mask = map->buckets - 1;
	uint32_t at = rt_hash(key, map->key_size, map->seed);
	int64_t room = make ? -E2BIG : -ENOENT;

	for (uint32_t i = 0; i <= mask; i++, at++) {
		const struct table_slot *slot = slot_at(base, map, at & mask);

		if (slot->word > TABLE_GONE && rt_equal(slot->key, key, map->key_size))
			return at & mask;
		if (make && slot->word <= TABLE_GONE && room < 0)
			room = at & mask;
		if (!slot->word)
			break;
	}
	return room;
}

static void write_slot(struct table_slot *slot, const struct region_map *map, const void *key,
		       uint64_t word)
{
	__atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (key)
		rt_copy(slot->key, key, map->key_size);
	rt_store(&slot->word, word);
	__atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELEASE);
}

void table_hash_write(unsigned char *base, const struct region_map *map, uint32_t slot,
		      const void *key, uint64_t word)
{
	const uint32_t mask = map->buckets - 1;

	if (word) {
		write_slot(slot_at(base, map, slot), map, key, word);
		return;
	}
	write_slot(slot_at(base, map, slot), map, NULL, TABLE_GONE);
	/* Deleted ones that none follows need not be passed any more. */
	if (slot_at(base, map, (slot + 1) & mask)->word)
		return;
	for (; slot_at(base, map, slot)->word == TABLE_GONE; slot = (slot - 1) & mask)
		write_slot(slot_at(base, map, slot), map, NULL, 0);
}
