/* SPDX-License-Identifier: MIT */
/*
 * Tables in the code part, which only the daemon writes: of program arrays and of maps of maps. An
 * entry is a word: in its upper half how much of the region a process must have mapped for it
 * (struct region_config.mapped), in its lower half where in the region it leads; 0 is none.
 *
 * A hash of maps has slots, twice as many as entries at least, of which the first that is free from
 * a key's place on holds it:
 *
 *	uint64_t sequence	odd while the daemon writes the slot
 *	uint64_t word		0: free
 *	the key, rounded up to 8 bytes
 *
 * and behind them a uint64_t, which counts entries that were moved from one slot to another.
 */
#pragma once

#include "vm/runtime/map.h"

#define TABLE_NOWHERE 0xffffffff00000002ull /* something stands there that processes cannot use */

/** table_layout() - what the record of such a map says. Return: 0, -EINVAL or -E2BIG. */
int table_layout(struct region_map *map, uint64_t *ret_size);

/** table_lookup() - for programs: address of the inner map's record, or NULL */
void *table_lookup(unsigned char *base, const struct region_map *map, const void *key);

/* For the daemon. */
void table_array_write(unsigned char *base, const struct region_map *map, uint32_t slot,
		       uint64_t word);
/** table_hash_find() - slot that has @key, or (@make) the free one where it would go; -ENOENT,
 *  -E2BIG */
int64_t table_hash_find(unsigned char *base, const struct region_map *map, const void *key,
			bool make);
void table_hash_write(unsigned char *base, const struct region_map *map, uint32_t slot,
		      const void *key, uint64_t word);
/** table_hash_remove() - take an entry out @moved: is told of each that takes the place of another */
typedef void table_moved_fn(uint32_t from, uint32_t to, void *data);
void table_hash_remove(unsigned char *base, const struct region_map *map, uint32_t slot,
		       table_moved_fn *moved, void *data);
