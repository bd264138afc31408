/* SPDX-License-Identifier: MIT */
/*
 * LPM_TRIE: prefixes in a binary tree whose nodes leave out what their ancestors say. Keys are
 * struct bpf_lpm_trie_key_u8: number of bits, then the bits, the first one highest.
 *
 *	64 bytes	struct lpm_header
 *	nodes		struct lpm_node, key, value: as many as entries, and as many that only fork
 *
 * Nodes are named by number + 1. Changes are made under one lock, whose number is that of the
 * entries, and become visible by the exchange of one link: who is killed before has lost a node at
 * most, who is killed behind has miscounted one entry. Lookups take no lock: they are good if no
 * node was given back meanwhile.
 *
 * All of this is hostile memory. Numbers are compared with the map's size, and a node counts only
 * if it has more bits than the one above it, so no walk is longer than a key. Order of errors and
 * of keys: kernel/bpf/lpm_trie.c, Linux 6.18.
 */
#include <errno.h>

#include "vm/runtime/lock.h"
#include "vm/runtime/map.h"

#define TRIES	    8
#define ENTRIES_MAX (1u << 26)
#define FORK	    1u /* no entry, only forks */

struct lpm_header {
	uint64_t lock;	/* lock.h */
	uint64_t free;	/* first node given back, and a counter above, as in hash.c */
	uint64_t fresh; /* nodes below have been used at some time */
	uint64_t drops; /* counts nodes that were taken out */
	uint32_t root;	/* number of a node */
	uint32_t pad[7];
};
static_assert(sizeof(struct lpm_header) == 64, "the nodes start on a line");

struct lpm_node {
	uint32_t child[2];
	uint32_t bits, flags;
	unsigned char data[];
};

struct trie {
	const struct region_map *map;
	struct lpm_header *header;
	unsigned char *nodes;
	uint32_t data_size, bits_max;
};

/** struct lpm_key - read once, the program's memory may be a map's */
struct lpm_key {
	uint32_t bits;
	const unsigned char *data;
};

/**
 * struct path - where a walk along a key ended
 * @slot, @number: the last link, and what it holds
 * @node, @bits, @flags: the node there, or NULL, and what it says
 * @same: how many bits of the key it has
 * @above, @above_slot, @above_number: the node that holds @slot, and the same of it
 */
struct path {
	uint32_t *slot, *above_slot;
	struct lpm_node *node, *above;
	uint32_t number, above_number, bits, flags, same;
};

static uint32_t data_room(const struct region_map *map)
{
	return (uint32_t)rt_align8(map->key_size - sizeof(uint32_t));
}

int lpm_layout(struct region_map *map, uint64_t *ret_size)
{
	if (map->max_entries > ENTRIES_MAX)
		return -E2BIG;
	map->elem_stride = (uint32_t)sizeof(struct lpm_node) + data_room(map) + map->value_stride;
	*ret_size = sizeof(struct lpm_header) + 2ull * map->max_entries * map->elem_stride;
	return 0;
}

rt_inline struct trie trie_of(unsigned char *base, const struct region_map *map)
{
	struct trie trie = {
		.map = map,
		.header = RT_PTR(base, map->data),
		.nodes = base + map->data + sizeof(struct lpm_header),
		.data_size = map->key_size - (uint32_t)sizeof(uint32_t),
	};

	trie.bits_max = trie.data_size * 8;
	return trie;
}

rt_inline struct lpm_key key_of(const void *key)
{
	return (struct lpm_key){rt_get32(key), (const unsigned char *)key + sizeof(uint32_t)};
}

/* NULL for numbers that no node has. */
rt_inline struct lpm_node *node_at(const struct trie *trie, uint32_t number)
{
	uint32_t index = number - 1;

	if (index >= 2 * trie->map->max_entries)
		return NULL;
	return (void *)(trie->nodes + (uint64_t)index * trie->map->elem_stride);
}

rt_inline unsigned char *node_value(const struct trie *trie, struct lpm_node *node)
{
	return node->data + data_room(trie->map);
}

/* @index is below bits_max. */
rt_inline uint32_t bit_of(const unsigned char *data, uint32_t index)
{
	return rt_get8(data + index / 8) >> (7 - index % 8) & 1;
}

/*
 * How many of the first @limit bits, at most bits_max, are the same. By words as far as a key has
 * them, whatever @limit: a loop over the bytes of a short prefix ends where nobody can foretell.
 */
