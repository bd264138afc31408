/* SPDX-License-Identifier: MIT */
/*
 * Elements of hashes that tools take out, one by one and by the bucket, while programs add to them.
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

#include "tests/unit/fake_region.h"

#define SLOTS  4u
#define KEYS   8u
#define RUNS   100000u
#define ROUNDS 1000u

static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_HASH,
				 BPF_MAP_TYPE_LRU_PERCPU_HASH};

struct counted {
	unsigned char *base;
	struct region_map map;
	atomic_uint next_slot, ready, ended;
};

static void counted_init(struct counted *counted, uint32_t type, uint32_t entries)
{
	memset(counted, 0, sizeof(*counted));
	counted->base = fake_region(SLOTS);
	counted->map = (struct region_map){
		.type = type,
		.key_size = 8,
		.value_size = 8,
		.max_entries = entries,
		.data = REGION_MAPS,
		.seed = 4711,
	};
	assert_int_equal(rt_map_layout(&counted->map, SLOTS), 0);
	rt_map_init(counted->base, &counted->map);
}

static void add_one(struct counted *counted, uint64_t key, uint32_t slot)
{
	const uint64_t one = 1;
	uint64_t *value;

	/* Whoever is first may have lost the race for it. */
	for (int i = 0; i < 4; i++) {
		value = rt_map_lookup(counted->base, &counted->map, &key, slot);
		if (value) {
			/* Time for the element to be taken out. */
			for (int j = 0; j < 20; j++)
				__builtin_ia32_pause();
			__atomic_add_fetch(value, 1, __ATOMIC_RELAXED);
			return;
		}
		if (rt_map_update(counted->base, &counted->map, &key, &one, BPF_NOEXIST, slot) == 0)
			return;
	}
	abort();
}

/* What a hit does, as far as others see it. */
static void *count(void *arg)
{
	struct counted *counted = arg;
	uint32_t number = atomic_fetch_add(&counted->next_slot, 1);
	struct region_slot *slot = &fake_shared(counted->base)->slots[number];

	for (uint32_t i = 0; i < RUNS; i++) {
		__atomic_exchange_n(&slot->owner, (uint64_t)getpid() << 32 | (number + 1),
				    __ATOMIC_SEQ_CST);
		add_one(counted, i % KEYS, number);
		__atomic_store_n(&slot->episodes, slot->episodes + 1, __ATOMIC_RELEASE);
		__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
	}
	atomic_fetch_add(&counted->ended, 1);
	return NULL;
}

static uint64_t sum(const uint64_t *values, uint32_t cnt)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < cnt; i++)
		all += values[i];
	return all;
}

static uint64_t take_keys(struct counted *counted)
{
	uint64_t values[SLOTS], all = 0;

	for (uint64_t key = 0; key < KEYS; key++) {
		int r = rt_map_take(counted->base, &counted->map, &key, values);

		assert_true(r == 0 || r == -ENOENT);
		all += r == 0 ? sum(values, counted->map.slots) : 0;
	}
	return all;
}

static uint64_t take_buckets(struct counted *counted)
{
	uint64_t keys[KEYS], values[KEYS * SLOTS], all = 0;
	uint32_t cnt;

	for (uint32_t bucket = 0; bucket < counted->map.buckets; bucket++) {
		assert_int_equal(rt_map_bucket(counted->base, &counted->map, bucket, true, KEYS,
					       keys, values, &cnt),
				 0);
		all += sum(values, cnt * counted->map.slots);
	}
	return all;
}

static void taken_whole(uint32_t type, uint64_t (*take)(struct counted *counted))
{
	struct counted counted;
	pthread_t ids[SLOTS];
	uint64_t all = 0;

	counted_init(&counted, type, 16);
	for (uint32_t i = 0; i < SLOTS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, count, &counted), 0);
	while (atomic_load(&counted.ended) < SLOTS)
		all += take(&counted);
	for (uint32_t i = 0; i < SLOTS; i++)
		pthread_join(ids[i], NULL);
	all += take(&counted);
	/* Threads that lose their processor between the lookup and the addition are not waited for.
	 */
	assert_in_range(all, SLOTS * RUNS - SLOTS * RUNS / 1000, SLOTS * RUNS);
	fake_free(counted.base);
}

static void test_taken_whole(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		taken_whole(types[i], take_keys);
		taken_whole(types[i], take_buckets);
	}
}

