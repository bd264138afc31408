/* SPDX-License-Identifier: MIT */
/*
 * The cache of a tenant's programs, used by uspace_prog.c and by the thread that makes better code.
 */
#include "notifier/uspace_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One program shall not drive out all others. */
#define ENTRY_MAX (CACHE_SIZE / 4)

/* What a key begins with; instructions, maps, their contents and records, and what is said of
 * functions and lines, follow. */
struct key_head {
	uint32_t type, attach_type, gpl;
	uint32_t log_level, log_size;
	uint32_t cnt, map_cnt, sleepable;
	uint32_t func_cnt, func_size, line_cnt, line_size, btf_len;
};

struct key_map {
	uint32_t type, key_size, value_size, max_entries, flags, has_contents;
	struct verifier_shape inner;
	struct btf_fields fields;
};
static_assert(sizeof(struct verifier_shape) == 20 && sizeof(struct verifier_map) == 64 &&
		      sizeof(struct verifier_prog) == 88,
	      "what is new there has to become part of the key");

void cache_init(struct cache *cache)
{
	*cache = (struct cache){.size = 0};
	pthread_mutex_init(&cache->lock, NULL);
	list_init(&cache->entries);
}

static void unlist(struct cache_entry *entry)
{
	list_remove(&entry->node);
	entry->listed = false;
	entry->cache->size -= entry->size;
}

static void drop(struct cache_entry *entry)
{
	if (__atomic_sub_fetch(&entry->refs, 1, __ATOMIC_ACQ_REL))
		return;
	worker_answer_deinit(&entry->answer);
	worker_answer_deinit(&entry->full);
	free(entry);
}

struct cache_entry *cache_entry_unref(struct cache_entry *entry)
{
	if (entry)
		drop(entry);
	return NULL;
}

/* With the lock held: the list's reference goes, and who uses it keeps his. */
static void evict(struct cache_entry *entry)
{
	unlist(entry);
	drop(entry);
}

void cache_deinit(struct cache *cache)
{
	struct cache_entry *entry, *tmp;

	if (!cache->entries.next)
		return;
	list_for_each_safe(entry, tmp, &cache->entries, node) evict(entry);
	pthread_mutex_destroy(&cache->lock);
}

static size_t contents_len(const struct verifier_map *map)
{
	return map->contents ? map->value_size : 0;
}

static size_t records_len(const struct verifier_records *records)
{
	return (size_t)records->cnt * records->size;
}

static size_t key_len_of(const struct worker_request *request)
{
	const struct verifier_prog *prog = &request->prog;
	size_t len = sizeof(struct key_head) + prog->cnt * sizeof(*prog->insns) +
		     prog->map_cnt * (sizeof(*request->maps) + sizeof(struct key_map));

	for (uint32_t i = 0; i < prog->map_cnt; i++)
		len += contents_len(&prog->maps[i]);
	return len + records_len(&prog->info.funcs) + records_len(&prog->info.lines) +
	       prog->info.btf_len;
}

static void *append(unsigned char **at, const void *bytes, size_t len)
{
	void *place = *at;

	if (len)
		memcpy(place, bytes, len);
	*at += len;
	return place;
}

static void append_map(unsigned char **at, const struct verifier_map *map)
{
	const struct key_map key = {.type = map->type,
				    .key_size = map->key_size,
				    .value_size = map->value_size,
				    .max_entries = map->max_entries,
				    .flags = map->flags,
				    .has_contents = map->contents != NULL,
				    .inner = map->inner,
				    .fields = map->fields};

	append(at, &key, sizeof(key));
	append(at, map->contents, contents_len(map));
}

/* FNV-1a: only tells most of the others apart; the bytes decide. */
static uint64_t hash_of(const unsigned char *bytes, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ull;
	return hash;
}

