/* SPDX-License-Identifier: MIT */
/*
 * BLOOM_FILTER of the runtime against the kernel's: never a value lost, about as many taken for
 * others, the same errors; pushes by threads; memory that others overwrite.
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

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/unit/fake_region.h"

#define THREADS	  8u
#define VALUE_MAX 64

static int kernel_create(const struct region_map *map)
{
	struct abi_map_create attr = {.map_type = map->type,
				      .key_size = map->key_size,
				      .value_size = map->value_size,
				      .max_entries = map->max_entries,
				      .map_extra = map->extra};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int kernel_elem(int fd, int cmd, void *key, void *value, uint64_t flags)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd,
				    .key = (uintptr_t)key,
				    .value = (uintptr_t)value,
				    .flags = flags};

	return sys_bpf(cmd, &attr, sizeof(attr));
}

static struct region_map new_map(uint32_t value_size, uint32_t entries, uint32_t functions)
{
	struct region_map map = {.type = BPF_MAP_TYPE_BLOOM_FILTER,
				 .value_size = value_size,
				 .max_entries = entries,
				 .extra = functions,
				 .seed = 4711,
				 .data = REGION_MAPS + 4096};

	assert_int_equal(rt_map_layout(&map, THREADS), 0);
	return map;
}

static void make_value(unsigned char *value, uint32_t number, uint32_t size)
{
	memset(value, 0x5a, size);
	memcpy(value, &number, size < 4 ? size : 4);
}

static void compare_with_kernel(uint32_t value_size, uint32_t entries, uint32_t functions)
{
	struct region_map map = new_map(value_size, entries, functions);
	unsigned char *base = fake_region(THREADS), value[VALUE_MAX];
	cleanup_fd int fd = kernel_create(&map);
	int ours = 0, theirs = 0;
	const uint32_t others = 20000;

	assert_true(fd >= 0);
	for (uint32_t i = 0; i < entries; i++) {
		make_value(value, i, value_size);
		assert_int_equal(rt_map_write(base, &map, NULL, value, BPF_ANY),
				 kernel_elem(fd, BPF_MAP_UPDATE_ELEM, NULL, value, BPF_ANY));
	}
	for (uint32_t i = 0; i < entries; i++) {
		make_value(value, i, value_size);
		assert_int_equal(rt_map_read(base, &map, NULL, value), 0);
		assert_int_equal(kernel_elem(fd, BPF_MAP_LOOKUP_ELEM, NULL, value, 0), 0);
	}
	for (uint32_t i = 0; i < others; i++) {
		make_value(value, 1000000 + i, value_size);
		ours += rt_map_read(base, &map, NULL, value) == 0;
		theirs += kernel_elem(fd, BPF_MAP_LOOKUP_ELEM, NULL, value, 0) == 0;
	}
	/* Both are drawn by lot. */
	assert_true(ours <= theirs * 3 / 2 + 100 && theirs <= ours * 3 / 2 + 100);
	fake_free(base);
}

static void test_like_kernel(void **state)
{
	static const uint32_t sizes[] = {4, 7, 8, 12, 16, 33, 64};

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (uint32_t functions = 0; functions < 16; functions += 5)
			compare_with_kernel(sizes[i], 1500 + 100 * i, functions);
}

static void test_errors_like_kernel(void **state)
{
	struct region_map map = new_map(8, 10, 0);
	unsigned char *base = fake_region(THREADS);
	cleanup_fd int fd = kernel_create(&map);
	uint64_t value = 1, key;

	for (uint64_t flags = 0; flags < 4; flags++)
		assert_int_equal(rt_map_write(base, &map, NULL, &value, flags),
				 kernel_elem(fd, BPF_MAP_UPDATE_ELEM, NULL, &value, flags));
	value = 2;
	assert_int_equal(rt_map_read(base, &map, NULL, &value),
			 kernel_elem(fd, BPF_MAP_LOOKUP_ELEM, NULL, &value, 0));
	assert_int_equal(rt_map_delete(base, &map, NULL, RT_ALL_SLOTS),
			 kernel_elem(fd, BPF_MAP_DELETE_ELEM, NULL, NULL, 0));
	assert_int_equal(rt_map_next_key(base, &map, NULL, &key),
			 kernel_elem(fd, BPF_MAP_GET_NEXT_KEY, NULL, &key, 0));
	assert_int_equal(rt_map_pop(base, &map, &value, 0), -EOPNOTSUPP);
	assert_null(rt_map_lookup(base, &map, &value, 0));
	assert_int_equal(rt_map_update(base, &map, NULL, &value, 0, 0), -EINVAL);
	fake_free(base);
}

