/* SPDX-License-Identifier: MIT */
/*
 * Hash maps of the runtime under many threads, and under processes that are killed in the middle.
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

#include "tests/unit/fake_region.h"

#define THREADS 8u

/** struct shared - a map and what its threads do @fn: by each thread, with its number as slot */
struct shared {
	unsigned char *base;
	struct region_map map;
	int (*fn)(struct shared *shared, uint32_t slot);
	atomic_uint next_slot, wins, misses;
	atomic_bool stop;
};

static void shared_init(struct shared *shared, uint32_t type, uint32_t entries)
{
	memset(shared, 0, sizeof(*shared));
	shared->base = fake_region(THREADS);
	shared->map = (struct region_map){
		.type = type,
		.key_size = 8,
		.value_size = 16,
		.max_entries = entries,
		.data = REGION_MAPS,
		.seed = 4711,
	};
	assert_int_equal(rt_map_layout(&shared->map, THREADS), 0);
	rt_map_init(shared->base, &shared->map);
	for (uint32_t i = 0; i < THREADS; i++)
		fake_shared(shared->base)->slots[i].owner = (uint64_t)getpid() << 32 | (i + 1);
}

static void *thread_run(void *arg)
{
	struct shared *shared = arg;

	return (void *)(intptr_t)shared->fn(shared, atomic_fetch_add(&shared->next_slot, 1));
}

static void run_threads(struct shared *shared, int (*fn)(struct shared *, uint32_t))
{
	pthread_t ids[THREADS];
	void *failed;

	shared->fn = fn;
	atomic_store(&shared->next_slot, 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, thread_run, shared), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(ids[i], &failed), 0);
		assert_null(failed);
	}
}

static int put(struct shared *shared, uint64_t key, uint64_t value, uint64_t flags, uint32_t slot)
{
	uint64_t values[2] = {value, ~value};

	return rt_map_update(shared->base, &shared->map, &key, values, flags, slot);
}

/* Removes everything and fills the map to its last element: how many there are. */
static uint32_t capacity(struct shared *shared)
{
	uint64_t key;
	uint32_t cnt = 0;

	while (rt_map_next_key(shared->base, &shared->map, NULL, &key) == 0)
		assert_int_equal(rt_map_delete(shared->base, &shared->map, &key, RT_ALL_SLOTS), 0);
	for (key = 1ull << 40; put(shared, key, 1, BPF_ANY, 0) == 0; key++)
		cnt++;
	return cnt;
}

/* Every key is inserted by exactly one of the threads. */
static int insert_all(struct shared *shared, uint32_t slot)
{
	for (uint64_t key = 0; key < shared->map.max_entries; key++) {
		int r = put(shared, key, key, BPF_NOEXIST, slot);

		if (r == 0)
			atomic_fetch_add(&shared->wins, 1);
		else if (r != -EEXIST)
			return 1;
	}
	return 0;
}

static int delete_all(struct shared *shared, uint32_t slot)
{
	for (uint64_t key = 0; key < shared->map.max_entries; key++) {
		int r = rt_map_delete(shared->base, &shared->map, &key, slot);

		if (r == 0)
			atomic_fetch_sub(&shared->wins, 1);
		else if (r != -ENOENT)
			return 1;
	}
	return 0;
}

static void each_key_once(uint32_t type)
{
	struct shared shared;

	shared_init(&shared, type, 2000);
	for (int round = 0; round < 10; round++) {
		run_threads(&shared, insert_all);
		assert_int_equal(atomic_load(&shared.wins), 2000);
		run_threads(&shared, delete_all);
		assert_int_equal(atomic_load(&shared.wins), 0);
	}
	if (type == BPF_MAP_TYPE_HASH)
		assert_int_equal(capacity(&shared), 2000);
	fake_free(shared.base);
}

static void test_each_key_once(void **state)
{
	each_key_once(BPF_MAP_TYPE_HASH);
	each_key_once(BPF_MAP_TYPE_LRU_HASH);
}

/* Keys that are always there are always found, whatever happens around them in their buckets. */
#define STAYING 16u
static int churn(struct shared *shared, uint32_t slot)
{
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t key = i % STAYING, other = 1000 + (i * 7 + slot) % 64;
		const uint64_t *value = rt_map_lookup(shared->base, &shared->map, &key, slot);

		if (!value || value[0] != key)
			atomic_fetch_add(&shared->misses, 1);
		if (i & 1)
			put(shared, other, other, BPF_ANY, slot);
		else
			rt_map_delete(shared->base, &shared->map, &other, slot);
	}
	return 0;
}

static void test_lookups_among_changes(void **state)
{
	struct shared shared;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 64);
	/* Two buckets only, so that chains are long and change under every lookup. */
	shared.map.buckets = 2;
	for (uint64_t key = 0; key < STAYING; key++)
		assert_int_equal(put(&shared, key, key, BPF_ANY, 0), 0);
	run_threads(&shared, churn);
	assert_int_equal(atomic_load(&shared.misses), 0);
	assert_int_equal(capacity(&shared), 64);
	fake_free(shared.base);
}

