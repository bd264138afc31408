/* SPDX-License-Identifier: MIT */
/*
 * Maps of the region while others look for them by number, as the event thread does for whoever
 * writes to a ring: a map is found alive or not at all. And their memory: empty when it is taken,
 * and its contents move in bounded time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "kernel-bridge/kobject.h"
#include "notifier/uspace.h"
#include "notifier/uspace_limit.h"
#include "vm/runtime/runtime.h"

#define ROUNDS 100000u
#define BASE   (1u << 25)
#define FIRST  4096u /* behind the header */
#define MIDDLE (BASE / 2)

static struct uspace uspace;
static atomic_bool stop;

static void init_spaces(void)
{
	uspace_space_init(&uspace.code, FIRST, MIDDLE - FIRST, 64);
	uspace_space_init(&uspace.map_memory, MIDDLE, MIDDLE, 64);
	uspace_space_init(&uspace.arrays, FIRST, FIRST, 64);
}

static void deinit_spaces(void)
{
	uspace_space_deinit(&uspace.code);
	uspace_space_deinit(&uspace.map_memory);
	uspace_space_deinit(&uspace.arrays);
}

/* All of it is free again. Its unit stays, which others read meanwhile. */
static void rewind_space(struct uspace_space *space)
{
	uspace_space_deinit(space);
	list_init(&space->free);
	list_init(&space->resting);
	space->next = space->start;
	space->free_size = 0;
}

static void setup_space(void)
{
	uspace = (struct uspace){.base = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)};
	assert_ptr_not_equal(uspace.base, MAP_FAILED);
	pthread_mutex_init(&uspace.lock, NULL);
	pthread_mutex_init(&uspace.apply, NULL);
	list_init(&uspace.maps);
	list_init(&uspace.sites);
	((struct region_header *)(void *)uspace.base)->slots = 1;
	init_spaces();
}

static struct uspace_map *new_map(void)
{
	const struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
					    .key_size = 4,
					    .value_size = 4,
					    .max_entries = 1};
	struct uspace_map *map = NULL;

	assert_int_equal(uspace_map_new(&uspace, &attr, 1, NULL, &map), 0);
	/* Places rest a while before they are used again; nobody looks at these. */
	pthread_mutex_lock(&uspace.lock);
	rewind_space(&uspace.code);
	rewind_space(&uspace.map_memory);
	rewind_space(&uspace.arrays);
	pthread_mutex_unlock(&uspace.lock);
	return map;
}

static void *look(void *arg)
{
	uint64_t *found = arg;

	while (!atomic_load(&stop)) {
		uint32_t id = __atomic_load_n(&uspace.last_map_id, __ATOMIC_RELAXED);
		struct uspace_map *map = uspace_map_by_id(&uspace, id);

		*found += map != NULL;
		uspace_map_unref(map);
	}
	return NULL;
}

static void test_found_alive(void **state)
{
	uint64_t found[2] = {0};
	pthread_t threads[2];

	setup_space();
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look, &found[i]), 0);
	for (uint32_t i = 0; i < ROUNDS; i++)
		uspace_map_unref(new_map());
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(found[0] + found[1] > 0);
	assert_true(list_empty(&uspace.maps));
	deinit_spaces();
	munmap(uspace.base, REGION_SIZE);
}

/* Time as on a machine where each step of a walk takes a millisecond. */
static int64_t slow_ms;

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	if (!slow_ms)
		return (int)syscall(SYS_clock_gettime, clock, ret_time);
	slow_ms++;
	*ret_time =
		(struct timespec){.tv_sec = slow_ms / 1000, .tv_nsec = slow_ms % 1000 * 1000000};
	return 0;
}

/*
 * The first key is found over and over: it stands in the first bucket and belongs into another,
 * whose chain leads elsewhere.
 */
