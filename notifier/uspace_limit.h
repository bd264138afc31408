/* SPDX-License-Identifier: MIT */
/*
 * How long one call may be at work on a map of the region: processes of the tenant can make its
 * memory say that there is no end, or that each element is locked, which costs up to a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "shim/region.h"

#define USPACE_LIMIT_MS	      5000
#define USPACE_LIMIT_ENTRY_NS 10000 /* several times what an honest element takes */
#define USPACE_LIMIT_LOOK_MS  50

/** struct uspace_limit @end: when it is over @look: when the caller is to be looked for (both ms)
 */
struct uspace_limit {
	int64_t end, look;
};

static inline int64_t uspace_limit_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** uspace_limit_start() - for work on @cnt elements, as far as the map may have them */
static inline struct uspace_limit uspace_limit_start(const struct region_map *map, uint32_t cnt)
{
	uint64_t entries = cnt < map->max_entries ? cnt : map->max_entries;
	int64_t now = uspace_limit_now();

	return (struct uspace_limit){
		.end = now + USPACE_LIMIT_MS + (int64_t)(entries * USPACE_LIMIT_ENTRY_NS / 1000000),
		.look = now + USPACE_LIMIT_LOOK_MS,
	};
}

static inline bool uspace_limit_over(const struct uspace_limit *limit)
{
	return uspace_limit_now() >= limit->end;
}

/** uspace_limit_look() - whether it is time again to see if anybody still waits for the answer */
static inline bool uspace_limit_look(struct uspace_limit *limit)
{
	int64_t now = uspace_limit_now();

	if (now < limit->look)
		return false;
	limit->look = now + USPACE_LIMIT_LOOK_MS;
	return true;
}
