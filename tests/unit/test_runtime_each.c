/* SPDX-License-Identifier: MIT */
/*
 * Helpers that call the program back: how often, with what, and what becomes of it when the map's memory
 * says nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>

#include "tests/unit/fake_region.h"
#include "vm/runtime/helpers.h"

#define SLOTS	2u
#define ENTRIES 64u

static unsigned char *base;
static struct region_map *map;
static struct rt_run run_of;

/** struct seen - what the callbacks saw; they stop after @stop calls */
struct seen {
	uint64_t calls, stop, keys, sum;
	bool drop;
};

static uint64_t on_turn(RT_HELPER_ARGS)
{
	struct seen *seen = (void *)r2;

	(void)r3, (void)r4, (void)r5;
	assert_ptr_equal(run, &run_of);
	assert_int_equal(r1, seen->calls++);
	return seen->calls == seen->stop;
}

static uint64_t on_element(RT_HELPER_ARGS)
{
	struct seen *seen = (void *)r4;

	(void)r5;
	assert_ptr_equal(run, &run_of);
	assert_ptr_equal((void *)r1, map);
	seen->calls++;
	seen->keys += *(uint32_t *)r2;
	seen->sum += *(uint64_t *)r3;
	if (seen->drop)
		assert_int_equal(rt_map_delete(base, map, (void *)r2, run->slot), 0);
	return seen->calls == seen->stop;
}

static void begin(uint32_t type)
{
	base = fake_region(SLOTS);
	run_of = (struct rt_run){.base = base, .slot = 1};
	map = (void *)(base + FAKE_SITES);
	*map = (struct region_map){.type = type,
				   .key_size = 4,
				   .value_size = 8,
				   .max_entries = ENTRIES,
				   .data = REGION_MAPS};
	assert_int_equal(rt_map_layout(map, SLOTS), 0);
	for (uint32_t key = 0; key < ENTRIES; key++) {
		uint64_t value = key * 3;

		assert_int_equal(rt_map_update(base, map, &key, &value, BPF_ANY, 1), 0);
	}
}

static uint64_t each(struct seen *seen, uint64_t flags)
{
	return rt_for_each_map_elem((uint64_t)map, (uint64_t)on_element, (uint64_t)seen, flags, 0,
				    &run_of);
}

static void test_loop(void **state)
{
	struct seen seen = {.calls = 0};

	(void)state;
	assert_int_equal(rt_loop(100, (uint64_t)on_turn, (uint64_t)&seen, 0, 0, &run_of), 100);
	assert_int_equal(seen.calls, 100);
	seen = (struct seen){.stop = 7};
	assert_int_equal(rt_loop(100, (uint64_t)on_turn, (uint64_t)&seen, 0, 0, &run_of), 7);
	seen = (struct seen){.calls = 0};
	assert_int_equal(rt_loop(0, (uint64_t)on_turn, (uint64_t)&seen, 0, 0, &run_of), 0);
	assert_int_equal(rt_loop((8 << 20) + 1, (uint64_t)on_turn, (uint64_t)&seen, 0, 0, &run_of),
			 (uint64_t)-E2BIG);
	assert_int_equal(rt_loop(1, (uint64_t)on_turn, (uint64_t)&seen, 1, 0, &run_of),
			 (uint64_t)-EINVAL);
	assert_int_equal(seen.calls, 0);
}

static void every_element(uint32_t type)
{
	struct seen seen = {.calls = 0};

	begin(type);
	assert_int_equal(each(&seen, 0), ENTRIES);
	assert_int_equal(seen.calls, ENTRIES);
	assert_int_equal(seen.keys, ENTRIES * (ENTRIES - 1) / 2);
	assert_int_equal(seen.sum, 3 * seen.keys);
	seen = (struct seen){.stop = 5};
	assert_int_equal(each(&seen, 0), 5);
	seen = (struct seen){.calls = 0};
	assert_int_equal(each(&seen, 1), (uint64_t)-EINVAL);
	assert_int_equal(seen.calls, 0);
	fake_free(base);
}

static void test_each(void **state)
{
	(void)state;
	every_element(BPF_MAP_TYPE_ARRAY);
	every_element(BPF_MAP_TYPE_PERCPU_ARRAY);
	every_element(BPF_MAP_TYPE_HASH);
	every_element(BPF_MAP_TYPE_PERCPU_HASH);
}

/* Each element is seen once, also when it is deleted while it is looked at. */
static void test_delete(void **state)
{
	struct seen seen = {.drop = true};

	(void)state;
	begin(BPF_MAP_TYPE_HASH);
	assert_int_equal(each(&seen, 0), ENTRIES);
	assert_int_equal(seen.keys, ENTRIES * (ENTRIES - 1) / 2);
	seen = (struct seen){.calls = 0};
	assert_int_equal(each(&seen, 0), 0);
	fake_free(base);
}

/* Words of the map that look like links, as many as it has: a walk ends, and stays inside. */
static void test_hostile(void **state)
{
	uint64_t random = 7;

	(void)state;
	begin(BPF_MAP_TYPE_HASH);
	for (uint32_t i = 0; i < 20000; i++) {
		struct seen seen = {.calls = 0};

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		*(uint32_t *)(base + map->data + (random >> 20) % (map->data_size - 4) / 4 * 4) =
			random & 1 ? (uint32_t)(random >> 58) : (uint32_t)(random >> 40);
		assert_true(each(&seen, 0) <= ENTRIES);
		assert_true(seen.calls <= ENTRIES);
	}
	fake_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
