/* SPDX-License-Identifier: MIT */
/*
 * Maps by type: shapes, and what programs and tools do with elements.
 *
 * The record (struct region_map) is trusted, memory is not.
 */
#include "vm/runtime/map.h"

#include <linux/bpf.h>
#include <linux/errno.h>

#include "vm/runtime/local.h"

/* What the kernel takes: KMALLOC_MAX_SIZE bounds values, MAX_BPF_STACK keys of hash maps. Source:
 * kernel/bpf/{arraymap,hashtab}.c, Linux 6.18. */
#define KEY_MAX	  512u
#define VALUE_MAX (1u << 22)

static int layout_array(struct region_map *map)
{
	if (map->key_size != sizeof(uint32_t))
		return -EINVAL;
	map->data_size =
		(uint64_t)map->value_stride * map->max_entries * (map->slots ? map->slots : 1);
	return 0;
}

int rt_map_layout(struct region_map *map, uint32_t slots)
{
	if (!map->key_size || !map->value_size || !map->max_entries)
		return -EINVAL;
	if (map->key_size > KEY_MAX || map->value_size > VALUE_MAX)
		return -E2BIG;
	map->value_stride = (map->value_size + 7) & ~7u;
	map->slots = 0;
	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
		return layout_array(map);
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		map->slots = slots;
		return layout_array(map);
	case BPF_MAP_TYPE_PERCPU_HASH:
		map->slots = slots;
		return rt_hash_layout(map);
	case BPF_MAP_TYPE_HASH:
		return rt_hash_layout(map);
	default:
		return -EOPNOTSUPP;
	}
}

void rt_map_init(unsigned char *base, const struct region_map *map)
{
	if (rt_map_is_hash(map))
		rt_hash_init(base, map);
}

/* All values of an element: one, or one per slot. */
static unsigned char *array_values(unsigned char *base, const struct region_map *map,
				   const void *key)
{
	uint32_t index;

	rt_copy(&index, key, sizeof(index));
	if (index >= map->max_entries)
		return NULL;
	return base + map->data +
	       (uint64_t)index * map->value_stride * (map->slots ? map->slots : 1);
}

static unsigned char *values(unsigned char *base, const struct region_map *map, const void *key)
{
	return rt_map_is_hash(map) ? rt_hash_find(base, map, key) : array_values(base, map, key);
}

void *rt_map_lookup(unsigned char *base, const struct region_map *map, const void *key,
		    uint32_t slot)
{
	unsigned char *found = values(base, map, key);

	return found && map->slots ? found + (uint64_t)slot * map->value_stride : found;
}

static int array_update(unsigned char *base, const struct region_map *map, const void *key,
			const void *value, uint64_t flags, uint32_t slot)
{
	unsigned char *found;

	if (flags > BPF_EXIST)
		return -EINVAL;
	found = array_values(base, map, key);
	if (!found)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	rt_copy(found + (map->slots ? (uint64_t)slot * map->value_stride : 0), value,
		map->value_size);
	return 0;
}

int rt_map_update(unsigned char *base, const struct region_map *map, const void *key,
		  const void *value, uint64_t flags, uint32_t slot)
{
	return rt_map_is_hash(map) ? rt_hash_update(base, map, key, value, flags, slot)
				   : array_update(base, map, key, value, flags, slot);
}

int rt_map_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot)
{
	return rt_map_is_hash(map) ? rt_hash_delete(base, map, key, slot) : -EINVAL;
}

int rt_map_next_key(unsigned char *base, const struct region_map *map, const void *key,
		    void *ret_key)
{
	uint32_t index = UINT32_MAX;

	if (rt_map_is_hash(map))
		return rt_hash_next_key(base, map, key, ret_key);
	if (key)
		rt_copy(&index, key, sizeof(index));
	if (index == map->max_entries - 1)
		return -ENOENT;
	index = index >= map->max_entries ? 0 : index + 1;
	rt_copy(ret_key, &index, sizeof(index));
	return 0;
}

int rt_map_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	unsigned char *found = values(base, map, key);

	if (!found)
		return -ENOENT;
	rt_copy(ret_value, found,
		map->slots ? (size_t)map->value_stride * map->slots : map->value_size);
	return 0;
}

int rt_map_write(unsigned char *base, const struct region_map *map, const void *key,
		 const void *value, uint64_t flags)
{
	unsigned char *found;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (rt_map_is_hash(map))
		return rt_hash_update(base, map, key, value, flags, RT_ALL_SLOTS);
	if (!map->slots)
		return array_update(base, map, key, value, flags, 0);
	found = array_values(base, map, key);
	if (!found)
		return -E2BIG;
	if (flags == BPF_NOEXIST)
		return -EEXIST;
	rt_copy(found, value, (size_t)map->value_stride * map->slots);
	return 0;
}
