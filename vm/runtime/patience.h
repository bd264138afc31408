/* SPDX-License-Identifier: MIT */
/*
 * How long a process may be kept waiting by others. Any of the tenant's processes can hold what
 * programs need, and let go of it just in time, again and again: each wait alone looks like an
 * honest one. So what is waited beyond PATIENCE_FREE_NS is charged, also when it was not in vain,
 * and repaid by PATIENCE_PAY times as much time that passes; what is left of the patience bounds
 * the next wait. Threads that wait at the same time are charged once.
 */
#pragma once

#include "vm/runtime/internal.h"

#define PATIENCE_FREE_NS                                                                           \
	100000000ull /* far beyond what honest users hold anything, on busy machines too */
#define PATIENCE_PAY	 8u
#define PATIENCE_MOST_NS (4 * RT_NSEC_PER_SEC) /* that can be charged */

/** patience_left() - of @most ns at time @now (monotonic), but not less than @least */
rt_inline uint64_t patience_left(const struct region_cache *cache, uint64_t now, uint64_t most,
				 uint64_t least)
{
	const uint64_t until = rt_load(&cache->waited);
	const uint64_t charged = until > now ? (until - now) / PATIENCE_PAY : 0;

	return charged < most - least ? most - charged : least;
}

/** patience_charge() - it was waited from @from to @to */
rt_inline void patience_charge(struct region_cache *cache, uint64_t from, uint64_t to)
{
	const uint64_t before = rt_load(&cache->charged);
	uint64_t until = rt_load(&cache->waited);

	from += PATIENCE_FREE_NS;
	if (before > from && before <= to)
		from = before;
	if (from >= to)
		return;
	until = (until > to ? until : to) + (to - from) * PATIENCE_PAY;
	if (until - to > PATIENCE_MOST_NS * PATIENCE_PAY)
		until = to + PATIENCE_MOST_NS * PATIENCE_PAY;
	rt_store(&cache->waited, until);
	rt_store(&cache->charged, to);
}
