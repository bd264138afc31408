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
	*ret_size = (uint64_t)buckets * map->elem_stride + sizeof(uint64_t);
	return 0;
}

/* How often an entry was moved, behind the slots. */
static uint64_t *moves_of(unsigned char *base, const struct region_map *map)
{
	return RT_PTR(base, map->data + (uint64_t)map->buckets * map->elem_stride);
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
		bool same = word && rt_equal(slot->key, key, map->key_size);

		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (sequence & 1 || rt_load(&slot->sequence) != sequence)
			continue;
		*ret_word = word;
		return same ? 1 : word ? 0 : -1;
	}
	return 0;
}

/* Return: whether the key was found. */
static bool scan(unsigned char *base, const struct region_map *map, const void *key,
		 uint64_t *ret_word)
{
	const uint32_t mask = map->buckets - 1;
	uint32_t at = rt_hash(key, map->key_size, map->seed);

	for (uint32_t i = 0; i <= mask; i++, at++) {
		int r = read_slot(slot_at(base, map, at & mask), map, key, ret_word);

		if (r)
			return r > 0;
	}
	return false;
}

/* One that was passed while it moved is looked for again: it stood in one place or the other all the
 * time, and cannot have been missed if none has moved. */
static void *hash_of_maps_lookup(unsigned char *base, const struct region_map *map, const void *key)
{
	const uint64_t *moves = moves_of(base, map);
	uint64_t word;

	for (uint32_t i = 0; i < TRIES; i++) {
		uint64_t before = __atomic_load_n(moves, __ATOMIC_ACQUIRE);

		if (scan(base, map, key, &word))
			return resolve(base, word);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (rt_load(moves) == before)
			break;
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

	for (uint32_t i = 0; i <= mask; i++, at++) {
		const struct table_slot *slot = slot_at(base, map, at & mask);

		if (!slot->word)
			return make ? (int64_t)(at & mask) : -ENOENT;
		if (rt_equal(slot->key, key, map->key_size))
			return at & mask;
	}
	return make ? -E2BIG : -ENOENT;
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
	write_slot(slot_at(base, map, slot), map, key, word);
}

/* Where the search for the key of a slot begins. */
static uint32_t home_of(unsigned char *base, const struct region_map *map, uint32_t slot)
{
	return (uint32_t)rt_hash(slot_at(base, map, slot)->key, map->key_size, map->seed) &
	       (map->buckets - 1);
}

/*
 * What follows is moved up, so that no search passes a place that was given up. An entry is written
 * to its new place before it leaves the old one, and the count goes up in between.
 */
void table_hash_remove(unsigned char *base, const struct region_map *map, uint32_t slot,
		       table_moved_fn *moved, void *data)
{
	const uint32_t mask = map->buckets - 1;
	uint64_t *moves = moves_of(base, map);

	for (uint32_t at = (slot + 1) & mask; slot_at(base, map, at)->word; at = (at + 1) & mask) {
		const struct table_slot *entry = slot_at(base, map, at);

		if (at == slot)
			break;
		if (((at - home_of(base, map, at)) & mask) < ((at - slot) & mask))
			continue;
		write_slot(slot_at(base, map, slot), map, entry->key, entry->word);
		__atomic_store_n(moves, *moves + 1, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_RELEASE);
		moved(at, slot, data);
		slot = at;
	}
	write_slot(slot_at(base, map, slot), map, NULL, 0);
}
