/* SPDX-License-Identifier: MIT */
/*
 * LPM_TRIE of the runtime: the same random operations as on the kernel's give the same answers,
 * order of keys included; lookups among changes by threads; memory that others overwrite;
 * processes that are killed.
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

#define THREADS	  8u
#define KEY_MAX	  260
#define VALUE_MAX 64

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

/** struct pair - the same map on both sides @spread: of a byte of a key, in different values */
struct pair {
	unsigned char *base;
	struct region_map map;
	int fd;
	uint32_t spread;
};

static int kernel_create(const struct region_map *map)
{
	struct abi_map_create attr = {.map_type = map->type,
				      .key_size = map->key_size,
				      .value_size = map->value_size,
				      .max_entries = map->max_entries,
				      .map_flags = map->flags};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int kernel_elem(int fd, int cmd, const void *key, void *value, uint64_t flags)
{
	struct abi_map_elem attr = {.map_fd = (uint32_t)fd,
				    .key = (uintptr_t)key,
				    .value = (uintptr_t)value,
				    .flags = flags};

	return sys_bpf(cmd, &attr, sizeof(attr));
}

static struct region_map new_map(uint32_t key, uint32_t value, uint32_t entries)
{
	struct region_map map = {.type = BPF_MAP_TYPE_LPM_TRIE,
				 .key_size = key,
				 .value_size = value,
				 .max_entries = entries,
				 .flags = BPF_F_NO_PREALLOC,
				 .data = REGION_MAPS + 4096};

	assert_int_equal(rt_map_layout(&map, THREADS), 0);
	return map;
}

/* Few prefixes, deep below one another; some longer than a key can be. */
static void random_key(const struct pair *pair, unsigned char *key)
{
	static const unsigned char bytes[] = {0, 0xff, 0x80, 0x7f, 0x81, 0x10, 1, 0xfe};
	uint32_t size = pair->map.key_size - 4, bits = random_below(size * 8 + 1);

	if (!random_below(4))
		bits = size * 8;
	if (!random_below(100))
		bits = size * 8 + 1 + random_below(3) * 1000000000u;
	memcpy(key, &bits, 4);
	for (uint32_t i = 0; i < size; i++)
		key[4 + i] = i < size / 2 ? 0xaa : bytes[random_below(pair->spread)];
}

static void check_walk(const struct pair *pair)
{
	unsigned char ours[KEY_MAX], theirs[KEY_MAX], key[KEY_MAX], *at = NULL;
	int r = 0;

	for (uint32_t cnt = 0; r == 0; cnt++) {
		r = rt_map_next_key(pair->base, &pair->map, at, ours);
		assert_int_equal(r, kernel_elem(pair->fd, BPF_MAP_GET_NEXT_KEY, at, theirs, 0));
		if (r == 0)
			assert_memory_equal(ours, theirs, pair->map.key_size);
		memcpy(key, ours, pair->map.key_size);
		at = key;
		assert_true(cnt <= pair->map.max_entries);
	}
}

static void compare_step(const struct pair *pair)
{
	unsigned char key[KEY_MAX], ours[KEY_MAX] = {0}, theirs[KEY_MAX] = {0};
	uint64_t flags = random_below(10) ? random_below(3) : random_below(9);

	random_key(pair, key);
	switch (random_below(9)) {
	case 0 ... 3:
		for (uint32_t i = 0; i < pair->map.value_size; i++)
			ours[i] = (unsigned char)random_below(256);
		assert_int_equal(rt_map_write(pair->base, &pair->map, key, ours, flags),
				 kernel_elem(pair->fd, BPF_MAP_UPDATE_ELEM, key, ours, flags));
		return;
	case 4 ... 5:
		assert_int_equal(rt_map_delete(pair->base, &pair->map, key, RT_ALL_SLOTS),
				 kernel_elem(pair->fd, BPF_MAP_DELETE_ELEM, key, NULL, 0));
		return;
	case 6:
		assert_int_equal(rt_map_next_key(pair->base, &pair->map, key, ours),
				 kernel_elem(pair->fd, BPF_MAP_GET_NEXT_KEY, key, theirs, 0));
		assert_memory_equal(ours, theirs, pair->map.key_size);
		return;
	default:
		assert_int_equal(rt_map_read(pair->base, &pair->map, key, ours),
				 kernel_elem(pair->fd, BPF_MAP_LOOKUP_ELEM, key, theirs, 0));
		assert_memory_equal(ours, theirs, pair->map.value_size);
		/* What a program gets is the same. */
		memset(theirs, 0, sizeof(theirs));
		if (rt_map_lookup(pair->base, &pair->map, key, 0))
			memcpy(theirs, rt_map_lookup(pair->base, &pair->map, key, 0),
			       pair->map.value_size);
		assert_memory_equal(ours, theirs, pair->map.value_size);
	}
}

static void compare_with_kernel(uint32_t key, uint32_t value, uint32_t entries, uint32_t spread)
{
	struct pair pair = {.base = fake_region(THREADS),
			    .map = new_map(key, value, entries),
			    .spread = spread};

	seed = key * 1000003 + value * 1009 + entries;
	pair.fd = kernel_create(&pair.map);
	assert_true(pair.fd >= 0);
	for (int i = 0; i < 6000; i++) {
		compare_step(&pair);
		if (i % 200 == 0)
			check_walk(&pair);
	}
	check_walk(&pair);
	close(pair.fd);
	fake_free(pair.base);
}

static void test_like_kernel(void **state)
{
	static const uint32_t keys[] = {5, 6, 7, 8, 9, 12, 17, 20, 37, 132, 260};
	static const uint32_t values[] = {1, 4, 8, 9, 24, 64};

	for (uint32_t i = 0; i < ARRAY_SIZE(keys); i++) {
		compare_with_kernel(keys[i], values[i % 6], 1 + i * 11 % 40, 8);
		compare_with_kernel(keys[i], values[i % 6], 300, 2 + i % 6);
	}
}

static void test_shapes_like_kernel(void **state)
{
	static const uint32_t keys[] = {0, 4, 5, 8, 260, 261};
	static const uint32_t values[] = {0, 1, 8, 4193304, 4194024, 4194025, 0x7fffffff};

	for (uint32_t i = 0; i < 6 * 7 * 2 * 2; i++) {
		struct region_map map = {.type = BPF_MAP_TYPE_LPM_TRIE,
					 .key_size = keys[i % 6],
					 .value_size = values[i / 6 % 7],
					 .max_entries = i / 42 % 2,
					 .flags = i / 84 ? BPF_F_NO_PREALLOC : 0};
		cleanup_fd int fd = kernel_create(&map);

		assert_int_equal(rt_map_layout(&map, 2), fd < 0 ? fd : 0);
	}
}

static void test_too_large(void **state)
{
	struct region_map map = {.type = BPF_MAP_TYPE_LPM_TRIE,
				 .key_size = 8,
				 .value_size = 8,
				 .max_entries = UINT32_MAX,
				 .flags = BPF_F_NO_PREALLOC};

	assert_int_equal(rt_map_layout(&map, 2), -E2BIG);
	map.max_entries = 1u << 24;
	assert_int_equal(rt_map_layout(&map, 2), -E2BIG);
}

struct key {
	uint32_t bits;
	unsigned char data[4];
};

struct shared {
	unsigned char *base;
	struct region_map map;
	atomic_uint next_slot, failed, wrong;
	atomic_bool stop;
};

static void shared_init(struct shared *shared, uint32_t entries)
{
	*shared = (struct shared){.base = fake_region(THREADS), .map = new_map(8, 16, entries)};
	for (uint32_t i = 0; i < THREADS; i++)
		fake_shared(shared->base)->slots[i].owner = (uint64_t)getpid() << 32 | (i + 1);
}

static int put(struct shared *shared, struct key key, uint64_t number, uint64_t flags,
	       uint32_t slot)
{
	uint64_t value[2] = {number, ~number};

	return rt_map_update(shared->base, &shared->map, &key, value, flags, slot);
}

/*
 * 10.N.0.0/16 stay, all else comes and goes below, above and beside them: an address in N has the
 * value of N or one of something more specific that was there, and that is N's as well.
 */
static void *churn(void *arg)
{
	struct shared *shared = arg;
	uint32_t slot = atomic_fetch_add(&shared->next_slot, 1);
	uint64_t random = slot + 1;

	for (uint32_t i = 0; i < 60000; i++) {
		const uint64_t *value;
		struct key key;
		unsigned char n;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		n = random >> 60;
		key = (struct key){17 + (random >> 40) % 16, {10, n, random >> 32, random >> 24}};
		if (i & 1 ? put(shared, key, n, BPF_ANY, slot)
			  : (int)rt_map_delete(shared->base, &shared->map, &key, slot) > 0)
			atomic_fetch_add(&shared->failed, 1);
		/* Above: what forks goes and comes back. */
		key = (struct key){(random >> 50) % 16, {10, n}};
		if (i & 2)
			put(shared, key, 999, BPF_ANY, slot);
		else
			rt_map_delete(shared->base, &shared->map, &key, slot);
		n = random >> 56 & 15;
		key = (struct key){32, {10, n, random >> 16, random >> 8}};
		value = rt_map_lookup(shared->base, &shared->map, &key, slot);
		if (!value)
			atomic_fetch_add(&shared->wrong, 1);
	}
	return NULL;
}

static uint32_t count(struct shared *shared)
{
	struct key key, *at = NULL;
	uint32_t cnt = 0;

	for (; rt_map_next_key(shared->base, &shared->map, at, &key) == 0; at = &key)
		cnt++;
	return cnt;
}

static void clear(struct shared *shared)
{
	struct key key;

	while (rt_map_next_key(shared->base, &shared->map, NULL, &key) == 0)
		assert_int_equal(rt_map_delete(shared->base, &shared->map, &key, RT_ALL_SLOTS), 0);
}

/* All entries side by side, which takes the most nodes. */
static uint32_t capacity(struct shared *shared)
{
	uint32_t cnt = 0;

	clear(shared);
	while (put(shared, (struct key){32, {cnt >> 16, cnt >> 8, cnt, 0x80}}, 1, BPF_NOEXIST, 0) ==
	       0)
		cnt++;
	assert_int_equal(count(shared), cnt);
	return cnt;
}

static void test_lookups_among_changes(void **state)
{
	struct shared shared;
	pthread_t ids[THREADS];

	/* Enough for all /17 to /32 that are made. */
	shared_init(&shared, 500000);
	for (unsigned char n = 0; n < 16; n++)
		assert_int_equal(put(&shared, (struct key){16, {10, n}}, n, BPF_ANY, 0), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, churn, &shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	assert_int_equal(atomic_load(&shared.failed), 0);
	assert_int_equal(atomic_load(&shared.wrong), 0);
	for (unsigned char n = 0; n < 16; n++) {
		struct key key = {16, {10, n}};
		const uint64_t *value = rt_map_lookup(shared.base, &shared.map, &key, 0);

		assert_true(value && value[0] == n && value[1] == ~(uint64_t)n);
	}
	fake_free(shared.base);
}

/*
 * A node that is given back and used for another prefix while a lookup stands on it. Keys are long,
 * so that it stands there for a while, and differ at the end only.
 */
static void *use_again(void *arg)
{
	struct shared *shared = arg;
	unsigned char one[KEY_MAX], other[KEY_MAX];
	uint32_t bits = 255 * 8;
	uint64_t value = 2;

	memset(one, 0xaa, sizeof(one));
	memcpy(one, &bits, 4);
	memcpy(other, one, sizeof(other));
	other[4 + 254] = 0x55;
	while (!atomic_load(&shared->stop)) {
		rt_map_update(shared->base, &shared->map, one, &value, BPF_ANY, 1);
		rt_map_delete(shared->base, &shared->map, one, 1);
		rt_map_update(shared->base, &shared->map, other, &value, BPF_ANY, 1);
		rt_map_delete(shared->base, &shared->map, other, 1);
	}
	return NULL;
}

static void test_nodes_used_again(void **state)
{
	struct shared shared = {.base = fake_region(THREADS), .map = new_map(KEY_MAX, 8, 10)};
	unsigned char key[KEY_MAX];
	uint32_t bits = 256 * 8, wrong = 0;
	double start = seconds();
	uint64_t value = 1;
	pthread_t id;

	for (uint32_t i = 0; i < 2; i++)
		fake_shared(shared.base)->slots[i].owner = (uint64_t)getpid() << 32 | (i + 1);
	memset(key, 0xaa, sizeof(key));
	memcpy(key, &bits, 4);
	assert_int_equal(rt_map_update(shared.base, &shared.map, key, &value, BPF_ANY, 0), 0);
	assert_int_equal(pthread_create(&id, NULL, use_again, &shared), 0);
	while (seconds() - start < 2) {
		const uint64_t *found = rt_map_lookup(shared.base, &shared.map, key, 0);

		wrong += !found || *found != 1;
	}
	atomic_store(&shared.stop, true);
	pthread_join(id, NULL);
	assert_int_equal(wrong, 0);
	fake_free(shared.base);
}

/* Every prefix is put in and taken out by one thread alone. */
static void *win(void *arg)
{
	struct shared *shared = arg;
	uint32_t slot = atomic_fetch_add(&shared->next_slot, 1), wins = 0, losses = 0;

	for (uint32_t i = 0; i < 4000; i++)
		wins += put(shared, (struct key){12 + i % 20, {i >> 4, i}}, i, BPF_NOEXIST, slot) ==
			0;
	for (uint32_t i = 0; i < 4000; i++) {
		struct key key = {12 + i % 20, {i >> 4, i}};

		losses += rt_map_delete(shared->base, &shared->map, &key, slot) == 0;
	}
	atomic_fetch_add(&shared->failed, wins);
	atomic_fetch_sub(&shared->failed, losses);
	return NULL;
}

static void test_each_prefix_once(void **state)
{
	struct shared shared;
	pthread_t ids[THREADS];

	shared_init(&shared, 5000);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, win, &shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	assert_int_equal(atomic_load(&shared.failed), count(&shared));
	assert_int_equal(capacity(&shared), 5000);
	fake_free(shared.base);
}

static void *scribble(void *arg)
{
	struct shared *shared = arg;
	unsigned char *data = shared->base + shared->map.data;
	uint64_t random = 99;

	while (!atomic_load(&shared->stop)) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		*(volatile uint32_t *)(data + (random >> 20) % (shared->map.data_size / 4) * 4) =
			random & 1 ? (uint32_t)(random >> 40) : (uint32_t)(random >> 58);
		if (!(random >> 50 & 15))
			*(volatile uint32_t *)(data + (random >> 40) % 10 * 4) = random >> 60;
	}
	return NULL;
}

static void hostile(uint32_t key_size)
{
	struct shared shared = {.base = fake_region(2), .map = new_map(key_size, 24, 12)};
	struct pair pair = {.base = shared.base, .map = shared.map, .spread = 8};
	const unsigned char *low = shared.base + REGION_MAPS, *found;
	unsigned char key[KEY_MAX], next[KEY_MAX], value[VALUE_MAX] = {0};
	double start = seconds();
	pthread_t id;
	long ops = 0;

	assert_int_equal(pthread_create(&id, NULL, scribble, &shared), 0);
	for (; seconds() - start < 2; ops++) {
		random_key(&pair, key);
		rt_map_update(shared.base, &shared.map, key, value, random_below(3), ops & 1);
		found = rt_map_lookup(shared.base, &shared.map, key, ops & 1);
		assert_true(!found || (found >= low + 4096 &&
				       found + 24 <= low + 4096 + shared.map.data_size));
		rt_map_read(shared.base, &shared.map, key, value);
		rt_map_next_key(shared.base, &shared.map, ops % 5 ? key : NULL, next);
		random_key(&pair, key);
		rt_map_delete(shared.base, &shared.map, key, RT_ALL_SLOTS);
	}
	atomic_store(&shared.stop, true);
	pthread_join(id, NULL);
	assert_true(ops > 10);
	for (uint32_t i = 0; i < 4096; i++) {
		assert_int_equal(low[i], 0);
		assert_int_equal(low[4096 + shared.map.data_size + i], 0);
	}
	fake_free(shared.base);
}

/* A node that is its own child. */
static void test_cycle(void **state)
{
	struct shared shared = {.base = fake_region(THREADS), .map = new_map(8, 8, 10)};
	uint32_t *header = (uint32_t *)(shared.base + shared.map.data);
	struct key key = {32, {10}}, next;
	uint64_t value = 1;

	alarm(20);
	assert_int_equal(rt_map_update(shared.base, &shared.map, &(struct key){0}, &value, 0, 0),
			 0);
	header[16] = header[17] = 1;
	assert_non_null(rt_map_lookup(shared.base, &shared.map, &key, 0));
	assert_int_equal(rt_map_next_key(shared.base, &shared.map, NULL, &next), 0);
	assert_int_equal(rt_map_next_key(shared.base, &shared.map, &key, &next), 0);
	assert_int_equal(rt_map_delete(shared.base, &shared.map, &key, 0), -ENOENT);
	/* What cannot be there gives way. */
	assert_int_equal(rt_map_update(shared.base, &shared.map, &key, &value, 0, 0), 0);
	assert_int_equal(rt_map_delete(shared.base, &shared.map, &key, 0), 0);
	alarm(0);
	fake_free(shared.base);
}

static void test_hostile_memory(void **state)
{
	seed = 7;
	hostile(8);
	hostile(13);
}

static void test_killed_in_the_middle(void **state)
{
	const int kills = 200;
	struct shared shared;
	double slowest = 0;

	shared_init(&shared, 1000);
	for (int i = 0; i < kills; i++) {
		pid_t child = fork();
		double start;

		if (child == 0) {
			alarm(20);
			for (uint32_t n = 0;; n++) {
				struct key key = {16 + n % 17, {n >> 3, n * 7, n}};

				put(&shared, key, n, BPF_ANY, 1);
				key.bits = 16 + n * 5 % 17;
				rt_map_delete(shared.base, &shared.map, &key, 1);
			}
		}
		usleep(300 + i * 7);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		fake_shared(shared.base)->slots[1].episodes++;
		start = seconds();
		for (unsigned char n = 0; n < 32; n++) {
			struct key key = {24, {n, n, n}};
			const uint64_t *value;
			int r = put(&shared, key, n, BPF_ANY, 0);

			assert_true(r == 0 || (r == -ENOSPC && count(&shared) >= 900));
			value = rt_map_lookup(shared.base, &shared.map, &key, 0);
			assert_true(r || (value && value[0] == n));
		}
		if (count(&shared) > 500)
			clear(&shared);
		slowest = seconds() - start > slowest ? seconds() - start : slowest;
	}
	assert_true(slowest < 0.09);
	assert_true(capacity(&shared) >= 1000u - (uint32_t)kills / 2);
	fake_free(shared.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_kernel),
		cmocka_unit_test(test_shapes_like_kernel),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_lookups_among_changes),
		cmocka_unit_test(test_nodes_used_again),
		cmocka_unit_test(test_each_prefix_once),
		cmocka_unit_test(test_cycle),
		cmocka_unit_test(test_hostile_memory),
		cmocka_unit_test(test_killed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
