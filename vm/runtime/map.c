/* SPDX-License-Identifier: MIT */
/*
 * Maps: shapes, and the operations of programs and of tools by type.
 */
#include <errno.h>

#include "vm/runtime/map.h"
#include "vm/runtime/table.h"

#define VALUE_MAX   0x7fffffffu
#define KMALLOC_MAX 0x400000u /* KMALLOC_MAX_SIZE of x86-64 */
/* LPM_KEY_SIZE_MIN and so on, kernel/bpf/lpm_trie.c, Linux 6.18 */
#define LPM_KEY_MIN	 5u
#define LPM_KEY_MAX	 260u
#define LPM_VALUE_MAX	 (KMALLOC_MAX - 256u - 24u)
#define BLOOM_EXTRA_MAX	 15u
#define PERCPU_VALUE_MAX 0x8000u /* PCPU_MIN_UNIT_SIZE, include/linux/percpu.h, Linux 6.18 */

static uint64_t array_size(const struct region_map *map)
{
	return (uint64_t)map->value_stride * map->max_entries * map->slots;
}

/* Sizes that the kernel refuses for maps of the type, alloc_check() of each. */
static int check_sizes(const struct region_map *map)
{
	/* Of filters the kernel looks at that first. */
	if (map->type == MAP_TYPE_BLOOM && map->value_size > KMALLOC_MAX)
		return -E2BIG;
	if (!map->value_size || !map->max_entries)
		return -EINVAL;
	switch (map->type) {
	case MAP_TYPE_QUEUE:
	case MAP_TYPE_STACK:
		if (map->key_size)
			return -EINVAL;
		return map->value_size > KMALLOC_MAX ? -E2BIG : 0;
	case MAP_TYPE_BLOOM:
		return map->key_size || map->extra > BLOOM_EXTRA_MAX ? -EINVAL : 0;
	case MAP_TYPE_LPM_TRIE:
		return map->key_size < LPM_KEY_MIN || map->key_size > LPM_KEY_MAX ||
				       map->value_size > LPM_VALUE_MAX ||
				       !(map->flags & MAP_NO_PREALLOC)
			       ? -EINVAL
			       : 0;
	case MAP_TYPE_ARRAY:
	case MAP_TYPE_PERCPU_ARRAY:
		if (map->key_size != sizeof(uint32_t))
			return -EINVAL;
		break;
	default:
		if (!map->key_size)
			return -EINVAL;
	}
	if (map->value_size > VALUE_MAX - 8 ||
	    (map_is_percpu(map) && rt_align8(map->value_size) > PERCPU_VALUE_MAX))
		return -E2BIG;
	return 0;
}

/* The rest of @map, and how much memory it needs. */
static int lay_out(struct region_map *map, uint32_t slots, uint64_t *ret_size)
{
	int r = slots ? check_sizes(map) : -EINVAL;

	if (r < 0)
		return r;
	/* As in the kernel, where each processor has as large a part. */
	if (map_is_lru(map) && (map->flags & MAP_NO_COMMON_LRU)) {
		uint64_t rounded = (map->max_entries + slots - 1ull) / slots * slots;

		map->max_entries = (uint32_t)(rounded > UINT32_MAX ? rounded - slots : rounded);
	}
	map->value_stride = (uint32_t)rt_align8(map->value_size);
	map->slots = map_is_percpu(map) ? slots : 1;
	if (map_is_hash(map))
		return hash_layout(map, ret_size);
	switch (map->type) {
	case MAP_TYPE_QUEUE:
	case MAP_TYPE_STACK:
		return queue_layout(map, ret_size);
	case MAP_TYPE_LPM_TRIE:
		return lpm_layout(map, ret_size);
	case MAP_TYPE_BLOOM:
		return bloom_layout(map, ret_size);
	default:
		*ret_size = array_size(map);
		return 0;
	}
}