/* Looks its element up, and adds to it when it is out of the map. */
static void *add_late(void *arg)
{
	struct counted *counted = arg;
	struct region_slot *slot = &fake_shared(counted->base)->slots[0];
	uint64_t key = 0, *value;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		__atomic_exchange_n(&slot->owner, 4711, __ATOMIC_SEQ_CST);
		while (atomic_load(&counted->ready) <= i)
			;
		value = rt_map_lookup(counted->base, &counted->map, &key, 0);
		atomic_store(&counted->next_slot, i + 1);
		while (atomic_load(&counted->ended) <= i &&
		       rt_map_lookup(counted->base, &counted->map, &key, 0))
			;
		__atomic_add_fetch(value, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&slot->episodes, slot->episodes + 1, __ATOMIC_RELEASE);
		__atomic_store_n(&slot->owner, 0, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Whoever has the element is waited for, though not for long: most of these have a processor. */
static void test_added_late(void **state)
{
	uint64_t key = 0, value = 0, all = 0;
	struct counted counted;
	pthread_t id;

	counted_init(&counted, BPF_MAP_TYPE_HASH, 16);
	assert_int_equal(pthread_create(&id, NULL, add_late, &counted), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		const uint64_t zero = 0;

		assert_int_equal(rt_map_write(counted.base, &counted.map, &key, &zero, BPF_NOEXIST),
				 0);
		atomic_store(&counted.ready, i + 1);
		while (atomic_load(&counted.next_slot) <= i)
			;
		assert_int_equal(rt_map_take(counted.base, &counted.map, &key, &value), 0);
		atomic_store(&counted.ended, i + 1);
		all += value;
	}
	pthread_join(id, NULL);
	assert_in_range(all, ROUNDS / 10 * 7, ROUNDS);
	fake_free(counted.base);
}

static void fill(struct counted *counted, uint64_t cnt)
{
	for (uint64_t key = 0; key < cnt; key++) {
		uint64_t values[SLOTS] = {key, key, key, key};

		assert_int_equal(rt_map_write(counted->base, &counted->map, &key, values, BPF_ANY),
				 0);
	}
}

/* Each element once, in the order of the buckets; all places are free again afterwards. */
static void each_once(uint32_t type)
{
	uint64_t keys[16], values[16 * SLOTS];
	struct counted counted;
	bool seen[1000] = {false};
	uint32_t cnt, all = 0;

	counted_init(&counted, type, 1000);
	for (int round = 0; round < 3; round++) {
		fill(&counted, 1000);
		memset(seen, 0, sizeof(seen));
		all = 0;
		for (uint32_t bucket = 0; bucket < counted.map.buckets; bucket++) {
			int r = rt_map_bucket(counted.base, &counted.map, bucket, false, 16, keys,
					      values, &cnt);

			assert_int_equal(r, 0);
			if (cnt)
				assert_int_equal(rt_map_bucket(counted.base, &counted.map, bucket,
							       true, cnt - 1, keys, values, &cnt),
						 -ENOSPC);
			assert_int_equal(rt_map_bucket(counted.base, &counted.map, bucket, true,
						       cnt, keys, values, &cnt),
					 0);
			for (uint32_t i = 0; i < cnt; i++) {
				assert_in_range(keys[i], 0, 999);
				assert_false(seen[keys[i]]);
				seen[keys[i]] = true;
				assert_int_equal(values[i * counted.map.slots], keys[i]);
			}
			all += cnt;
		}
		assert_int_equal(all, 1000);
		assert_int_equal(rt_map_next_key(counted.base, &counted.map, NULL, keys), -ENOENT);
	}
	assert_int_equal(rt_map_bucket(counted.base, &counted.map, counted.map.buckets, true, 16,
				       keys, values, &cnt),
			 -ENOENT);
	fake_free(counted.base);
}

static void test_each_once(void **state)
{
	for (uint32_t i = 0; i < 4; i++)
		each_once(types[i]);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A chain in circles has an end, and an owner that is stopped is not waited for long. */
static void test_hostile_chain(void **state)
{
	static uint64_t keys[RT_BUCKET_MAX], values[RT_BUCKET_MAX];
	struct counted counted;
	struct region_slot *slots;
	uint64_t *bucket, key = 1;
	unsigned char *elem;
	uint32_t cnt;
	double start;

	counted_init(&counted, BPF_MAP_TYPE_HASH, 2);
	slots = fake_shared(counted.base)->slots;
	bucket = (uint64_t *)(counted.base + counted.map.data + 64);
	elem = counted.base + counted.map.data + 128;
	fill(&counted, 1);
	if (!*bucket)
		bucket++;
	assert_int_equal(*bucket, 1);
	*(uint32_t *)(elem + 4) = 1;
	assert_int_equal(rt_map_bucket(counted.base, &counted.map,
				       (uint32_t)(bucket - (uint64_t *)(elem - 64)), false,
				       RT_BUCKET_MAX, keys, values, &cnt),
			 0);
	assert_int_equal(cnt, RT_BUCKET_MAX);
	for (uint32_t i = 0; i < SLOTS; i++)
		slots[i].owner = (uint64_t)getpid() << 32 | 4711;
	start = seconds();
	key = 0;
	assert_int_equal(rt_map_take(counted.base, &counted.map, &key, values), 0);
	assert_true(seconds() - start < 0.1);
	fake_free(counted.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_whole),
		cmocka_unit_test(test_added_late),
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_hostile_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
