/* SPDX-License-Identifier: MIT */
/*
 * QUEUE and STACK of the runtime: the same random operations on the kernel's, the same answers;
 * threads that lose and double nothing; memory that others overwrite; processes that are killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/unit/fake_region.h"

#define VALUE_MAX 64
#define THREADS	  8u
#define PER_ROUND 20000u
#define WORDS	  128u /* of a value of the threads: copying it takes a while */

static uint64_t seed;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % limit;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct region_map new_map(uint32_t type, uint32_t value_size, uint32_t entries)
{
	struct region_map map = {.type = type,
				 .value_size = value_size,
				 .max_entries = entries,
				 .data = REGION_MAPS + 4096};

	assert_int_equal(rt_map_layout(&map, THREADS), 0);
	return map;
}

static int kernel_elem(int fd, int cmd, const void *key, void *value, uint64_t flags)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd,
				    .key = (uintptr_t)key,
				    .value = (uintptr_t)value,
				    .flags = flags};

	return sys_bpf(cmd, &attr, sizeof(attr));
}

static void compare_step(unsigned char *base, const struct region_map *map, int fd)
{
	unsigned char ours[VALUE_MAX] = {0}, theirs[VALUE_MAX] = {0};
	uint64_t flags = random_below(8) ? 2 * random_below(2) : random_below(6);

	switch (random_below(8)) {
	case 0 ... 3:
		for (uint32_t i = 0; i < map->value_size; i++)
			ours[i] = (unsigned char)random_below(256);
		assert_int_equal(rt_map_write(base, map, NULL, ours, flags),
				 kernel_elem(fd, BPF_MAP_UPDATE_ELEM, NULL, ours, flags));
		return;
	case 4 ... 5:
		assert_int_equal(rt_map_pop(base, map, ours, RT_ALL_SLOTS),
				 kernel_elem(fd, BPF_MAP_LOOKUP_AND_DELETE_ELEM, NULL, theirs, 0));
		break;
	case 6:
		assert_int_equal(rt_map_read(base, map, NULL, ours),
				 kernel_elem(fd, BPF_MAP_LOOKUP_ELEM, NULL, theirs, 0));
		break;
	default:
		assert_int_equal(rt_map_delete(base, map, NULL, RT_ALL_SLOTS),
				 kernel_elem(fd, BPF_MAP_DELETE_ELEM, NULL, NULL, 0));
		assert_int_equal(rt_map_next_key(base, map, NULL, ours),
				 kernel_elem(fd, BPF_MAP_GET_NEXT_KEY, NULL, theirs, 0));
	}
	assert_memory_equal(ours, theirs, map->value_size);
}

static void compare_with_kernel(uint32_t type, uint32_t value_size, uint32_t entries)
{
	struct region_map map = new_map(type, value_size, entries);
	struct abi_map_create attr = {
		.map_type = type, .value_size = value_size, .max_entries = entries};
	cleanup_fd int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	unsigned char *base = fake_region(THREADS);

	assert_true(fd >= 0);
	seed = type * 1009 + value_size + entries;
	for (int i = 0; i < 5000; i++)
		compare_step(base, &map, fd);
	fake_free(base);
}

static void test_like_kernel(void **state)
{
	static const uint32_t values[] = {1, 3, 4, 7, 8, 12, 16, 33, 64};

	for (uint32_t i = 0; i < ARRAY_SIZE(values); i++) {
		compare_with_kernel(BPF_MAP_TYPE_QUEUE, values[i], 1 + i * 3 % 10);
		compare_with_kernel(BPF_MAP_TYPE_STACK, values[i], 1 + i * 3 % 10);
	}
}

static void test_shapes_like_kernel(void **state)
{
	static const uint32_t sizes[] = {0, 1, 4, 8, 4u << 20, (4u << 20) + 1};

	for (uint32_t i = 0; i < 2 * 2 * 6 * 2; i++) {
		struct region_map map = {.type = i & 1 ? BPF_MAP_TYPE_STACK : BPF_MAP_TYPE_QUEUE,
					 .key_size = i & 2 ? 4 : 0,
					 .value_size = sizes[i / 4 % 6],
					 .max_entries = i / 24};
		struct abi_map_create attr = {.map_type = map.type,
					      .key_size = map.key_size,
					      .value_size = map.value_size,
					      .max_entries = map.max_entries};
		cleanup_fd int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

		assert_int_equal(rt_map_layout(&map, 2), fd < 0 ? fd : 0);
	}
}