int rt_map_layout(struct region_map *map, uint32_t slots)
{
	uint64_t size = 0;
	int r;

	map->value_stride = map->elem_stride = map->buckets = map->slots = 0;
	map->data_size = 0;
	switch (map->type) {
	case MAP_TYPE_PERF_ARRAY:
		return 0;
	case MAP_TYPE_PROG_ARRAY:
	case MAP_TYPE_ARRAY_OF_MAPS:
	case MAP_TYPE_HASH_OF_MAPS:
		r = table_layout(map, &size);
		break;
	case MAP_TYPE_RINGBUF:
		r = ringbuf_layout(map, &size);
		break;
	case MAP_TYPE_STACK_TRACE:
		r = map->max_entries ? stack_layout(map, &size) : -EINVAL;
		break;
	case MAP_TYPE_HASH:
	case MAP_TYPE_ARRAY:
	case MAP_TYPE_PERCPU_HASH:
	case MAP_TYPE_PERCPU_ARRAY:
	case MAP_TYPE_LRU_HASH:
	case MAP_TYPE_LRU_PERCPU:
	case MAP_TYPE_LPM_TRIE:
	case MAP_TYPE_QUEUE:
	case MAP_TYPE_STACK:
	case MAP_TYPE_BLOOM:
		r = lay_out(map, slots, &size);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (r < 0 || size > REGION_MAPS_SIZE)
		return r < 0 ? r : -E2BIG;
	map->data_size = size;
	return 0;
}

/* Zero is an empty map of every type: elements are taken from a counter before any is reused. */
void rt_map_init(unsigned char *base, const struct region_map *map)
{
	(void)base;
	(void)map;
}

/*
 * A program's value is exactly as long as the map says. Tools give and get values of all slots,
 * with whatever stands in the bytes they are rounded up by, as in the kernel.
 */
void map_put(const struct region_map *map, unsigned char *value, const struct map_values *values,
	     bool fresh)
{
	uint64_t stride = map->value_stride;

	if (rt_likely(!fresh && !values->all)) {
		rt_copy(value + values->slot * stride, values->bytes, map->value_size);
		return;
	}
	for (uint32_t i = 0; i < map->slots; i++, value += stride) {
		if (values->all) {
			rt_copy(value, values->bytes + i * stride, stride);
			continue;
		}
		rt_zero(value, stride);
		if (i == values->slot)
			rt_copy(value, values->bytes, map->value_size);
	}
}

void map_get(const struct region_map *map, const unsigned char *value, void *ret_value)
{
	uint64_t stride = map->value_stride;

	if (map_is_percpu(map))
		rt_copy(ret_value, value, stride * map->slots);
	else
		rt_copy(ret_value, value, map->value_size);
}

void *rt_map_lookup(unsigned char *base, const struct region_map *map, const void *key,
		    uint32_t slot)
{
	unsigned char *value;

	if (map_is_hash(map))
		value = hash_lookup(base, map, key);
	else if (map->type == MAP_TYPE_ARRAY || map->type == MAP_TYPE_PERCPU_ARRAY)
		value = array_lookup(base, map, key);
	else if (map->type == MAP_TYPE_LPM_TRIE)
		return lpm_lookup(base, map, key, slot);
	else if (map->type == MAP_TYPE_ARRAY_OF_MAPS || map->type == MAP_TYPE_HASH_OF_MAPS)
		return table_lookup(base, map, key);
	else
		return NULL;
	if (!value || !map_is_percpu(map))
		return value;
	return value + (uint64_t)(slot < map->slots ? slot : 0) * map->value_stride;
}

int rt_map_update(unsigned char *base, const struct region_map *map, const void *key,
		  const void *value, uint64_t flags, uint32_t slot)
{
	struct map_values values = {
		.bytes = value,
		.slot = slot < map->slots ? slot : 0,
		.all = slot == RT_ALL_SLOTS && map_is_percpu(map),
	};

	if (map_is_hash(map))
		return hash_update(base, map, key, &values, flags, slot);
	switch (map->type) {
	case MAP_TYPE_ARRAY:
	case MAP_TYPE_PERCPU_ARRAY:
		return array_update(base, map, key, &values, flags);
	case MAP_TYPE_LPM_TRIE:
		return lpm_update(base, map, key, &values, flags, slot);
	default:
		return -EINVAL;
	}
}

int rt_map_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot)
{
	if (map_is_hash(map))
		return hash_delete(base, map, key, slot);
	switch (map->type) {
	case MAP_TYPE_STACK_TRACE:
		return stack_delete(base, map, key);
	case MAP_TYPE_LPM_TRIE:
		return lpm_delete(base, map, key, slot);
	case MAP_TYPE_BLOOM:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

int rt_map_push(unsigned char *base, const struct region_map *map, const void *value,
		uint64_t flags, uint32_t slot)
{
	if (map->type == MAP_TYPE_BLOOM)
		return bloom_push(base, map, value, flags);
	return map_is_queue(map) ? queue_push(base, map, value, flags, slot) : -EOPNOTSUPP;
}

int rt_map_pop(unsigned char *base, const struct region_map *map, void *ret_value, uint32_t slot)
{
	return map_is_queue(map) ? queue_take(base, map, ret_value, true, slot) : -EOPNOTSUPP;
}

int rt_map_peek(unsigned char *base, const struct region_map *map, void *ret_value, uint32_t slot)
{
	if (map->type == MAP_TYPE_BLOOM)
		return bloom_peek(base, map, ret_value);
	return map_is_queue(map) ? queue_take(base, map, ret_value, false, slot) : -EOPNOTSUPP;
}

int rt_map_next_key(unsigned char *base, const struct region_map *map, const void *key,
		    void *ret_key)
{
	if (map_is_hash(map))
		return hash_next_key(base, map, key, ret_key);
	switch (map->type) {
	case MAP_TYPE_STACK_TRACE:
		return stack_next_key(base, map, key, ret_key);
	case MAP_TYPE_LPM_TRIE:
		return lpm_next_key(base, map, key, ret_key);
	case MAP_TYPE_QUEUE:
	case MAP_TYPE_STACK:
		return -EINVAL;
	case MAP_TYPE_BLOOM:
		return -EOPNOTSUPP;
	default:
		return array_next_key(map, key, ret_key);
	}
}

int rt_map_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	const unsigned char *value;

	if (map_is_hash(map))
		return hash_read(base, map, key, ret_value);
	switch (map->type) {
	case MAP_TYPE_STACK_TRACE:
		return stack_read(base, map, key, ret_value);
	case MAP_TYPE_LPM_TRIE:
		return lpm_read(base, map, key, ret_value);
	case MAP_TYPE_QUEUE:
	case MAP_TYPE_STACK:
	case MAP_TYPE_BLOOM:
		return rt_map_peek(base, map, ret_value, RT_ALL_SLOTS);
	default:
		break;
	}
	value = array_lookup(base, map, key);
	if (!value)
		return -ENOENT;
	map_get(map, value, ret_value);
	return 0;
}

int rt_map_write(unsigned char *base, const struct region_map *map, const void *key,
		 const void *value, uint64_t flags)
{
	if (map_is_queue(map) || map->type == MAP_TYPE_BLOOM)
		return rt_map_push(base, map, value, flags, RT_ALL_SLOTS);
	return rt_map_update(base, map, key, value, flags, RT_ALL_SLOTS);
}

int rt_map_take(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	return map_is_hash(map) ? hash_take(base, map, key, ret_value) : -EOPNOTSUPP;
}

int rt_map_bucket(unsigned char *base, const struct region_map *map, uint32_t bucket, bool take,
		  uint32_t room, void *ret_keys, void *ret_values, uint32_t *ret_cnt)
{
	const struct map_elems elems = {.keys = ret_keys, .values = ret_values, .room = room};

	return map_is_hash(map) ? hash_bucket(base, map, bucket, &elems, take, ret_cnt)
				: -EOPNOTSUPP;
}