/* Instructions and records stand at multiples of 8. */
static void write_key(struct cache_entry *entry, const struct worker_request *request)
{
	const struct verifier_prog *prog = &request->prog;
	const struct key_head head = {.type = prog->type,
				      .attach_type = prog->attach_type,
				      .gpl = prog->gpl,
				      .sleepable = prog->sleepable,
				      .log_level = request->log_level,
				      .log_size = request->log_level ? request->log_size : 0,
				      .cnt = prog->cnt,
				      .map_cnt = prog->map_cnt,
				      .func_cnt = prog->info.funcs.cnt,
				      .func_size = prog->info.funcs.size,
				      .line_cnt = prog->info.lines.cnt,
				      .line_size = prog->info.lines.size,
				      .btf_len = prog->info.btf_len};
	unsigned char *at = entry->key;

	append(&at, &head, sizeof(head));
	entry->request.prog.insns = append(&at, prog->insns, prog->cnt * sizeof(*prog->insns));
	entry->request.maps = append(&at, request->maps, prog->map_cnt * sizeof(*request->maps));
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		append_map(&at, &prog->maps[i]);
	append(&at, prog->info.funcs.data, records_len(&prog->info.funcs));
	append(&at, prog->info.lines.data, records_len(&prog->info.lines));
	append(&at, prog->info.btf, prog->info.btf_len);
	entry->hash = hash_of(entry->key, entry->key_len);
}

int cache_entry_new(struct cache *cache, const struct worker_request *request,
		    struct cache_entry **ret_entry)
{
	size_t len = key_len_of(request);
	struct cache_entry *entry = calloc(1, sizeof(*entry) + len);

	if (!entry)
		return -ENOMEM;
	entry->cache = cache;
	entry->refs = 1;
	entry->key_len = len;
	entry->request = *request;
	/* Not needed any more once it was accepted. */
	entry->request.prog.maps = NULL;
	entry->request.prog.info = (struct verifier_info){0};
	write_key(entry, request);
	*ret_entry = entry;
	return 0;
}

static bool is_same(const struct cache_entry *a, const struct cache_entry *b)
{
	return a->hash == b->hash && a->key_len == b->key_len &&
	       memcmp(a->key, b->key, a->key_len) == 0;
}

/* With the lock held. */
static struct cache_entry *find(struct cache *cache, const struct cache_entry *like)
{
	struct cache_entry *entry;

	list_for_each(entry, &cache->entries, node) if (is_same(entry, like)) return entry;
	return NULL;
}

/* With the lock held: as the one that was used last. */
static void list_first(struct cache *cache, struct cache_entry *entry)
{
	list_append(cache->entries.next, &entry->node);
}

struct cache_entry *cache_find(struct cache *cache, const struct cache_entry *like)
{
	struct cache_entry *entry;

	pthread_mutex_lock(&cache->lock);
	entry = find(cache, like);
	if (entry) {
		list_remove(&entry->node);
		list_first(cache, entry);
		__atomic_add_fetch(&entry->refs, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&cache->lock);
	return entry;
}

static size_t answer_size(const struct worker_answer *answer)
{
	return answer->code_len + answer->reloc_cnt * sizeof(*answer->relocs) +
	       (answer->log ? strlen(answer->log) : 0);
}

/* With the lock held: count it anew, and make room. */
static void settle(struct cache_entry *entry)
{
	struct cache *cache = entry->cache;

	cache->size -= entry->size;
	entry->size = sizeof(*entry) + entry->key_len + answer_size(&entry->answer) +
		      answer_size(&entry->full);
	cache->size += entry->size;
	if (entry->size > ENTRY_MAX)
		evict(entry);
	while (cache->size > CACHE_SIZE)
		evict(list_entry(cache->entries.prev, struct cache_entry, node));
}

void cache_add(struct cache_entry *entry)
{
	struct cache *cache = entry->cache;

	pthread_mutex_lock(&cache->lock);
	/* Two that were loaded at the same time are one from then on. */
	if (!find(cache, entry)) {
		entry->listed = true;
		__atomic_add_fetch(&entry->refs, 1, __ATOMIC_RELAXED);
		list_first(cache, entry);
		settle(entry);
	}
	pthread_mutex_unlock(&cache->lock);
}

void cache_add_full(struct cache_entry *entry, struct worker_answer *answer)
{
	pthread_mutex_lock(&entry->cache->lock);
	if (!entry->full.code) {
		entry->full = *answer;
		*answer = (struct worker_answer){0};
		if (entry->listed)
			settle(entry);
	}
	pthread_mutex_unlock(&entry->cache->lock);
}

const struct worker_answer *cache_full(struct cache_entry *entry)
{
	const struct worker_answer *full;

	pthread_mutex_lock(&entry->cache->lock);
	full = entry->full.code ? &entry->full : NULL;
	pthread_mutex_unlock(&entry->cache->lock);
	return full;
}
