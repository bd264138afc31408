/* SPDX-License-Identifier: MIT */
/*
 * A process that runs programs on maps of all kinds is killed at random instants, again and again:
 * each time the maps go on at once, whole, and lose an element at most.
 *
 * With a number as its argument it kills that often.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/edges.h"
#include "tests/unit/engines_region.h"
#include "vm/runtime/helpers.h"

#define KILLS	 400
#define PROGRAMS 32
#define SLOTS	 2u
#define VICTIM	 1u /* its slot */
#define KEYS	 64u
#define LONGEST	 2.0 /* seconds for all maps, on a machine that has other things to do */

static uint32_t kills = KILLS;
static struct region_side side = {.side = {.name = "killed"}};
static struct mix mixes[PROGRAMS];
static uint64_t seed = 3;
static _Alignas(8) unsigned char user[MIX_USER + 8];
static double slowest;

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static pid_t start_victim(void)
{
	const pid_t child = fork();
	uint64_t ctx[MIX_CTX];

	assert_true(child >= 0);
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	side.runtime.run.slot = VICTIM;
	for (uint32_t i = (uint32_t)edge_random(&seed) % PROGRAMS;; i = (i + 1) % PROGRAMS) {
		for (uint32_t k = 0; k < MIX_CTX; k++)
			ctx[k] = edge_any(&seed);
		jit_side_run_at(&side, SIDE_CODE + i * SIDE_CODE_SIZE, ctx);
	}
}

static void make_key(uint32_t map, uint32_t number, unsigned char *key)
{
	memset(key, 0, SIDE_KEY);
	if (map == MIX_LPM) {
		key[0] = 32;
		key[4] = (unsigned char)number;
		return;
	}
	key[0] = (unsigned char)number;
}

/* Return: how many elements the map takes that it has not. */
static uint32_t fill_map(const struct region_map *map, uint32_t index)
{
	const unsigned char value[SIDE_VALUE] = {7};
	unsigned char key[SIDE_KEY];
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		int r;

		make_key(index, i, key);
		r = rt_map_update(side.base, map, key, value, BPF_ANY, 0);
		if (r == 0) {
			cnt++;
			if (!rt_map_lookup(side.base, map, key, 0))
				fail_msg("map %u: what was written is not there", index);
		} else if (r != -E2BIG && r != -ENOSPC) {
			fail_msg("map %u: %d", index, r);
		}
	}
	return cnt;
}

static void empty_map(const struct region_map *map)
{
	unsigned char key[SIDE_KEY];

	for (uint32_t i = 0; i < 2 * map->max_entries; i++)
		if (rt_map_next_key(side.base, map, NULL, key) < 0 ||
		    rt_map_delete(side.base, map, key, RT_ALL_SLOTS) < 0)
			return;
	fail_msg("a map that does not become empty");
}

static void check_queue(const struct region_map *map)
{
	unsigned char value[SIDE_VALUE] = {9};
	uint32_t cnt = 0, room = 0;

	while (rt_map_pop(side.base, map, value, 0) == 0)
		assert_true(++cnt <= map->max_entries);
	while (rt_map_push(side.base, map, value, 0, 0) == 0)
		assert_true(++room <= map->max_entries);
	assert_int_equal(room, map->max_entries);
}

/* What the victim had claimed never comes: the daemon finds that out and gives the room back. */
static void check_ring(void)
{
	const struct region_map *map = &side.maps[MIX_RING];
	struct region_ringbuf *counters = (void *)(side.base + map->extra);
	uint64_t *consumer = (void *)(side.base + map->data);
	uint64_t number = 0x1234567890ull, record;
	const unsigned char *data;
	uint32_t size;

	while (region_side_record_of(&side.side, VICTIM, &size))
		;
	counters->offset = *consumer - counters->claimed;
	assert_int_equal(
		rt_ringbuf_output((uint64_t)map, (uint64_t)&number, 8, 0, 0, &side.runtime.run), 0);
	record = rt_ringbuf_reserve((uint64_t)map, 16, 0, 0, 0, &side.runtime.run);
	assert_true(record);
	memset((void *)record, 3, 16);
	rt_ringbuf_submit(record, 0, 0, 0, 0, &side.runtime.run);
	data = region_side_record_of(&side.side, 0, &size);
	assert_true(data && size == 8 && memcmp(data, &number, 8) == 0);
	data = region_side_record_of(&side.side, 0, &size);
	assert_true(data && size == 16 && data[15] == 3);
	assert_null(region_side_record_of(&side.side, 0, &size));
}

/* Return: elements that the hashes have lost up to now. */
static uint32_t check_maps(void)
{
	uint32_t lost = 0;

	for (uint32_t i = MIX_TABLE; i < MIX_OUTER; i++) {
		const struct region_map *map = &side.maps[i];
		const uint64_t value = i;
		uint32_t want = map->max_entries < KEYS ? map->max_entries : KEYS, got;

		switch (i) {
		case MIX_QUEUE:
		case MIX_STACK:
			check_queue(map);
			break;
		case MIX_BLOOM:
			assert_int_equal(rt_map_push(side.base, map, &value, 0, 0), 0);
			assert_int_equal(rt_map_peek(side.base, map, (void *)&value, 0), 0);
			break;
		case MIX_RING:
			check_ring();
			break;
		case MIX_TABLE:
		case MIX_PERCPU:
			assert_int_equal(fill_map(map, i), want);
			break;
		default:
			empty_map(map);
			got = fill_map(map, i);
			lost += want - got;
			empty_map(map);
		}
	}
	return lost;
}

static void test_killed(void **state)
{
	uint32_t lost = 0;

	(void)state;
	for (uint32_t i = 0; i < kills; i++) {
		const pid_t child = start_victim();
		double start;

		usleep((useconds_t)(edge_random(&seed) % 3000));
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		/* The next owner of the slot takes it over. */
		fake_shared(side.base)->slots[VICTIM].episodes++;
		start = seconds();
		lost = check_maps();
		if (lost > i + 1)
			fail_msg("kill %u: %u elements lost", i, lost);
		slowest = seconds() - start > slowest ? seconds() - start : slowest;
	}
	print_message("%u kills, %u elements lost, slowest look at all maps %.1f ms\n", kills, lost,
		      slowest * 1e3);
	assert_true(slowest < LONGEST);
}

static int setup(void **state)
{
	uint32_t cnt = 0;

	(void)state;
	region_side_init(&side, SLOTS);
	/* Locks are signed with the run that holds them. */
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		fake_shared(side.base)->slots[slot].owner = slot + 1;
	for (uint64_t number = 0; cnt < PROGRAMS; number++) {
		struct verifier_facts facts = {0};
		const char *why;

		if (!mix_program(&mixes[cnt], number, user) ||
		    side_verify(&mixes[cnt], &facts, &why) < 0)
			continue;
		if (jit_side_compile(&side.side, &mixes[cnt], &facts, cnt % 2 ? JIT_FULL : JIT_FAST,
				     SIDE_CODE + cnt * SIDE_CODE_SIZE) < 0)
			fail_msg("program %lu: %s", number, side.side.why);
		cnt++;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	region_side_deinit(&side);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
	};

	if (argc > 1)
		kills = (uint32_t)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
