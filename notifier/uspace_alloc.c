/* SPDX-License-Identifier: MIT */
/*
 * Addresses of the region: code part, map memory, arrays.
 *
 * What is given back may still be in use: a thread of a target may have been stopped in the middle
 * of a program. It owns a CPU slot then, so an extent is used again only once every slot has had
 * another owner, or none, since it was given back; and not before some time has passed, for threads
 * on their way to a slot and for catches of late targets that began with an older plan.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "notifier/uspace.h"

#define REST_MS 10000

/* @owners: of the slots when it was given back; cleared as they change */
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
static bool is_quiet(const struct uspace *uspace, struct extent *extent)
{
	bool quiet = now_ms() - extent->since >= REST_MS;

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
		if (extent->size < size || !is_quiet(uspace, extent))
			continue;
		at = extent->at;
		extent->at += size;
		extent->size -= size;
		if (!extent->size)
			forget(extent);
		return at;
	}
	return 0;
}

void uspace_space_init(struct uspace_space *space, uint64_t start, uint64_t size, uint64_t unit)
{
	*space = (struct uspace_space){.next = start, .end = start + size, .unit = unit};
	list_init(&space->free);
}

void uspace_space_deinit(struct uspace_space *space)
{
	struct extent *extent, *tmp;

	if (space->free.next)
		list_for_each_safe(extent, tmp, &space->free, node) forget(extent);
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

	size = round_up(space, size);
	if (!at || !size)
		return;
	extent = calloc(1, sizeof(*extent) + slots_of(uspace) * sizeof(extent->owners[0]));
	if (!extent)
		return; /* lost until the tenant ends */
	extent->at = at;
	extent->size = size;
	extent->since = used ? now_ms() : now_ms() - REST_MS;
	for (uint32_t slot = 0; used && slot < slots_of(uspace); slot++)
		extent->owners[slot] = owner_of(uspace, slot);
	pthread_mutex_lock(&uspace->lock);
	list_append(&space->free, &extent->node);
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
