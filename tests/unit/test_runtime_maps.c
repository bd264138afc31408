/* SPDX-License-Identifier: MIT */
/*
 * Maps of the runtime against the kernel's: the same random operations on both, the same answers.
 * Then the same on memory that is overwritten all the time.
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
#include <time.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/unit/fake_region.h"

#define SLOTS_MAX 64
#define KEY_MAX	  64
#define VALUE_MAX (256 * SLOTS_MAX)

static uint64_t seed;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % limit;
}

static void random_fill(void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)p)[i] = (unsigned char)random_below(256);
}

/** struct pair - the same map on both sides */
struct pair {
	unsigned char *base;
	struct region_map map;
	int fd;
	size_t value_len; /* as tools see it */
	uint32_t keys;	  /* how many different ones are used */
};

static uint32_t possible_cpus(void)
{
	return (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
}

static int kernel_create(const struct region_map *map)
{
	struct abi_map_create attr = {
		.map_type = map->type,
		.key_size = map->key_size,
		.value_size = map->value_size,
		.max_entries = map->max_entries,
	};
	int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

	return fd;
}

static int kernel_elem(int fd, int cmd, const void *key, void *value, uint64_t flags)
{
	struct abi_map_elem attr = {
		.map_fd = (uint32_t)fd,
		.key = (uintptr_t)key,
		.value = (uintptr_t)value,
		.flags = flags,
	};
	int r = sys_bpf(cmd, &attr, sizeof(attr));

	return r;
}

static bool is_percpu(const struct region_map *map)
{
	return map->type == BPF_MAP_TYPE_PERCPU_HASH || map->type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       map->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static void pair_open(struct pair *pair, uint32_t type, uint32_t key, uint32_t value,
		      uint32_t entries)
{
	uint32_t slots = possible_cpus();

	pair->keys = entries * 2;
	/* When the kernel evicts is its own business, but not as long as there is plenty. */
	if (type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH)
		pair->keys = entries / 32;
	pair->map = (struct region_map){
		.type = type,
		.key_size = key,
		.value_size = value,
		.max_entries = entries,
		.data = REGION_MAPS,
		.seed = 12345,
	};
	pair->base = fake_region(slots);
	assert_int_equal(rt_map_layout(&pair->map, slots), 0);
	rt_map_init(pair->base, &pair->map);
	pair->value_len = is_percpu(&pair->map) ? (value + 7) / 8 * 8 * slots : value;
	pair->fd = kernel_create(&pair->map);
	assert_true(pair->fd >= 0);
}

static void pair_close(struct pair *pair)
{
	close(pair->fd);
	fake_free(pair->base);
}

/* A key of which there are few, so that most operations meet an element; arrays: some behind the
 * end. */
static void pair_key(const struct pair *pair, unsigned char *key)
{
	uint32_t number = random_below(pair->keys);

	memset(key, 0xa5, pair->map.key_size);
	memcpy(key, &number, pair->map.key_size < 4 ? pair->map.key_size : 4);
}

static void check_update(struct pair *pair)
{
	unsigned char key[KEY_MAX], value[VALUE_MAX];
	uint64_t flags = random_below(10) ? random_below(3) : random_below(9);

	pair_key(pair, key);
	random_fill(value, pair->value_len);
	assert_int_equal(rt_map_write(pair->base, &pair->map, key, value, flags),
			 kernel_elem(pair->fd, BPF_MAP_UPDATE_ELEM, key, value, flags));
}

static void check_delete(struct pair *pair)
{
	unsigned char key[KEY_MAX];

	pair_key(pair, key);
	assert_int_equal(rt_map_delete(pair->base, &pair->map, key, RT_ALL_SLOTS),
			 kernel_elem(pair->fd, BPF_MAP_DELETE_ELEM, key, NULL, 0));
}

static void check_lookup(struct pair *pair, const unsigned char *key)
{
	unsigned char ours[VALUE_MAX] = {0}, theirs[VALUE_MAX] = {0};

	assert_int_equal(rt_map_read(pair->base, &pair->map, key, ours),
			 kernel_elem(pair->fd, BPF_MAP_LOOKUP_ELEM, key, theirs, 0));
	assert_memory_equal(ours, theirs, pair->value_len);
}

static void check_random_lookup(struct pair *pair)
{
	unsigned char key[KEY_MAX];

	pair_key(pair, key);
	check_lookup(pair, key);
}

/* Every key of ours is one of theirs, with the same value, and there are as many. */
static void check_walk(struct pair *pair)
{
	unsigned char key[KEY_MAX] = {0}, next[KEY_MAX], first[KEY_MAX], unknown[KEY_MAX];
	uint32_t ours = 0, theirs = 0;
	void *at = NULL;

	for (; rt_map_next_key(pair->base, &pair->map, at, next) == 0; ours++) {
		memcpy(ours ? key : first, next, sizeof(key));
		memcpy(key, next, sizeof(key));
		at = key;
		check_lookup(pair, key);
		assert_true(ours < pair->map.max_entries);
	}
	for (at = NULL; kernel_elem(pair->fd, BPF_MAP_GET_NEXT_KEY, at, next, 0) == 0; theirs++) {
		memcpy(key, next, sizeof(key));
		at = key;
	}
	assert_int_equal(ours, theirs);
	memset(unknown, 0xee, sizeof(unknown));
	assert_int_equal(rt_map_next_key(pair->base, &pair->map, unknown, next),
			 kernel_elem(pair->fd, BPF_MAP_GET_NEXT_KEY, unknown, key, 0));
	if (ours)
		assert_memory_equal(next, first, pair->map.key_size);
}

static void compare_with_kernel(uint32_t type, uint32_t key, uint32_t value, uint32_t entries)
{
	struct pair pair;

	seed = type * 1000003 + key * 1009 + value;
	pair_open(&pair, type, key, value, entries);
	for (int i = 0; i < 6000; i++) {
		switch (random_below(10)) {
		case 0 ... 3:
			check_update(&pair);
			break;
		case 4 ... 5:
			check_delete(&pair);
			break;
		case 6 ... 8:
			check_random_lookup(&pair);
			break;
		default:
			if (!random_below(50))
				check_walk(&pair);
		}
	}
	check_walk(&pair);
	pair_close(&pair);
}

static void test_hash_like_kernel(void **state)
{
	static const uint32_t keys[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 31, 64};
	static const uint32_t values[] = {1, 4, 8, 9, 24, 64};

	for (uint32_t i = 0; i < ARRAY_SIZE(keys); i++)
		compare_with_kernel(BPF_MAP_TYPE_HASH, keys[i], values[i % ARRAY_SIZE(values)],
				    i % 3 ? 32 : 1 + i);
}

static void test_percpu_hash_like_kernel(void **state)
{
	static const uint32_t keys[] = {1, 4, 8, 13, 40};
	static const uint32_t values[] = {8, 4, 1, 24, 100};

	for (uint32_t i = 0; i < ARRAY_SIZE(keys); i++)
		compare_with_kernel(BPF_MAP_TYPE_PERCPU_HASH, keys[i], values[i], 16 + i);
}

static void test_lru_like_kernel(void **state)
{
	compare_with_kernel(BPF_MAP_TYPE_LRU_HASH, 4, 8, 2048);
	compare_with_kernel(BPF_MAP_TYPE_LRU_HASH, 13, 21, 3000);
	compare_with_kernel(BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 2048);
	compare_with_kernel(BPF_MAP_TYPE_LRU_PERCPU_HASH, 9, 12, 3000);
}

static void test_array_like_kernel(void **state)
{
	compare_with_kernel(BPF_MAP_TYPE_ARRAY, 4, 1, 1);
	compare_with_kernel(BPF_MAP_TYPE_ARRAY, 4, 8, 10);
	compare_with_kernel(BPF_MAP_TYPE_ARRAY, 4, 21, 30);
	compare_with_kernel(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 10);
	compare_with_kernel(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 21, 30);
}

/* Shapes the kernel refuses are refused, and with the same error. */
static void test_shapes_like_kernel(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH,	   BPF_MAP_TYPE_ARRAY,
					 BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
					 BPF_MAP_TYPE_LRU_HASH,	   BPF_MAP_TYPE_LRU_PERCPU_HASH};
	static const uint32_t sizes[] = {0, 1, 4, 8, 32768, 32769, 40000};

	for (uint32_t i = 0; i < ARRAY_SIZE(types) * 7 * 7 * 2; i++) {
		struct region_map map = {
			.type = types[i % 6],
			.key_size = sizes[i / 6 % 7],
			.value_size = sizes[i / 42 % 7],
			.max_entries = i / 294,
		};
		int fd, r;

		if (map.key_size > 512)
			map.key_size = 512;
		fd = kernel_create(&map);
		r = rt_map_layout(&map, possible_cpus());
		assert_int_equal(r, fd < 0 ? fd : 0);
		if (fd >= 0)
			close(fd);
	}
}

static void test_shapes_of_ours(void **state)
{
	struct region_map huge = {.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8};
	struct region_map other = {.type = BPF_MAP_TYPE_CPUMAP, .key_size = 4, .value_size = 8};
	struct region_map array = {.type = BPF_MAP_TYPE_ARRAY, .key_size = 4};

	other.max_entries = 1;
	assert_int_equal(rt_map_layout(&other, 2), -EOPNOTSUPP);
	for (uint64_t entries = 1; entries < UINT32_MAX; entries = entries * 3 + 1) {
		huge.max_entries = (uint32_t)entries;
		if (rt_map_layout(&huge, 2) == 0)
			assert_true(huge.data_size <= REGION_MAPS_SIZE &&
				    huge.data_size >= entries * 24);
		else
			assert_true(entries * 24 > REGION_MAPS_SIZE / 4);
	}
	array.value_size = 0x7ffffff0;
	array.max_entries = UINT32_MAX;
	assert_int_equal(rt_map_layout(&array, 2), -E2BIG);
}

/* A program's view of per-CPU values: its own slot's, the others are zero in a new element. */
static void test_percpu_from_programs(void **state)
{
	unsigned char *base = fake_region(4);
	struct region_map map = {.type = BPF_MAP_TYPE_PERCPU_HASH,
				 .key_size = 8,
				 .value_size = 12,
				 .max_entries = 4,
				 .data = REGION_MAPS};
	uint64_t key = 77, read[8], value[2] = {0x1111111111111111, 0x22222222};

	assert_int_equal(rt_map_layout(&map, 4), 0);
	memset(base + REGION_MAPS + map.data_size - 4 * map.elem_stride, 0xff, 4 * map.elem_stride);
	assert_null(rt_map_lookup(base, &map, &key, 1));
	assert_int_equal(rt_map_update(base, &map, &key, value, BPF_ANY, 1), 0);
	assert_int_equal(rt_map_read(base, &map, &key, read), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(read[i], i / 2 == 1 ? value[i % 2] : 0);
	value[0] = 3;
	assert_int_equal(rt_map_update(base, &map, &key, value, BPF_EXIST, 3), 0);
	assert_int_equal(rt_map_read(base, &map, &key, read), 0);
	assert_int_equal(read[2], 0x1111111111111111);
	assert_int_equal(read[6], 3);
	assert_int_equal(*(uint64_t *)rt_map_lookup(base, &map, &key, 3), 3);
	assert_ptr_equal((char *)rt_map_lookup(base, &map, &key, 2) + 16,
			 rt_map_lookup(base, &map, &key, 3));
	fake_free(base);
}

/* Somebody overwrites the map's memory, lists, locks and all, while others use it. */
struct hostile {
	unsigned char *base;
	struct region_map map;
	atomic_bool stop;
};

static void *hostile_writer(void *arg)
{
	struct hostile *hostile = arg;
	unsigned char *data = hostile->base + hostile->map.data;
	uint64_t random = 99;

	while (!atomic_load(&hostile->stop)) {
		uint64_t at;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		at = (random >> 20) % (hostile->map.data_size - 8);
		/* Small numbers are the most harmful: they look like elements. */
		*(volatile uint32_t *)(data + at / 4 * 4) =
			random & 1 ? (uint32_t)(random >> 40) : (uint32_t)(random >> 58);
		if (!(random >> 56 & 15))
			*(volatile uint32_t *)(data + 64 + at % 64 / 4 * 4) = 1 + (random >> 60);
	}
	return NULL;
}

static void hostile_memory(uint32_t type, uint32_t key_size, uint32_t value_size)
{
	static unsigned char key[KEY_MAX], value[VALUE_MAX];
	struct hostile hostile = {.base = fake_region(2)};
	const unsigned char *low = hostile.base + REGION_MAPS, *found;
	struct timespec start, now;
	pthread_t id;
	long ops = 0;

	hostile.map = (struct region_map){.type = type,
					  .key_size = key_size,
					  .value_size = value_size,
					  .max_entries = 16,
					  .data = REGION_MAPS + 4096};
	assert_int_equal(rt_map_layout(&hostile.map, 2), 0);
	assert_int_equal(pthread_create(&id, NULL, hostile_writer, &hostile), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		random_fill(key, 1);
		key[0] %= 32;
		rt_map_update(hostile.base, &hostile.map, key, value, random_below(3),
			      random_below(2));
		found = rt_map_lookup(hostile.base, &hostile.map, key, random_below(2));
		assert_true(!found || (found >= low + 4096 &&
				       found + value_size <= low + 4096 + hostile.map.data_size));
		rt_map_read(hostile.base, &hostile.map, key, value);
		rt_map_delete(hostile.base, &hostile.map, key, RT_ALL_SLOTS);
		rt_map_write(hostile.base, &hostile.map, key, value, BPF_ANY);
		rt_map_next_key(hostile.base, &hostile.map, key, key);
		ops++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 3);
	atomic_store(&hostile.stop, true);
	pthread_join(id, NULL);
	/* Nothing outside of the map was written. */
	for (uint32_t i = 0; i < 4096; i++)
		assert_int_equal(low[i], 0);
	for (uint32_t i = 0; i < 4096; i++)
		assert_int_equal(low[4096 + hostile.map.data_size + i], 0);
	assert_true(ops > 10);
	fake_free(hostile.base);
}

static void test_hostile_memory(void **state)
{
	seed = 5;
	hostile_memory(BPF_MAP_TYPE_HASH, 8, 8);
	hostile_memory(BPF_MAP_TYPE_PERCPU_HASH, 5, 24);
	hostile_memory(BPF_MAP_TYPE_LRU_HASH, 8, 8);
	hostile_memory(BPF_MAP_TYPE_LRU_PERCPU_HASH, 5, 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash_like_kernel),
		cmocka_unit_test(test_percpu_hash_like_kernel),
		cmocka_unit_test(test_lru_like_kernel),
		cmocka_unit_test(test_array_like_kernel),
		cmocka_unit_test(test_shapes_like_kernel),
		cmocka_unit_test(test_shapes_of_ours),
		cmocka_unit_test(test_percpu_from_programs),
		cmocka_unit_test(test_hostile_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
