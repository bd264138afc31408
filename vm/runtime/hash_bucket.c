/* SPDX-License-Identifier: MIT */
/*
 * Whole buckets of a hash (hash.c) for the batches of tools: no other walk has a place to go on
 * from that still is one when elements come and go. For the daemon only.
 */
#include <errno.h>

#include "vm/runtime/hash_table.h"
#include "vm/runtime/lock.h"
#include "vm/runtime/slot.h"

#define TRIES 8

/** struct chain - the elements of a bucket, in order */
struct chain {
	uint32_t cnt, numbers[CHAIN_MAX];
};

/* Under the lock. A chain that goes in circles comes to its end as well. */
static void chain_list(const struct table *table, uint32_t bucket, uint32_t number,
		       struct chain *ret_chain)
{
	struct hash_elem *elem;

	ret_chain->cnt = 0;
	while (ret_chain->cnt < CHAIN_MAX && (elem = elem_in(table, number, bucket))) {
		ret_chain->numbers[ret_chain->cnt++] = number;
		number = rt_load(&elem->next);
	}
}

static void chain_get(const struct table *table, const struct chain *chain,
		      const struct map_elems *elems, bool take)
{
	unsigned char *key = elems->keys, *value = elems->values;

	for (uint32_t i = 0; i < chain->cnt; i++) {
		struct hash_elem *elem = elem_at(table, chain->numbers[i]);

		rt_copy(key, elem->key, table->map->key_size);
		if (take)
			hash_elem_take(table, chain->numbers[i], value);
		else
			map_get(table->map, elem_value(table, elem), value);
		key += table->map->key_size;
		value += map_value_size(table->map);
	}
}

/* A whole chain is taken by the one store that gives the lock back. */
static int bucket_once(unsigned char *base, const struct table *table, uint32_t number,
		       const struct map_elems *elems, bool take, uint32_t *ret_cnt)
{
	uint64_t *bucket = &table->buckets[number];
	struct chain chain;
	uint64_t word;

	if (!lock_take(base, bucket, lock_holder(base, RT_ALL_SLOTS), &word))
		return -EBUSY;
	chain_list(table, number, (uint32_t)word, &chain);
	*ret_cnt = chain.cnt;
	if (chain.cnt > elems->room) {
		lock_give(bucket, word, (uint32_t)word);
		return -ENOSPC;
	}
	if (!take) {
		chain_get(table, &chain, elems, false);
		return lock_give(bucket, word, (uint32_t)word) ? 0 : -EAGAIN;
	}
	if (!lock_give(bucket, word, 0))
		return -EAGAIN;
	slot_wait_all(base);
	chain_get(table, &chain, elems, true);
	return 0;
}

int hash_bucket(unsigned char *base, const struct region_map *map, uint32_t bucket,
		const struct map_elems *elems, bool take, uint32_t *ret_cnt)
{
	struct table table = table_of(base, map);
	int r = -EAGAIN;

	*ret_cnt = 0;
	if (bucket > table.mask)
		return -ENOENT;
	if (!(uint32_t)rt_load(&table.buckets[bucket]))
		return 0;
	for (int i = 0; i < TRIES && r == -EAGAIN; i++)
		r = bucket_once(base, &table, bucket, elems, take, ret_cnt);
	return r == -EAGAIN ? -EBUSY : r;
}
