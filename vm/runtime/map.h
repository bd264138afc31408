/* SPDX-License-Identifier: MIT */
/*
 * Hash maps, as map.c uses them.
 */
#pragma once

#include <linux/bpf.h>

#include "vm/runtime/runtime.h"

static inline bool rt_map_is_hash(const struct region_map *map)
{
	return map->type == BPF_MAP_TYPE_HASH || map->type == BPF_MAP_TYPE_PERCPU_HASH;
}

int rt_hash_layout(struct region_map *map);
void rt_hash_init(unsigned char *base, const struct region_map *map);
unsigned char *rt_hash_find(unsigned char *base, const struct region_map *map, const void *key);
int rt_hash_update(unsigned char *base, const struct region_map *map, const void *key,
		   const void *value, uint64_t flags, uint32_t slot);
int rt_hash_delete(unsigned char *base, const struct region_map *map, const void *key,
		   uint32_t slot);
int rt_hash_next_key(unsigned char *base, const struct region_map *map, const void *key,
		     void *ret_key);