static void test_too_large(void **state)
{
	struct region_map map = {
		.type = BPF_MAP_TYPE_QUEUE, .value_size = 8, .max_entries = UINT32_MAX};

	assert_int_equal(rt_map_layout(&map, 2), -E2BIG);
}

/* A program sees zeroes where there was nothing, as the kernel's does. */
static void test_from_programs(void **state)
{
	unsigned char *base = fake_region(THREADS);
	struct region_map map = new_map(BPF_MAP_TYPE_QUEUE, 12, 1);
	uint32_t value[3] = {1, 2, 3}, got[3];

	memset(got, 0xff, sizeof(got));
	assert_int_equal(rt_map_peek(base, &map, got, 1), -ENOENT);
	assert_int_equal(got[0] | got[1] | got[2], 0);
	assert_int_equal(rt_map_push(base, &map, value, 0, 1), 0);
	assert_int_equal(rt_map_push(base, &map, value, 0, 1), -E2BIG);
	assert_int_equal(rt_map_pop(base, &map, got, 1), 0);
	assert_memory_equal(value, got, sizeof(got));
	assert_null(rt_map_lookup(base, &map, NULL, 1));
	assert_int_equal(rt_map_update(base, &map, NULL, value, 0, 1), -EINVAL);
	fake_free(base);
}

/** struct shared - a map and its threads @seen: how often each value came out */
struct shared {
	unsigned char *base;
	struct region_map map;
	atomic_uint next_slot, failed, order;
	atomic_bool stop;
	atomic_uchar seen[THREADS * PER_ROUND];
};

static struct shared *shared_new(uint32_t type, uint32_t value_size, uint32_t entries)
{
	struct shared *shared = calloc(1, sizeof(*shared));

	assert_non_null(shared);
	shared->base = fake_region(THREADS);
	shared->map = new_map(type, value_size, entries);
	for (uint32_t i = 0; i < THREADS; i++)
		fake_shared(shared->base)->slots[i].owner = (uint64_t)getpid() << 32 | (i + 1);
	return shared;
}

static void shared_free(struct shared *shared)
{
	fake_free(shared->base);
	free(shared);
}

static bool is_torn(const uint32_t *value)
{
	for (uint32_t i = 1; i < WORDS; i++)
		if (value[i] != value[0])
			return true;
	return value[0] >= THREADS * PER_ROUND;
}

static void take_one(struct shared *shared, uint32_t slot, uint32_t *last)
{
	uint32_t value[WORDS];

	if (rt_map_pop(shared->base, &shared->map, value, slot))
		return;
	if (is_torn(value)) {
		atomic_fetch_add(&shared->failed, 1);
		return;
	}
	atomic_fetch_add(&shared->seen[value[0]], 1);
	/* What one thread put into a queue comes out in its order. */
	if (shared->map.type == BPF_MAP_TYPE_QUEUE) {
		uint32_t from = value[0] / PER_ROUND, at = value[0] % PER_ROUND + 1;

		if (at <= last[from])
			atomic_fetch_add(&shared->order, 1);
		last[from] = at;
	}
}

static void *push_and_pop(void *arg)
{
	struct shared *shared = arg;
	uint32_t slot = atomic_fetch_add(&shared->next_slot, 1), last[THREADS] = {0};

	for (uint32_t i = 0; i < PER_ROUND; i++) {
		uint32_t number = slot * PER_ROUND + i;
		uint32_t value[WORDS];

		for (uint32_t j = 0; j < WORDS; j++)
			value[j] = number;
		while (rt_map_push(shared->base, &shared->map, value, 0, slot) == -E2BIG)
			take_one(shared, slot, last);
		if (i & 1)
			take_one(shared, slot, last);
	}
	return NULL;
}