/* What count() does: read the own slot's value, add, write it back. */
static int count_keys(struct shared *shared, uint32_t slot)
{
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t key = i % 10, value[2] = {1, 0};
		const uint64_t *old = rt_map_lookup(shared->base, &shared->map, &key, slot);

		if (old)
			value[0] = *old + 1;
		if (rt_map_update(shared->base, &shared->map, &key, value, BPF_ANY, slot))
			return 1;
	}
	return 0;
}

static void percpu_counts(uint32_t type, bool threads_known)
{
	struct shared shared;

	shared_init(&shared, type, 10);
	for (uint32_t i = 0; !threads_known && i < THREADS; i++)
		fake_shared(shared.base)->slots[i].owner = (uint64_t)getpid() << 32 | 1;
	run_threads(&shared, count_keys);
	for (uint64_t key = 0; key < 10; key++) {
		uint64_t values[2 * THREADS], sum = 0;

		assert_int_equal(rt_map_read(shared.base, &shared.map, &key, values), 0);
		for (uint32_t i = 0; i < THREADS; i++)
			sum += values[2 * i];
		assert_int_equal(sum, THREADS * 10000);
	}
	fake_free(shared.base);
}

static void test_percpu_counts(void **state)
{
	percpu_counts(BPF_MAP_TYPE_PERCPU_HASH, true);
	percpu_counts(BPF_MAP_TYPE_LRU_PERCPU_HASH, true);
}

/* Where a processor does not tell threads apart, nobody is taken for himself. */
static void test_percpu_counts_unknown_threads(void **state)
{
	for (int i = 0; i < 5; i++)
		percpu_counts(BPF_MAP_TYPE_PERCPU_HASH, false);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static pid_t start_victim(struct shared *shared)
{
	pid_t child = fork();

	if (child)
		return child;
	alarm(20);
	for (uint64_t i = 0;; i++) {
		put(shared, i % 32, i, BPF_ANY, 1);
		if (i % 3 == 0)
			rt_map_delete(shared->base, &shared->map, &(uint64_t){i * 5 % 32}, 1);
	}
}

/* Killed at any point: the map goes on at once, and loses an element at most. */
static void test_killed_in_the_middle(void **state)
{
	const int kills = 300;
	struct shared shared;
	struct region_slot *slot;
	double slowest = 0;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 1000);
	slot = &fake_shared(shared.base)->slots[1];
	for (int i = 0; i < kills; i++) {
		pid_t child = start_victim(&shared);
		double start;

		usleep(500 + i * 7);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		/* The next owner of the slot takes it over. */
		slot->episodes++;
		start = seconds();
		for (uint64_t key = 0; key < 32; key++) {
			assert_int_equal(put(&shared, key, key, BPF_ANY, 0), 0);
			assert_non_null(rt_map_lookup(shared.base, &shared.map, &key, 0));
		}
		slowest = seconds() - start > slowest ? seconds() - start : slowest;
	}
	assert_true(slowest < 0.09);
	assert_true(capacity(&shared) >= 1000u - (uint32_t)kills / 2);
	fake_free(shared.base);
}

/* A holder nobody knows anything about: its lock is taken over after a bounded wait. */
static void test_lock_of_nobody(void **state)
{
	struct shared shared;
	uint64_t *buckets;
	double start;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 2);
	buckets = (uint64_t *)(shared.base + shared.map.data + 64);
	buckets[0] |= 0xc0001234ull << 32;
	buckets[1] |= 0xc0001234ull << 32;
	start = seconds();
	for (uint64_t key = 0; key < 2; key++)
		assert_int_equal(put(&shared, key, 1, BPF_ANY, 0), 0);
	assert_true(seconds() - start > 0.05 && seconds() - start < 2);
	start = seconds();
	for (uint64_t key = 0; key < 2; key++)
		assert_int_equal(put(&shared, key, 1, BPF_ANY, 0), 0);
	assert_true(seconds() - start < 0.05);
	fake_free(shared.base);
}

static struct region_cache *cache_of(const struct shared *shared)
{
	return (void *)(shared->base + REGION_CACHE);
}

