/* SPDX-License-Identifier: MIT */
/*
 * What long waits cost, by a clock of our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vm/runtime/patience.h"

#define MS    1000000ull
#define MOST  (4000 * MS)
#define LEAST (4 * MS)

static uint64_t left(const struct region_cache *cache, uint64_t now)
{
	return patience_left(cache, now, MOST, LEAST);
}

static void test_short_waits_are_free(void **state)
{
	struct region_cache cache = {0};
	uint64_t now = 1000000 * MS;

	for (int i = 0; i < 1000; i++, now += 100 * MS)
		patience_charge(&cache, now, now + 100 * MS);
	assert_int_equal(left(&cache, now), MOST);
}

static void test_long_waits_are_charged_and_repaid(void **state)
{
	struct region_cache cache = {0};
	const uint64_t now = 1000000 * MS;

	patience_charge(&cache, now - 1100 * MS, now);
	assert_int_equal(left(&cache, now), 3000 * MS);
	/* Eight times as long. */
	assert_int_equal(left(&cache, now + 4000 * MS), 3500 * MS);
	assert_int_equal(left(&cache, now + 8000 * MS), MOST);
	assert_int_equal(left(&cache, now + 80000 * MS), MOST);
	/* Of another kind of wait, which is shorter, nothing is left. */
	assert_int_equal(patience_left(&cache, now, 500 * MS, 2 * MS), 2 * MS);
}

static void test_threads_are_charged_once(void **state)
{
	struct region_cache cache = {0};
	const uint64_t now = 1000000 * MS;

	for (uint64_t i = 0; i < 16; i++)
		patience_charge(&cache, now - (1100 + i) * MS, now);
	assert_int_equal(left(&cache, now), 3000 * MS);
	patience_charge(&cache, now - 600 * MS, now + 100 * MS);
	assert_int_equal(left(&cache, now + 100 * MS), 3000 * MS - 100 * MS + 100 * MS / 8);
}

/* Whatever others do, no more than this share of the time is waited for long. */
static void test_share(void **state)
{
	struct region_cache cache = {0};
	uint64_t now = 1000000 * MS, waited = 0;
	const uint64_t from = now;

	while (now - from < 1000000 * MS) {
		const uint64_t wait = left(&cache, now);

		patience_charge(&cache, now, now + wait);
		waited += wait > PATIENCE_FREE_NS ? wait - PATIENCE_FREE_NS : 0;
		now += wait + 1 * MS;
	}
	assert_true(waited < 4000 * MS + 1000000 * MS / 8);
}

static void test_there_is_an_end_to_it(void **state)
{
	struct region_cache cache = {0};
	const uint64_t now = 1000000000 * MS;

	patience_charge(&cache, now - 900000000 * MS, now);
	assert_int_equal(left(&cache, now), LEAST);
	assert_int_equal(left(&cache, now + 16000 * MS), 2000 * MS);
	assert_int_equal(left(&cache, now + 32000 * MS), MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_waits_are_free),
		cmocka_unit_test(test_long_waits_are_charged_and_repaid),
		cmocka_unit_test(test_threads_are_charged_once),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_there_is_an_end_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