rt_inline uint32_t same_bits(const struct trie *trie, const unsigned char *a,
			     const unsigned char *b, uint32_t limit)
{
	uint32_t at = 0, same = limit;

	for (; at < limit && at + 32 <= trie->bits_max; at += 32) {
		uint32_t diff = rt_get32(a + at / 8) ^ rt_get32(b + at / 8);

		if (diff) {
			same = at + (uint32_t)__builtin_clz(__builtin_bswap32(diff));
			return same < limit ? same : limit;
		}
	}
	for (; at < limit; at += 8) {
		uint32_t diff = rt_get8(a + at / 8) ^ rt_get8(b + at / 8);

		if (diff) {
			same = at + (uint32_t)__builtin_clz(diff) - 24;
			break;
		}
	}
	return same < limit ? same : limit;
}

/* The longest prefix that has a value. */
rt_inline struct lpm_node *walk(const struct trie *trie, const struct lpm_key *key)
{
	uint32_t number = __atomic_load_n(&trie->header->root, __ATOMIC_ACQUIRE);
	struct lpm_node *node = node_at(trie, number), *found = NULL;
	int64_t above = -1;

	while (node) {
		uint32_t bits = rt_load(&node->bits);

		if (bits > key->bits || (int64_t)bits <= above ||
		    same_bits(trie, node->data, key->data, bits) != bits)
			break;
		if (!(__atomic_load_n(&node->flags, __ATOMIC_ACQUIRE) & FORK))
			found = node;
		if (bits == trie->bits_max)
			break;
		above = bits;
		number = __atomic_load_n(&node->child[bit_of(key->data, bits)], __ATOMIC_ACQUIRE);
		node = node_at(trie, number);
	}
	return found;
}

unsigned char *lpm_lookup(unsigned char *base, const struct region_map *map, const void *key,
			  uint32_t slot)
{
	struct trie trie = trie_of(base, map);
	struct lpm_key prefix = key_of(key);
	struct lpm_node *node = NULL;
	uint64_t word;

	if (prefix.bits > trie.bits_max)
		return NULL;
	for (int i = 0; i < TRIES; i++) {
		uint64_t drops = __atomic_load_n(&trie.header->drops, __ATOMIC_ACQUIRE);

		node = walk(&trie, &prefix);
		/* What was read comes before this, loads are not reordered. */
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (rt_likely(rt_load(&trie.header->drops) == drops))
			return node ? node_value(&trie, node) : NULL;
	}
	if (lock_take(base, &trie.header->lock, lock_holder(base, slot), &word)) {
		node = walk(&trie, &prefix);
		lock_give(&trie.header->lock, word, (uint32_t)word);
	}
	return node ? node_value(&trie, node) : NULL;
}

int lpm_read(unsigned char *base, const struct region_map *map, const void *key, void *ret_value)
{
	struct trie trie = trie_of(base, map);
	struct lpm_key prefix = key_of(key);
	struct lpm_node *node;
	uint64_t word;

	if (prefix.bits > trie.bits_max)
		return -ENOENT;
	if (!lock_take(base, &trie.header->lock, lock_holder(base, RT_ALL_SLOTS), &word))
		return -EBUSY;
	node = walk(&trie, &prefix);
	if (node)
		map_get(map, node_value(&trie, node), ret_value);
	lock_give(&trie.header->lock, word, (uint32_t)word);
	return node ? 0 : -ENOENT;
}

/* A link to no node, or to one that cannot stand there, ends the walk as an empty one does. */
static void path_step(const struct trie *trie, const struct lpm_key *key, struct path *path,
		      uint32_t *slot)
{
	int64_t above = path->above ? (int64_t)path->bits : -1;

	path->slot = slot;
	path->number = rt_load(slot);
	path->node = node_at(trie, path->number);
	path->bits = path->node ? rt_load(&path->node->bits) : 0;
	if (path->bits > trie->bits_max || (int64_t)path->bits <= above)
		path->node = NULL;
	if (!path->node)
		return;
	path->flags = rt_load(&path->node->flags);
	path->same = same_bits(trie, path->node->data, key->data,
			       path->bits < key->bits ? path->bits : key->bits);
}

/* Whether the walk ended here, at the key's node or where it would have to be. */
static bool path_ends(const struct path *path, const struct lpm_key *key)
{
	return !path->node || path->same != path->bits || path->bits >= key->bits;
}

static void path_down(const struct trie *trie, const struct lpm_key *key, struct path *path)
{
	path->above = path->node;
	path->above_slot = path->slot;
	path->above_number = path->number;
	path_step(trie, key, path, &path->node->child[bit_of(key->data, path->bits)]);
}

static struct path find_path(const struct trie *trie, const struct lpm_key *key)
{
	struct path path = {0};

	path_step(trie, key, &path, &trie->header->root);
	while (!path_ends(&path, key))
		path_down(trie, key, &path);
	return path;
}

