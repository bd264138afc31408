/* SPDX-License-Identifier: MIT */
/*
 * LRU maps of the runtime: full ones take everything, what is used stays, threads lose no room,
 * killed processes little.
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

#define THREADS 8u

struct shared {
	unsigned char *base;
	struct region_map map;
	atomic_uint next_slot, failed, wrong;
};

static void shared_init(struct shared *shared, uint32_t type, uint32_t entries, uint32_t flags)
{
	*shared = (struct shared){.base = fake_region(THREADS)};
	shared->map = (struct region_map){.type = type,
					  .key_size = 8,
					  .value_size = 16,
					  .max_entries = entries,
					  .flags = flags,
					  .data = REGION_MAPS};
	assert_int_equal(rt_map_layout(&shared->map, THREADS), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		fake_shared(shared->base)->slots[i].owner = (uint64_t)getpid() << 32 | (i + 1);
}

static int put(struct shared *shared, uint64_t key, uint32_t slot)
{
	uint64_t value[2] = {key, ~key};

	return rt_map_update(shared->base, &shared->map, &key, value, BPF_ANY, slot);
}

static bool has(struct shared *shared, uint64_t key)
{
	uint64_t values[2 * THREADS];

	return rt_map_read(shared->base, &shared->map, &key, values) == 0;
}

static uint32_t count(struct shared *shared)
{
	uint64_t key, *at = NULL;
	uint32_t cnt = 0;

	for (; rt_map_next_key(shared->base, &shared->map, at, &key) == 0; at = &key)
		cnt++;
	return cnt;
}

/* How many elements it can hold, found by filling it up. */
static uint32_t capacity(struct shared *shared)
{
	uint64_t key;

	while (rt_map_next_key(shared->base, &shared->map, NULL, &key) == 0)
		assert_int_equal(rt_map_delete(shared->base, &shared->map, &key, RT_ALL_SLOTS), 0);
	for (key = 1ull << 40; key < (1ull << 40) + 4 * shared->map.max_entries; key++)
		assert_int_equal(put(shared, key, 0), 0);
	return count(shared);
}

static void never_full(uint32_t type, uint32_t entries)
{
	struct shared shared;

	shared_init(&shared, type, entries, 0);
	for (uint64_t key = 0; key < 20ull * entries; key++) {
		assert_int_equal(put(&shared, key, 0), 0);
		assert_true(has(&shared, key));
		assert_int_equal(count(&shared), key < entries ? key + 1 : entries);
		/* Nothing was used: the oldest ones go. */
		assert_true(key < entries || !has(&shared, key - entries));
	}
	fake_free(shared.base);
}

static void test_never_full(void **state)
{
	static const uint32_t entries[] = {1, 2, 3, 64, 130, 300};

	for (uint32_t i = 0; i < ARRAY_SIZE(entries); i++) {
		never_full(BPF_MAP_TYPE_LRU_HASH, entries[i]);
		never_full(BPF_MAP_TYPE_LRU_PERCPU_HASH, entries[i]);
	}
}

/* Keys that a program looks up, or updates, survive any number of others; a tool's reads do not
 * count. */
static void test_used_ones_stay(void **state)
{
	struct shared shared;
	uint32_t gone = 0;

	shared_init(&shared, BPF_MAP_TYPE_LRU_HASH, 100, 0);
	for (uint64_t key = 0; key < 30; key++)
		assert_int_equal(put(&shared, key, 0), 0);
	for (uint64_t key = 1000; key < 6000; key++) {
		uint64_t one = key % 10, two = 10 + key % 10, three = 20 + key % 10;

		assert_int_equal(put(&shared, key, 0), 0);
		assert_non_null(rt_map_lookup(shared.base, &shared.map, &one, 0));
		assert_true(has(&shared, two));
		assert_int_equal(put(&shared, two, 0), 0);
		gone += !has(&shared, three);
	}
	assert_true(gone > 4000);
	fake_free(shared.base);
}

/* With all elements in use one goes all the same, and soon. */
static void test_all_used(void **state)
{
	struct shared shared;

	shared_init(&shared, BPF_MAP_TYPE_LRU_HASH, 5000, 0);
	for (uint64_t key = 0; key < 5000; key++)
		assert_int_equal(put(&shared, key, 0), 0);
	for (uint64_t key = 0; key < 5000; key++)
		assert_non_null(rt_map_lookup(shared.base, &shared.map, &key, 0));
	assert_int_equal(put(&shared, 5000, 0), 0);
	assert_int_equal(count(&shared), 5000);
	assert_true(((uint64_t *)(shared.base + shared.map.data))[2] < 200);
	fake_free(shared.base);
}