static void test_shapes_like_kernel(void **state)
{
	static const uint32_t sizes[] = {0, 1, 8, 4u << 20, (4u << 20) + 1};

	for (uint32_t i = 0; i < 5 * 2 * 2 * 18; i++) {
		struct region_map map = {.type = BPF_MAP_TYPE_BLOOM_FILTER,
					 .key_size = i / 5 % 2 * 4,
					 .value_size = sizes[i % 5],
					 .max_entries = i / 10 % 2,
					 .extra = i / 20};
		cleanup_fd int fd = kernel_create(&map);

		assert_int_equal(rt_map_layout(&map, 2), fd < 0 ? fd : 0);
	}
}

static void test_too_large(void **state)
{
	struct region_map map = {.type = BPF_MAP_TYPE_BLOOM_FILTER,
				 .value_size = 8,
				 .max_entries = UINT32_MAX,
				 .extra = 15};

	assert_int_equal(rt_map_layout(&map, 2), -E2BIG);
	map.max_entries = 300000000;
	map.extra = 1;
	assert_int_equal(rt_map_layout(&map, 2), 0);
	assert_true(map.data_size <= REGION_MAPS_SIZE);
}

struct shared {
	unsigned char *base;
	struct region_map map;
	atomic_uint next, lost;
	atomic_bool stop;
};

static void *push(void *arg)
{
	struct shared *shared = arg;
	uint64_t first = atomic_fetch_add(&shared->next, 1) * 10000ull;

	for (uint64_t value = first; value < first + 10000; value++) {
		rt_map_push(shared->base, &shared->map, &value, 0, 0);
		if (rt_map_peek(shared->base, &shared->map, &value, 0))
			atomic_fetch_add(&shared->lost, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct shared shared = {.base = fake_region(THREADS), .map = new_map(8, 80000, 0)};
	pthread_t ids[THREADS];

	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, push, &shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	for (uint64_t value = 0; value < 80000; value++)
		assert_int_equal(rt_map_peek(shared.base, &shared.map, &value, 0), 0);
	assert_int_equal(atomic_load(&shared.lost), 0);
	fake_free(shared.base);
}

static void *scribble(void *arg)
{
	struct shared *shared = arg;
	uint64_t random = 99;

	while (!atomic_load(&shared->stop)) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		*(volatile uint32_t *)(shared->base + shared->map.data +
				       (random >> 20) % (shared->map.data_size / 4) * 4) =
			(uint32_t)(random >> 32);
	}
	return NULL;
}

static void test_hostile_memory(void **state)
{
	struct shared shared = {.base = fake_region(THREADS), .map = new_map(8, 50, 3)};
	const unsigned char *low = shared.base + REGION_MAPS;
	pthread_t id;

	assert_int_equal(pthread_create(&id, NULL, scribble, &shared), 0);
	for (uint64_t value = 0; value < 3000000; value++) {
		rt_map_push(shared.base, &shared.map, &value, 0, 0);
		rt_map_peek(shared.base, &shared.map, &value, 0);
	}
	atomic_store(&shared.stop, true);
	pthread_join(id, NULL);
	for (uint32_t i = 0; i < 4096; i++) {
		assert_int_equal(low[i], 0);
		assert_int_equal(low[4096 + shared.map.data_size + i], 0);
	}
	fake_free(shared.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_kernel),
		cmocka_unit_test(test_errors_like_kernel),
		cmocka_unit_test(test_shapes_like_kernel),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_hostile_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