/* Whether it ended at the very prefix. */
static bool is_at(const struct path *path, const struct lpm_key *key)
{
	return path->node && path->same == path->bits && path->bits == key->bits;
}

static bool is_entry(const struct path *path, const struct lpm_key *key)
{
	return is_at(path, key) && !(path->flags & FORK);
}

/* As elem_pop() of hash.c: stale holders of the lock cannot hand a node out twice. */
static uint32_t node_take(const struct trie *trie)
{
	struct lpm_header *header = trie->header;
	uint64_t old = __atomic_load_n(&header->free, __ATOMIC_ACQUIRE), fresh;

	for (int i = 0; i < TRIES && (uint32_t)old; i++) {
		struct lpm_node *node = node_at(trie, (uint32_t)old);
		uint64_t next = ((old >> 32) + 1) << 32 | (node ? rt_load(&node->child[0]) : 0);
		uint32_t number = (uint32_t)old;

		if (__atomic_compare_exchange_n(&header->free, &old, next, false, __ATOMIC_ACQUIRE,
						__ATOMIC_ACQUIRE) &&
		    node)
			return number;
	}
	fresh = rt_load(&header->fresh);
	if (fresh >= 2ull * trie->map->max_entries ||
	    !__atomic_compare_exchange_n(&header->fresh, &fresh, fresh + 1, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return 0;
	return (uint32_t)fresh + 1;
}

static void node_give(const struct trie *trie, uint32_t number)
{
	struct lpm_node *node = node_at(trie, number);
	uint64_t old = rt_load(&trie->header->free), next;

	if (!node)
		return;
	do {
		rt_store(&node->child[0], (uint32_t)old);
		next = ((old >> 32) + 1) << 32 | number;
	} while (!__atomic_compare_exchange_n(&trie->header->free, &old, next, false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* @data: where the node's bits are read from, those behind them included */
static struct lpm_node *node_fill(const struct trie *trie, uint32_t number, uint32_t bits,
				  uint32_t flags, const unsigned char *data)
{
	struct lpm_node *node = node_at(trie, number);

	rt_store(&node->child[0], 0);
	rt_store(&node->child[1], 0);
	rt_store(&node->bits, bits);
	rt_store(&node->flags, flags);
	rt_copy(node->data, data, trie->data_size);
	return node;
}

/* All of a change becomes visible here. False: somebody who took the lock over was there. */
static bool publish(uint32_t *slot, uint32_t old, uint32_t number)
{
	return __atomic_compare_exchange_n(slot, &old, number, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

static int add_node(const struct trie *trie, const struct lpm_key *key, const struct path *path,
		    const unsigned char *value)
{
	bool forks = path->node && path->same < key->bits;
	uint32_t number = node_take(trie), fork = forks ? node_take(trie) : 0;
	struct lpm_node *node;

	if (!number || (forks && !fork)) {
		node_give(trie, number);
		return -ENOSPC;
	}
	node = node_fill(trie, number, key->bits, 0, key->data);
	rt_copy(node_value(trie, node), value, trie->map->value_size);
	if (path->node && !forks)
		rt_store(&node->child[bit_of(path->node->data, path->same)], path->number);
	if (forks) {
		uint32_t side = bit_of(key->data, path->same);

		node = node_fill(trie, fork, path->same, FORK, key->data);
		rt_store(&node->child[side], number);
		rt_store(&node->child[!side], path->number);
	}
	if (publish(path->slot, path->number, forks ? fork : number))
		return 0;
	node_give(trie, number);
	node_give(trie, fork);
	return -EAGAIN;
}

static int check_add(const struct trie *trie, uint32_t entries, uint64_t flags)
{
	if (flags == MAP_EXIST)
		return -ENOENT;
	return entries >= trie->map->max_entries ? -ENOSPC : 0;
}

/* @entries: their number, changed with it */
static int update_locked(const struct trie *trie, const struct lpm_key *key,
			 const unsigned char *value, uint64_t flags, uint32_t *entries)
{
	struct path path = find_path(trie, key);
	bool exists = is_entry(&path, key);
	int r;

	if (exists)
		r = flags == MAP_NOEXIST ? -EEXIST : 0;
	else
		r = check_add(trie, *entries, flags);
	if (r < 0)
		return r;
	if (is_at(&path, key)) {
		rt_copy(path.node->data, key->data, trie->data_size);
		rt_copy(node_value(trie, path.node), value, trie->map->value_size);
		__atomic_store_n(&path.node->flags, 0, __ATOMIC_RELEASE);
	} else {
		r = add_node(trie, key, &path, value);
	}
	*entries += r == 0 && !exists;
	return r;
}

static int delete_locked(const struct trie *trie, const struct lpm_key *key, uint32_t *entries)
{
	struct path path = find_path(trie, key);
	uint32_t left, right, other = 0;

	if (!is_entry(&path, key))
		return -ENOENT;
	left = rt_load(&path.node->child[0]);
	right = rt_load(&path.node->child[1]);
	if (left && right) {
		rt_store(&path.node->flags, FORK);
	} else if (path.above && !left && !right && rt_load(&path.above->flags) & FORK) {
		/* What forks two ways only goes with one of them. */
		other = rt_load(&path.above->child[path.slot == &path.above->child[0]]);
		if (!publish(path.above_slot, path.above_number, other))
			return -EAGAIN;
	} else {
		if (!publish(path.slot, path.number, left ? left : right))
			return -EAGAIN;
		path.above_number = 0;
	}
	*entries -= *entries != 0;
	if (left && right)
		return 0;
	/* Before they can be used again: lookups that passed here are not good. */
	__atomic_fetch_add(&trie->header->drops, 1, __ATOMIC_ACQ_REL);
	node_give(trie, path.number);
	node_give(trie, path.above_number);
	return 0;
}

/* @value: NULL deletes. A change that is made is made, even if the lock was taken over since. */
static int change(unsigned char *base, const struct region_map *map, const void *key,
		  const unsigned char *value, uint64_t flags, uint32_t slot)
{
	struct trie trie = trie_of(base, map);
	struct lpm_key prefix = key_of(key);
	uint32_t holder = lock_holder(base, slot);
	int r = -EAGAIN;

	if (flags > MAP_EXIST || prefix.bits > trie.bits_max)
		return -EINVAL;
	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		uint32_t entries;
		uint64_t word;

		if (!lock_take(base, &trie.header->lock, holder, &word))
			return -EBUSY;
		entries = (uint32_t)word;
		r = value ? update_locked(&trie, &prefix, value, flags, &entries)
			  : delete_locked(&trie, &prefix, &entries);
		lock_give(&trie.header->lock, word, entries);
	}
	return r == -EAGAIN ? -EBUSY : r;
}

int lpm_update(unsigned char *base, const struct region_map *map, const void *key,
	       const struct map_values *values, uint64_t flags, uint32_t slot)
{
	return change(base, map, key, values->bytes, flags, slot);
}

int lpm_delete(unsigned char *base, const struct region_map *map, const void *key, uint32_t slot)
{
	return change(base, map, key, NULL, MAP_ANY, slot);
}

/* The first entry at or below a node: what is below comes first, the left before the right. */
static struct lpm_node *first_below(const struct trie *trie, uint32_t number)
{
	struct lpm_node *node = node_at(trie, number), *found = NULL;
	int64_t above = -1;

	while (node) {
		uint32_t bits = rt_load(&node->bits);

		if ((int64_t)bits <= above || bits > trie->bits_max)
			break;
		above = bits;
		if (!(rt_load(&node->flags) & FORK))
			found = node;
		number = rt_load(&node->child[0]);
		node = node_at(trie, number ? number : rt_load(&node->child[1]));
	}
	return found;
}

/* The entry behind @key's: below a right neighbour of its way, or on the way itself. */
static struct lpm_node *next_locked(const struct trie *trie, const struct lpm_key *key)
{
	struct path path = {0};
	struct lpm_node *next = NULL;

	path_step(trie, key, &path, &trie->header->root);
	while (!path_ends(&path, key)) {
		struct lpm_node *node = path.node;
		uint32_t right = rt_load(&node->child[1]);

		if (right && !bit_of(key->data, path.bits))
			next = first_below(trie, right);
		else if (!(path.flags & FORK))
			next = node;
		path_down(trie, key, &path);
	}
	return is_entry(&path, key) ? next : first_below(trie, rt_load(&trie->header->root));
}

int lpm_next_key(unsigned char *base, const struct region_map *map, const void *key, void *ret_key)
{
	struct trie trie = trie_of(base, map);
	struct lpm_key prefix = {0};
	struct lpm_node *next;
	uint32_t bits;
	uint64_t word;

	if (key)
		prefix = key_of(key);
	if (!lock_take(base, &trie.header->lock, lock_holder(base, RT_ALL_SLOTS), &word))
		return -EBUSY;
	if (key && prefix.bits <= trie.bits_max)
		next = next_locked(&trie, &prefix);
	else
		next = first_below(&trie, rt_load(&trie.header->root));
	if (next) {
		bits = rt_load(&next->bits);
		rt_copy(ret_key, &bits, sizeof(bits));
		rt_copy((unsigned char *)ret_key + sizeof(bits), next->data, trie.data_size);
	}
	lock_give(&trie.header->lock, word, (uint32_t)word);
	return next ? 0 : -ENOENT;
}