static void make_endless(const struct uspace_map *map)
{
	uint64_t *buckets = (void *)(uspace.base + map->record.data + 64);
	unsigned char *elem = (unsigned char *)(buckets + map->record.buckets);
	uint32_t *hash = (void *)elem, *other = (void *)(elem + map->record.elem_stride), own;

	own = *hash & (map->record.buckets - 1);
	if (!own) {
		hash = other;
		other = (void *)elem;
		own = *hash & (map->record.buckets - 1);
	}
	assert_int_not_equal(own, 0);
	for (uint32_t i = 0; i < map->record.buckets; i++)
		buckets[i] =
			(uint32_t)(((unsigned char *)other - elem) / map->record.elem_stride) + 1;
	buckets[0] = 3 - buckets[1];
	*hash &= ~(map->record.buckets - 1);
	*other = 0x80000000;
}

static void test_move_ends(void **state)
{
	const struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_HASH,
					    .key_size = 8,
					    .value_size = 8,
					    .max_entries = 1u << 18};
	struct uspace_map *map = NULL;
	int fd;

	fd = sys_bpf(BPF_MAP_CREATE, (void *)&attr, sizeof(attr));
	assert_true(fd >= 0);
	setup_space();
	assert_int_equal(uspace_map_new(&uspace, &attr, 1, NULL, &map), 0);
	for (uint64_t key = 0; key < 2; key++)
		assert_int_equal(rt_map_write(uspace.base, &map->record, &key, &key, BPF_ANY), 0);
	make_endless(map);
	slow_ms = 1;
	assert_int_equal(uspace_move_out(map, fd), -ETIMEDOUT);
	assert_in_range(slow_ms, USPACE_LIMIT_MS, USPACE_LIMIT_MS + 3000);
	slow_ms = 0;
	close(fd);
	uspace_map_unref(map);
	deinit_spaces();
	munmap(uspace.base, REGION_SIZE);
}

/* Memory of a map that was: a thread that was stopped in a program still writes to it. */
static void dirty(uint64_t at, uint64_t size)
{
	memset(uspace.base + at, 0xa5, size);
}

static bool is_empty(const struct uspace_map *map)
{
	for (uint64_t i = 0; i < map->record.data_size; i++)
		if (uspace.base[map->record.data + i])
			return false;
	return true;
}

static void test_taken_empty(void **state)
{
	const struct abi_map_create counters = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
						.key_size = 4,
						.value_size = 4,
						.max_entries = 1};
	const struct abi_map_create hash = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 8, .max_entries = 16};
	const struct abi_map_create filter = {
		.map_type = BPF_MAP_TYPE_BLOOM_FILTER, .value_size = 8, .max_entries = 16};
	struct uspace_map *map = NULL;
	struct reason reason = {0};
	enum kobject_kind kind;
	uint32_t id;
	int fd;

	setup_space();
	dirty(uspace.map_memory.next, 4096);
	assert_int_equal(uspace_map_new(&uspace, &counters, 1, NULL, &map), 0);
	assert_true(is_empty(map));
	uspace_map_unref(map);
	dirty(uspace.map_memory.next, 4096);
	assert_int_equal(uspace_map_new(&uspace, &filter, 1, NULL, &map), 0);
	assert_true(is_empty(map));
	uspace_map_unref(map);

	fd = sys_bpf(BPF_MAP_CREATE, (void *)&hash, sizeof(hash));
	assert_true(fd >= 0);
	assert_int_equal(kobject_identify(fd, &kind, &id), 0);
	assert_int_equal(uspace_map_new(&uspace, &hash, id, NULL, &map), 0);
	dirty(map->record.data, map->record.data_size);
	assert_int_equal(uspace_map_settle(map, &reason), 0);
	assert_true(is_empty(map));
	uspace_map_leave(map);
	close(fd);
	uspace_map_unref(map);
	deinit_spaces();
	munmap(uspace.base, REGION_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_alive),
		cmocka_unit_test(test_move_ends),
		cmocka_unit_test(test_taken_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