static void threads(uint32_t type)
{
	struct shared *shared = shared_new(type, WORDS * 4, 100);
	pthread_t ids[THREADS];
	uint32_t last[THREADS] = {0};

	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, push_and_pop, shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	while (rt_map_peek(shared->base, &shared->map, (uint32_t[WORDS]){0}, 0) == 0)
		take_one(shared, 0, last);
	assert_int_equal(atomic_load(&shared->failed), 0);
	assert_int_equal(atomic_load(&shared->order), 0);
	for (uint32_t i = 0; i < THREADS * PER_ROUND; i++)
		assert_int_equal(atomic_load(&shared->seen[i]), 1);
	shared_free(shared);
}

static void test_threads(void **state)
{
	threads(BPF_MAP_TYPE_QUEUE);
	threads(BPF_MAP_TYPE_STACK);
}

static void *scribble(void *arg)
{
	struct shared *shared = arg;
	unsigned char *data = shared->base + shared->map.data;
	uint64_t random = 99;

	while (!atomic_load(&shared->stop)) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		/* The header more often than the values. */
		*(volatile uint32_t *)(data + (random >> 40) % 8 * 4) = (uint32_t)(random >> 32);
		*(volatile uint32_t *)(data + (random >> 20) % (shared->map.data_size / 4) * 4) =
			(uint32_t)(random >> 58);
	}
	return NULL;
}

static void hostile(uint32_t type)
{
	struct shared *shared = shared_new(type, 24, 5);
	const unsigned char *low = shared->base + REGION_MAPS;
	unsigned char value[24] = {0};
	double start = seconds();
	pthread_t id;
	long ops = 0;

	assert_int_equal(pthread_create(&id, NULL, scribble, shared), 0);
	for (; seconds() - start < 2; ops++) {
		rt_map_push(shared->base, &shared->map, value, 2 * random_below(2), ops & 1);
		rt_map_peek(shared->base, &shared->map, value, 0);
		rt_map_pop(shared->base, &shared->map, value, RT_ALL_SLOTS);
	}
	atomic_store(&shared->stop, true);
	pthread_join(id, NULL);
	assert_true(ops > 10);
	for (uint32_t i = 0; i < 4096; i++) {
		assert_int_equal(low[i], 0);
		assert_int_equal(low[4096 + shared->map.data_size + i], 0);
	}
	shared_free(shared);
}

static void test_hostile_memory(void **state)
{
	hostile(BPF_MAP_TYPE_QUEUE);
	hostile(BPF_MAP_TYPE_STACK);
}

static pid_t start_victim(struct shared *shared)
{
	uint32_t value[4] = {0};
	pid_t child = fork();

	if (child)
		return child;
	alarm(20);
	for (uint32_t i = 0;; i++) {
		value[0] = value[3] = i;
		value[1] = ~i;
		rt_map_push(shared->base, &shared->map, value, BPF_EXIST, 1);
		if (i % 3 == 0)
			rt_map_pop(shared->base, &shared->map, value, 1);
	}
}

/* Killed at any point: the map goes on at once, whole, and with all its room. */
static void killed(uint32_t type)
{
	struct shared *shared = shared_new(type, 16, 10);
	double slowest = 0;

	for (int i = 0; i < 200; i++) {
		pid_t child = start_victim(shared);
		uint32_t value[4], cnt = 0;
		double start;

		usleep(300 + i * 7);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		fake_shared(shared->base)->slots[1].episodes++;
		start = seconds();
		for (; rt_map_pop(shared->base, &shared->map, value, 0) == 0; cnt++)
			assert_true(value[1] == ~value[0] && value[3] == value[0]);
		assert_true(cnt <= 10);
		value[1] = ~value[0];
		value[3] = value[0];
		for (cnt = 0; rt_map_push(shared->base, &shared->map, value, 0, 0) == 0; cnt++)
			;
		assert_int_equal(cnt, 10);
		slowest = seconds() - start > slowest ? seconds() - start : slowest;
	}
	assert_true(slowest < 0.09);
	shared_free(shared);
}

static void test_killed_in_the_middle(void **state)
{
	killed(BPF_MAP_TYPE_QUEUE);
	killed(BPF_MAP_TYPE_STACK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_kernel),
		cmocka_unit_test(test_shapes_like_kernel),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_from_programs),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_hostile_memory),
		cmocka_unit_test(test_killed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
