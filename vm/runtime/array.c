/* SPDX-License-Identifier: MIT */
/*
 * ARRAY and PERCPU_ARRAY: values in a row, as the kernel's mmapped arrays have them, so that one
 * file can be both. Values of one index of a per-CPU array stand together, by slot.
 */
#include <errno.h>

#include "vm/runtime/map.h"

unsigned char *array_lookup(unsigned char *base, const struct region_map *map, const void *key)
{
	uint32_t index = rt_get32(key);
	uint64_t stride = map->value_stride;

	if (rt_unlikely(index >= map->max_entries || !stride))
		return NULL;
	return base + map->data + index * stride * map->slots;
}

int array_update(unsigned char *base, const struct region_map *map, const void *key,
		 const struct map_values *values, uint64_t flags)
{
	unsigned char *value = array_lookup(base, map, key);

	if (flags > MAP_EXIST)
		return -EINVAL;
	if (!value)
		return -E2BIG;
	if (flags == MAP_NOEXIST)
		return -EEXIST;
	map_put(map, value, values, false);
	return 0;
}

int array_next_key(const struct region_map *map, const void *key, void *ret_key)
{
	uint32_t index = key ? rt_get32(key) : UINT32_MAX;
	uint32_t next = index >= map->max_entries ? 0 : index + 1;

	if (next >= map->max_entries)
		return -ENOENT;
	rt_copy(ret_key, &next, sizeof(next));
	return 0;
}

uint64_t array_each(unsigned char *base, const struct region_map *map, map_each_fn act, void *data)
{
	const uint64_t stride = (uint64_t)map->value_stride * map->slots;

	for (uint32_t i = 0; i < map->max_entries; i++) {
		uint32_t key = i;

		if (!act(&key, base + map->data + i * stride, data))
			return i + 1;
	}
	return map->max_entries;
}
