/* SPDX-License-Identifier: MIT */
/*
 * Tables of maps of maps: what the daemon writes is what programs find, also while it writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/fake_region.h"
#include "vm/runtime/table.h"

#define DATA   (REGION_CODE + 0x1000)
#define PLACES 0x100000 /* where entries lead; entry of key N: behind it by N */

static unsigned char *base;
static struct region_map map;
static uint64_t noted[256]; /* what the daemon notes of each slot: its word */

static int setup(void **state)
{
	base = fake_region(2);
	return 0;
}

static int teardown(void **state)
{
	fake_free(base);
	return 0;
}

static void make(uint32_t type, uint32_t key_size, uint32_t entries)
{
	map = (struct region_map){.type = type,
				  .key_size = key_size,
				  .value_size = 4,
				  .max_entries = entries,
				  .seed = 7};
	assert_int_equal(rt_map_layout(&map, 2), 0);
	map.data = DATA;
	assert_true(map.buckets <= sizeof(noted) / sizeof(noted[0]));
	memset(noted, 0, sizeof(noted));
}

static uint64_t find(uint64_t a)
{
	uint64_t key[2] = {a, ~a};
	unsigned char *found = rt_map_lookup(base, &map, key, 0);

	return found ? (uint64_t)(found - base) : 0;
}

static void moved(uint32_t from, uint32_t to, void *data)
{
	noted[to] = noted[from];
	noted[from] = 0;
}

static int put(uint64_t a, uint64_t word)
{
	uint64_t key[2] = {a, ~a};
	int64_t slot = table_hash_find(base, &map, key, word != 0);

	if (slot < 0)
		return (int)slot;
	noted[slot] = word;
	if (word)
		table_hash_write(base, &map, (uint32_t)slot, key, word);
	else
		table_hash_remove(base, &map, (uint32_t)slot, moved, NULL);
	return 0;
}

static uint64_t word_at(uint32_t slot)
{
	return *(uint64_t *)(base + map.data + slot * map.elem_stride + 8);
}

static void test_shapes(void **state)
{
	struct region_map bad = {.type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
				 .key_size = 8,
				 .value_size = 4,
				 .max_entries = 1};

	assert_int_equal(rt_map_layout(&bad, 2), -EINVAL);
	bad = (struct region_map){.type = BPF_MAP_TYPE_HASH_OF_MAPS,
				  .key_size = 8,
				  .value_size = 8,
				  .max_entries = 1};
	assert_int_equal(rt_map_layout(&bad, 2), -EINVAL);
	bad.value_size = 4;
	bad.max_entries = UINT32_MAX;
	assert_int_equal(rt_map_layout(&bad, 2), -E2BIG);
}

static void test_array(void **state)
{
	uint32_t index = 3;

	make(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4);
	assert_null(rt_map_lookup(base, &map, &index, 0));
	table_array_write(base, &map, 3, PLACES);
	assert_ptr_equal(rt_map_lookup(base, &map, &index, 0), base + PLACES);
	index = 4;
	assert_null(rt_map_lookup(base, &map, &index, 0));
}

/* What a process has not mapped does not stand there. */
static void test_mapped(void **state)
{
	struct region_config *config = (void *)(base + REGION_CONFIG);
	uint32_t index = 0;

	make(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 1);
	table_array_write(base, &map, 0, 3ull << 32 | PLACES);
	config->mapped = 2;
	assert_null(rt_map_lookup(base, &map, &index, 0));
	config->mapped = 3;
	assert_ptr_equal(rt_map_lookup(base, &map, &index, 0), base + PLACES);
	table_array_write(base, &map, 0, TABLE_NOWHERE);
	assert_null(rt_map_lookup(base, &map, &index, 0));
}

/* Against a list of what should be in, for long enough that slots are used again and again. */
static void test_hash(void **state)
{
	bool in[64] = {false};
	uint32_t cnt = 0, random = 1, used;

	make(BPF_MAP_TYPE_HASH_OF_MAPS, 16, 20);
	for (int i = 0; i < 20000; i++) {
		uint32_t key;

		random = random * 1664525 + 1013904223;
		key = random >> 16 & 63;
		if (random >> 28 & 1) {
			assert_int_equal(put(key, 0), in[key] ? 0 : -ENOENT);
			cnt -= in[key];
			in[key] = false;
		} else if (in[key] || cnt < map.max_entries) {
			assert_int_equal(put(key, PLACES + key), 0);
			cnt += !in[key];
			in[key] = true;
		}
		for (key = 0; key < 64; key++)
			assert_int_equal(find(key), in[key] ? PLACES + key : 0);
		/* No trace is left of what is gone, to be walked past. */
		used = 0;
		for (uint32_t slot = 0; slot < map.buckets; slot++) {
			assert_int_equal(word_at(slot), noted[slot]);
			used += word_at(slot) != 0;
		}
		assert_int_equal(used, cnt);
	}
}

static atomic_bool over;

static void *reader(void *wrong)
{
	while (!over)
		for (uint64_t key = 0; key < 32; key++) {
			uint64_t found = find(key);

			/* Keys below 4 are always there, others now and then; none is another's. */
			if ((found && found != PLACES + key) || (!found && key < 4))
				atomic_fetch_add((atomic_uint *)wrong, 1);
		}
	return NULL;
}

static void test_reading_meanwhile(void **state)
{
	atomic_uint wrong = 0;
	pthread_t threads[2];
	uint32_t random = 1;

	make(BPF_MAP_TYPE_HASH_OF_MAPS, 16, 16);
	over = false;
	for (uint64_t key = 0; key < 4; key++)
		assert_int_equal(put(key, PLACES + key), 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, reader, &wrong);
	for (int i = 0; i < 300000; i++) {
		uint32_t key;

		random = random * 1664525 + 1013904223;
		key = 4 + (random >> 16) % 12;
		put(key, random >> 28 & 1 ? PLACES + key : 0);
	}
	over = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_shapes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_array, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