/* Somebody writes to the locks all the time: it costs a process half a second once, then little. */
static void test_lock_that_always_changes(void **state)
{
	struct shared shared;
	uint64_t *buckets;
	double start;
	pid_t writer;
	int busy = 0;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 2);
	buckets = (uint64_t *)(shared.base + shared.map.data + 64);
	writer = fork();
	if (writer == 0) {
		alarm(20);
		for (uint32_t i = 0;; i++)
			for (int k = 0; k < 2; k++)
				__atomic_store_n(&buckets[k],
						 (0xc0000000ull | (i & 0x3fffffff)) << 32,
						 __ATOMIC_RELAXED);
	}
	usleep(20000);
	start = seconds();
	for (uint64_t key = 0; key < 100; key++)
		busy += put(&shared, key % 2, 1, BPF_ANY, 0) == -EBUSY;
	/* A hundred full waits are fifty seconds. */
	assert_true(seconds() - start < 10);
	assert_true(busy > 50);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	buckets[0] = buckets[1] = 0;
	assert_int_equal(put(&shared, 1, 1, BPF_ANY, 0), 0);
	/* With time, patience comes back. */
	cache_of(&shared)->lock_debt = 0;
	start = seconds();
	buckets[0] = buckets[1] = 0xc0004321ull << 32;
	assert_int_equal(put(&shared, 1, 1, BPF_ANY, 0), 0);
	assert_true(seconds() - start > 0.05);
	fake_free(shared.base);
}

/* A stopped holder's lock is taken over also by a process that waits for milliseconds at a time. */
static void test_lock_of_nobody_in_debt(void **state)
{
	struct shared shared;
	struct timespec now;
	uint64_t *buckets;
	double start;
	int tries = 0;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 2);
	buckets = (uint64_t *)(shared.base + shared.map.data + 64);
	buckets[0] = buckets[1] = 0xc0001234ull << 32;
	clock_gettime(CLOCK_MONOTONIC, &now);
	cache_of(&shared)->lock_debt = ((uint64_t)now.tv_sec + 1000) * 1000000000ull;
	start = seconds();
	while (put(&shared, 1, 1, BPF_ANY, 0) == -EBUSY)
		tries++;
	assert_true(tries > 0);
	assert_true(seconds() - start > 0.05 && seconds() - start < 2);
	fake_free(shared.base);
}

/* A signal handler on top of the holder: waiting would be for ever. */
static void test_lock_of_own_thread(void **state)
{
	struct shared shared;
	uint64_t *buckets, key = 1;
	struct region_slot *slots;
	double start;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 2);
	slots = fake_shared(shared.base)->slots;
	buckets = (uint64_t *)(shared.base + shared.map.data + 64);
	slots[0].owner = slots[3].owner = (uint64_t)getpid() << 32 | 4711;
	slots[0].sp = 0x7ffff000;
	slots[3].sp = 0x7ffff800;
	buckets[0] = buckets[1] = (0x80000000ull | 3u << 22) << 32;
	assert_int_equal(put(&shared, key, 1, BPF_ANY, 0), -EBUSY);
	assert_int_equal(rt_map_delete(shared.base, &shared.map, &key, 0), -EBUSY);
	/* The run is over: nobody to wait for. */
	slots[3].owner = 0;
	start = seconds();
	assert_int_equal(put(&shared, key, 1, BPF_ANY, 0), 0);
	assert_true(seconds() - start < 0.08);
	fake_free(shared.base);
}

/* One puts values of equal words, the others read them as tools do. */
static int replace_or_read(struct shared *shared, uint32_t slot)
{
	uint64_t words[16], key = 1;
	int torn = 0;

	for (uint64_t i = 1; slot == 0 && i <= 300000; i++) {
		for (int word = 0; word < 16; word++)
			words[word] = i;
		if (rt_map_update(shared->base, &shared->map, &key, words, BPF_ANY, 0) < 0)
			torn = 1;
	}
	atomic_store(&shared->stop, shared->stop || slot == 0);
	while (slot && !atomic_load(&shared->stop)) {
		if (rt_map_read(shared->base, &shared->map, &key, words) < 0)
			torn = 1;
		for (int word = 1; word < 16; word++)
			torn |= words[word] != words[0];
	}
	return torn;
}

static void test_values_are_read_whole(void **state)
{
	uint64_t words[16] = {0}, key = 1;
	struct shared shared;

	shared_init(&shared, BPF_MAP_TYPE_HASH, 4);
	shared.map.value_size = sizeof(words);
	assert_int_equal(rt_map_layout(&shared.map, THREADS), 0);
	assert_int_equal(
		rt_map_update(shared.base, &shared.map, &key, words, BPF_ANY, RT_ALL_SLOTS), 0);
	run_threads(&shared, replace_or_read);
	fake_free(shared.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_key_once),
		cmocka_unit_test(test_lookups_among_changes),
		cmocka_unit_test(test_values_are_read_whole),
		cmocka_unit_test(test_percpu_counts),
		cmocka_unit_test(test_percpu_counts_unknown_threads),
		cmocka_unit_test(test_killed_in_the_middle),
		cmocka_unit_test(test_lock_of_nobody),
		cmocka_unit_test(test_lock_that_always_changes),
		cmocka_unit_test(test_lock_of_nobody_in_debt),
		cmocka_unit_test(test_lock_of_own_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
