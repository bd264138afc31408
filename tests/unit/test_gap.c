/* SPDX-License-Identifier: MIT */
/*
 * Where the region goes: far from everything, in address spaces of several shapes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "shim/maps.h"

#define SIZE 0x20042000ull
#define GIB  (1ull << 30)

/* Whether the place is free, with room around it. */
static void check(struct map_entry *entries, uint32_t cnt, uint64_t distance)
{
	const struct maps maps = {.entries = entries, .cnt = cnt};
	uint64_t at = maps_gap_far(&maps, SIZE);

	assert_true(at >= 0x10000 && at % 4096 == 0);
	for (uint32_t i = 0; i < cnt; i++)
		assert_true(entries[i].end + distance <= at ||
			    at + SIZE + distance <= entries[i].start);
}

static void test_usual(void **state)
{
	struct map_entry entries[] = {
		{.start = 0x555555554000, .end = 0x555555600000},
		{.start = 0x555555601000, .end = 0x555555701000}, /* heap */
		{.start = 0x7ffff7000000, .end = 0x7ffff7fff000},
		{.start = 0x7ffffffde000, .end = 0x7ffffffff000, .stack = true},
		{.start = 0xffffffffff600000, .end = 0xffffffffff601000},
	};
	const struct maps maps = {.entries = entries, .cnt = ARRAY_SIZE(entries)};

	check(entries, ARRAY_SIZE(entries), 200 * GIB);
	assert_true(maps_gap_far(&maps, SIZE) > entries[1].end);
	/* An address space that starts low, as those of programs at fixed addresses do. */
	entries[0] = (struct map_entry){.start = 0x400000, .end = 0x500000};
	entries[1] = (struct map_entry){.start = 0x600000, .end = 0x700000};
	check(entries, ARRAY_SIZE(entries), 200 * GIB);
}

/* All in one place, as a loader leaves it that is run by its name: only the stack lies elsewhere.
 */
static void test_stack(void **state)
{
	struct map_entry entries[] = {
		{.start = 0x2aaaaaaab000, .end = 0x2aaaab000000},
		{.start = 0x7ffffffde000, .end = 0x7ffffffff000, .stack = true},
	};
	const struct maps maps = {.entries = entries, .cnt = ARRAY_SIZE(entries)};

	check(entries, ARRAY_SIZE(entries), 200 * GIB);
	assert_true(maps_gap_far(&maps, SIZE) < entries[0].start);
}

/* Nearly all of it taken, with a hole of 100 GiB, and then without. */
static void test_full(void **state)
{
	struct map_entry entries[] = {
		{.start = 0x10000, .end = 0x100000000000},
		{.start = 0x101900000000, .end = 0x7fffffff0000},
	};
	const struct maps maps = {.entries = entries, .cnt = ARRAY_SIZE(entries)};

	check(entries, ARRAY_SIZE(entries), 40 * GIB);
	entries[1].start = 0x100030000000;
	assert_int_equal(maps_gap_far(&maps, SIZE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
