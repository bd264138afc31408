/* SPDX-License-Identifier: MIT */
/*
 * Addresses of the region: code part, map memory, arrays.
 *
 * What is given back may still be in use: a thread of a target may have been stopped in the middle
 * of a program. It is used again only after some time, for threads on their way into a program and
 *for catches of late targets that began with an older plan; and
 *
 *	data	once every slot has had another owner, or none, since it was given back: whoever is
 *in a program owns one. That stands in memory which the tenant's processes write, as the data
 *		itself does
 *	code	once each process was seen outside (uspace_reclaim.c): it waits in a list of its own
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "notifier/uspace.h"
#include "shim/quiet.h"

#define REST_MS	 10000
#define AGAIN_MS 2000 /* between two attempts to have room for code */

/* @owners: of the slots when it was given back; cleared as they change. None of them for code */
struct extent {
	struct list node;
	uint64_t at, size;
	int64_t since;
	uint64_t owners[];
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t owner_of(const struct uspace *uspace, uint32_t slot)
{
	const struct region_shared *shared = (void *)(uspace->base + REGION_SHARED);

	return __atomic_load_n(&shared->slots[slot].owner, __ATOMIC_ACQUIRE);
}

static uint32_t slots_of(const struct uspace *uspace)
{
	return ((const struct region_header *)(void *)uspace->base)->slots;
}

/* Whether nobody can be inside any more. */
static bool is_quiet(const struct uspace *uspace, const struct uspace_space *space,
		     struct extent *extent)
{
	bool quiet = now_ms() - extent->since >= REST_MS;

	if (space->is_code)
		return true;
	for (uint32_t slot = 0; slot < slots_of(uspace); slot++) {
		if (extent->owners[slot] && owner_of(uspace, slot) != extent->owners[slot])
			extent->owners[slot] = 0;
		quiet = quiet && !extent->owners[slot];
	}
	return quiet;
}

static void forget(struct extent *extent)
{
	list_remove(&extent->node);
	free(extent);
}

/* From what was given back; the caller holds the lock. */
static uint64_t take_again(struct uspace *uspace, struct uspace_space *space, uint64_t size)
{
	struct extent *extent, *tmp;
	uint64_t at;

	list_for_each_safe(extent, tmp, &space->free, node)
	{
		if (extent->size < size || !is_quiet(uspace, space, extent))
			continue;
		at = extent->at;
		extent->at += size;
		extent->size -= size;
		space->free_size -= size;
		if (!extent->size)
			forget(extent);
		return at;
	}
	return 0;
}

void uspace_space_init(struct uspace_space *space, uint64_t start, uint64_t size, uint64_t unit)
{
	*space = (struct uspace_space){
		.start = start, .next = start, .end = start + size, .unit = unit};
	list_init(&space->free);
	list_init(&space->resting);
}

void uspace_space_deinit(struct uspace_space *space)
{
	struct extent *extent, *tmp;

	if (!space->free.next)
		return;
	list_for_each_safe(extent, tmp, &space->free, node) forget(extent);
	list_for_each_safe(extent, tmp, &space->resting, node) forget(extent);
}

static uint64_t round_up(const struct uspace_space *space, uint64_t size)
{
	return (size + space->unit - 1) / space->unit * space->unit;
}

uint64_t uspace_space_take(struct uspace *uspace, struct uspace_space *space, uint64_t size)
{
	uint64_t at;

	size = round_up(space, size);
	if (!size)
		return 0;
	pthread_mutex_lock(&uspace->lock);
	at = take_again(uspace, space, size);
	if (!at && size <= space->end - space->next) {
		at = space->next;
		space->next += size;
	}
	pthread_mutex_unlock(&uspace->lock);
	return at;
}

static void give(struct uspace *uspace, struct uspace_space *space, uint64_t at, uint64_t size,
		 bool used)
{
	struct extent *extent;
	uint32_t slots;
	bool rests;

	size = round_up(space, size);
	if (!at || !size)
		return;
	slots = space->is_code ? 0 : slots_of(uspace);
	extent = calloc(1, sizeof(*extent) + slots * sizeof(extent->owners[0]));
	if (!extent)
		return; /* lost until the tenant ends */
	extent->at = at;
	extent->size = size;
	extent->since = used ? now_ms() : now_ms() - REST_MS;
	for (uint32_t slot = 0; used && slot < slots; slot++)
		extent->owners[slot] = owner_of(uspace, slot);
	pthread_mutex_lock(&uspace->lock);
	rests = used && space->is_code;
	space->free_size += rests ? 0 : size;
	list_append(rests ? &space->resting : &space->free, &extent->node);
	pthread_mutex_unlock(&uspace->lock);
}

void uspace_space_give(struct uspace *uspace, struct uspace_space *space, uint64_t at,
		       uint64_t size)
{
	give(uspace, space, at, size, true);
}

void uspace_space_give_unused(struct uspace *uspace, struct uspace_space *space, uint64_t at,
			      uint64_t size)
{
	give(uspace, space, at, size, false);
}

static int by_place(const void *a, const void *b)
{
	const struct shim_extent *left = a, *right = b;

	return left->at < right->at ? -1 : left->at > right->at;
}

/* With the lock held. */
static bool is_short(struct uspace_space *space, int64_t now)
{
	if (space->end - space->next + space->free_size >= (space->end - space->start) / 4 ||
	    now < space->again)
		return false;
	space->again = now + AGAIN_MS;
	return true;
}

int uspace_space_resting(struct uspace *uspace, struct uspace_space *space, int64_t *ret_since,
			 struct shim_extent **ret_extents)
{
	const int64_t now = now_ms();
	struct extent *extent;
	uint32_t cnt = 0, i = 0;

	*ret_since = now - REST_MS;
	*ret_extents = NULL;
	pthread_mutex_lock(&uspace->lock);
	if (is_short(space, now))
		list_for_each(extent, &space->resting, node) cnt += extent->since <= *ret_since;
	if (cnt)
		*ret_extents = calloc(cnt, sizeof(**ret_extents));
	if (*ret_extents)
		list_for_each(extent, &space->resting, node)
		{
			if (extent->since <= *ret_since)
				(*ret_extents)[i++] =
					(struct shim_extent){extent->at, extent->size};
		}
	pthread_mutex_unlock(&uspace->lock);
	if (cnt && !*ret_extents)
		return -ENOMEM;
	if (cnt)
		qsort(*ret_extents, cnt, sizeof(**ret_extents), by_place);
	return (int)cnt;
}

void uspace_space_wake(struct uspace *uspace, struct uspace_space *space, int64_t since)
{
	struct extent *extent, *tmp;

	pthread_mutex_lock(&uspace->lock);
	list_for_each_safe(extent, tmp, &space->resting, node)
	{
		if (extent->since > since)
			continue;
		list_remove(&extent->node);
		list_append(&space->free, &extent->node);
		space->free_size += extent->size;
	}
	pthread_mutex_unlock(&uspace->lock);
}
