/* SPDX-License-Identifier: MIT */
/*
 * Programs that were loaded before, by the same tenant: verdict, log and code are those of the
 * first time. Never shared between tenants: how long a load takes would tell one what others load.
 *
 * What is looked for is all that the worker is told, byte by byte, so that the same in means the
 * same out. Where code and maps stand is not part of it (vm/code.h).
 */
#pragma once

#include <linux/bpf.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "verifier/worker.h"

/** CACHE_SIZE - bytes for one tenant; what was not used for longest goes */
#define CACHE_SIZE (4u << 20)

struct cache {
	pthread_mutex_t lock;
	struct list entries; /* used last first */
	size_t size;
};

/**
 * struct cache_entry - a program as it was loaded, and what was made of it; counted
 * @cache, @listed: where it may be found; @node; all of these and @full are guarded by the cache's
 * lock
 * @request: as the worker was asked for @answer; what it points to is the entry's
 * @answer: accepted and compiled
 * @full: better code, or without code; does not change once it has some
 * @key, @key_len, @hash, @size: what it is found by, what it counts for (bytes)
 */
struct cache_entry {
	struct cache *cache;
	struct list node;
	bool listed;
	unsigned int refs;
	struct worker_request request;
	struct worker_answer answer, full;
	uint64_t hash;
	size_t key_len, size;
	unsigned char key[];
};

void cache_init(struct cache *cache);
/** cache_deinit() - entries that are in use stay until they are given back */
void cache_deinit(struct cache *cache);

/**
 * cache_entry_new() - an entry for @request, without an answer, which nobody can find
 *
 * Return: 0 and a reference, -ENOMEM.
 */
int cache_entry_new(struct cache *cache, const struct worker_request *request,
		    struct cache_entry **ret_entry);
/** cache_find() - Return: another entry for the same request, with an answer and a reference, or
 * NULL */
struct cache_entry *cache_find(struct cache *cache, const struct cache_entry *like);
/** cache_add() - from now on it is found, unless it is too large to be kept; it has an answer */
void cache_add(struct cache_entry *entry);
/** cache_add_full() - better code for it; takes @answer's */
void cache_add_full(struct cache_entry *entry, struct worker_answer *answer);
/** cache_full() - Return: the better code, borrowed from @entry, or NULL */
const struct worker_answer *cache_full(struct cache_entry *entry);
/** cache_entry_unref() - accepts NULL. Return: NULL. */
struct cache_entry *cache_entry_unref(struct cache_entry *entry);
