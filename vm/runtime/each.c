/* SPDX-License-Identifier: MIT */
/*
 * Helpers that call the program back. Its functions take what helpers take: five registers and the
 * run.
 */
#include <errno.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/map.h"
#include "vm/runtime/turns.h"

#define LOOPS_MAX (8u << 20) /* BPF_MAX_LOOPS, include/linux/bpf.h, Linux 6.18 */

typedef uint64_t (*callback_fn)(RT_HELPER_ARGS);

/* r1: how often at most; r2: the function, given the number of the turn and r3; r4: flags */
uint64_t rt_loop(RT_HELPER_ARGS)
{
	callback_fn callback = (callback_fn)r2;
	/* The kernel's parameter is a u32. */
	uint32_t cnt = (uint32_t)r1;

	if (r4)
		return (uint64_t)-EINVAL;
	if (cnt > LOOPS_MAX)
		return (uint64_t)-E2BIG;
	for (uint32_t i = 0; i < cnt; i++)
		if (callback(i, r3, 0, 0, 0, run) || !rt_turn(run))
			return i + 1;
	return cnt;
}

/** struct each - what is called for each element, as rt_for_each_map_elem() was told */
struct each {
	uint64_t map, callback, context;
	struct rt_run *run;
};

static bool call_for(void *key, unsigned char *value, void *data)
{
	const struct each *each = data;
	const struct region_map *map = (const void *)each->map;
	callback_fn callback = (callback_fn)each->callback;

	if (map_is_percpu(map))
		value += (uint64_t)each->run->slot * map->value_stride;
	return callback(each->map, (uint64_t)key, (uint64_t)value, each->context, 0, each->run) ==
		       0 &&
	       rt_turn(each->run);
}

/* r1: map; r2: the function, given map, key, value and r3; r4: flags */
uint64_t rt_for_each_map_elem(RT_HELPER_ARGS)
{
	const struct region_map *map = (const void *)r1;
	struct each each = {.map = r1, .callback = r2, .context = r3, .run = run};

	if (r4)
		return (uint64_t)-EINVAL;
	if (map_is_hash(map))
		return hash_each(run->base, map, call_for, &each);
	return array_each(run->base, map, call_for, &each);
}
