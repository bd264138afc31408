/* SPDX-License-Identifier: MIT */
/*
 * See turns.h.
 */
#include "vm/runtime/turns.h"

#include "vm/runtime/helpers.h"

uint64_t rt_turns_check(struct rt_run *run)
{
	uint64_t now;

	/* Whoever asked for such a run waits for it, and can end it. */
	if (run->test_run)
		return 1;
	now = rt_ktime_get_ns(0, 0, 0, 0, 0, run);
	if (run->turns == RT_TURNS_CHECK)
		run->until = now + RT_RUN_MAX_NS;
	if (now < run->until)
		return 1;
	/* The next turn comes here again, not for the first time. */
	if (run->until)
		__atomic_fetch_add(&region_counter(run->base, 0, run->counter)->missed, 1,
				   __ATOMIC_RELAXED);
	run->until = 0;
	run->turns = 2 * RT_TURNS_CHECK - 1;
	return 0;
}