/* A refused update evicts nothing. */
static void test_flags(void **state)
{
	struct shared shared;
	uint64_t value[2] = {0}, key = 99, old = 3;

	shared_init(&shared, BPF_MAP_TYPE_LRU_HASH, 4, 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(put(&shared, i, 0), 0);
	assert_int_equal(rt_map_update(shared.base, &shared.map, &key, value, BPF_EXIST, 0),
			 -ENOENT);
	assert_int_equal(rt_map_update(shared.base, &shared.map, &old, value, BPF_NOEXIST, 0),
			 -EEXIST);
	assert_int_equal(rt_map_update(shared.base, &shared.map, &old, value, 3, 0), -EINVAL);
	assert_int_equal(count(&shared), 4);
	assert_int_equal(rt_map_update(shared.base, &shared.map, &key, value, BPF_NOEXIST, 0), 0);
	assert_int_equal(count(&shared), 4);
	fake_free(shared.base);
}

/* The kernel rounds up what is to be shared out among processors. */
static void test_rounded(void **state)
{
	uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);

	for (uint32_t entries = 1; entries < 20; entries++) {
		struct region_map map = {.type = BPF_MAP_TYPE_LRU_HASH,
					 .key_size = 8,
					 .value_size = 16,
					 .max_entries = entries,
					 .flags = BPF_F_NO_COMMON_LRU};
		struct abi_map_create attr = {.map_type = map.type,
					      .key_size = 8,
					      .value_size = 16,
					      .max_entries = entries,
					      .map_flags = map.flags};
		cleanup_fd int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		struct bpf_map_info info = {0};
		union bpf_attr ask = {.info = {.bpf_fd = (uint32_t)fd,
					       .info_len = sizeof(info),
					       .info = (uintptr_t)&info}};

		assert_true(fd >= 0);
		assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof(ask)), 0);
		assert_int_equal(rt_map_layout(&map, cpus), 0);
		assert_int_equal(map.max_entries, info.max_entries);
	}
}

/* Each thread puts keys in and looks for its own and others'; a key that is found has its value. */
static void *churn(void *arg)
{
	struct shared *shared = arg;
	uint32_t slot = atomic_fetch_add(&shared->next_slot, 1);
	uint64_t random = slot + 1;

	for (uint32_t i = 0; i < 100000; i++) {
		uint64_t key, value[2 * THREADS];

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		key = (random >> 33) % 200;
		if (put(shared, key, slot))
			atomic_fetch_add(&shared->failed, 1);
		key = (random >> 50) % 200;
		rt_map_lookup(shared->base, &shared->map, &key, slot);
		if (rt_map_read(shared->base, &shared->map, &key, value) == 0 &&
		    shared->map.type == BPF_MAP_TYPE_LRU_HASH &&
		    (value[0] != key || value[1] != ~key))
			atomic_fetch_add(&shared->wrong, 1);
		if (i % 7 == 0)
			rt_map_delete(shared->base, &shared->map, &key, slot);
	}
	return NULL;
}

static void threads(uint32_t type, uint32_t entries)
{
	struct shared shared;
	pthread_t ids[THREADS];

	shared_init(&shared, type, entries, 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, churn, &shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	assert_int_equal(atomic_load(&shared.failed), 0);
	assert_int_equal(atomic_load(&shared.wrong), 0);
	assert_int_equal(capacity(&shared), entries);
	fake_free(shared.base);
}

static void test_threads(void **state)
{
	threads(BPF_MAP_TYPE_LRU_HASH, 64);
	threads(BPF_MAP_TYPE_LRU_HASH, 8);
	threads(BPF_MAP_TYPE_LRU_PERCPU_HASH, 64);
}

static void test_killed_in_the_middle(void **state)
{
	const int kills = 200;
	struct shared shared;
	double slowest = 0;

	shared_init(&shared, BPF_MAP_TYPE_LRU_HASH, 200, 0);
	for (int i = 0; i < kills; i++) {
		pid_t child = fork();
		struct timespec start, end;
		double took;

		if (child == 0) {
			alarm(20);
			for (uint64_t key = 0;; key++)
				put(&shared, key * 7 % 1000, 1);
		}
		usleep(300 + i * 7);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		fake_shared(shared.base)->slots[1].episodes++;
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (uint64_t key = 0; key < 50; key++) {
			assert_int_equal(put(&shared, key, 0), 0);
			assert_true(has(&shared, key));
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		took = (double)(end.tv_sec - start.tv_sec) +
		       (double)(end.tv_nsec - start.tv_nsec) / 1e9;
		slowest = took > slowest ? took : slowest;
	}
	assert_true(slowest < 0.09);
	/* At most the element that each had in its hands. */
	assert_true(capacity(&shared) >= 200u - (uint32_t)kills / 2);
	fake_free(shared.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_full),
		cmocka_unit_test(test_used_ones_stay),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_rounded),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_killed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
