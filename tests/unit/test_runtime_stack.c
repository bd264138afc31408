/* SPDX-License-Identifier: MIT */
/*
 * Stacks and their maps: traces as frame pointers have them, what an address that cannot be read
 * does, collisions, and memory that others scribble on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/ptrace.h>
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/fake_region.h"
#include "vm/runtime/helpers.h"

#define DEPTH 8u

static unsigned char *base;
static struct region_map map;
static struct rt_run run;
static struct region_stub stub;
/* A stack: frame N is two words, the next frame and a return address. */
static uint64_t frames[64];

static int setup(void **state)
{
	base = fake_region(2);
	map = (struct region_map){.type = BPF_MAP_TYPE_STACK_TRACE,
				  .key_size = 4,
				  .value_size = DEPTH * 8,
				  .max_entries = 1000,
				  .data = REGION_MAPS};
	assert_int_equal(rt_map_layout(&map, 2), 0);
	stub = (struct region_stub){.ip = 0x1000};
	run = (struct rt_run){.base = base, .stack = (uint64_t)frames, .stub = (uint64_t)&stub};
	for (uint64_t i = 0; i < 32; i++) {
		frames[2 * i] = (uint64_t)&frames[2 * (i + 1)];
		frames[2 * i + 1] = 0x2000 + i;
	}
	return 0;
}

static int teardown(void **state)
{
	fake_free(base);
	return 0;
}

static int64_t stackid(uint64_t ip, uint64_t flags)
{
	struct pt_regs regs = {.rip = ip, .rbp = (uint64_t)frames, .rsp = (uint64_t)&frames[63]};

	frames[63] = 0x7777;
	return (int64_t)rt_get_stackid((uint64_t)&regs, (uint64_t)&map, flags, 0, 0, &run);
}

static void expect_trace(int64_t id, const uint64_t *ips, uint32_t cnt)
{
	uint64_t value[DEPTH];
	uint32_t key = (uint32_t)id;

	assert_in_range(id, 0, 1023);
	assert_int_equal(rt_map_read(base, &map, &key, value), 0);
	for (uint32_t i = 0; i < DEPTH; i++)
		assert_int_equal(value[i], i < cnt ? ips[i] : 0);
}

static void test_layout(void **state)
{
	struct region_map bad = map;

	assert_int_equal(map.buckets, 1024);
	bad.value_size = 12;
	assert_int_equal(rt_map_layout(&bad, 2), -EINVAL);
	bad.value_size = 4;
	assert_int_equal(rt_map_layout(&bad, 2), -EINVAL);
	bad.value_size = 128 * 8;
	assert_int_equal(rt_map_layout(&bad, 2), -EINVAL);
	bad.value_size = 127 * 8;
	bad.max_entries = 1 << 20;
	assert_int_equal(rt_map_layout(&bad, 2), -E2BIG);
}

static void test_traces(void **state)
{
	const uint64_t deep[] = {0x1234, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006};
	const uint64_t entry[] = {0x1000, 0x7777, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005};
	const uint64_t three[] = {0x1234, 0x2000, 0x2001};
	int64_t id = stackid(0x1234, BPF_F_USER_STACK);

	expect_trace(id, deep, 8);
	assert_int_equal(stackid(0x1234, BPF_F_USER_STACK), id);
	assert_int_equal(stackid(0x1234, BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP), id);
	assert_int_equal(stackid(0x1234, 0), -EFAULT);
	assert_int_equal(stackid(0x1234, 1ull << 40 | BPF_F_USER_STACK), -EINVAL);
	/* Where a function begins, its caller is on top of the stack. */
	assert_true(stackid(0x1000, BPF_F_USER_STACK) >= 0);
	stub.code[REGION_STUB_DISPLACED] = 0x55;
	expect_trace(stackid(0x1000, BPF_F_USER_STACK), entry, 8);
	stub.code[REGION_STUB_DISPLACED] = 0;
	/* Left out are the innermost; all of them is none. */
	expect_trace(
		stackid(0x1234, BPF_F_USER_STACK | 2),
		(const uint64_t[]){0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008},
		8);
	frames[4] = 0x10; /* nobody's memory */
	expect_trace(stackid(0x1234, BPF_F_USER_STACK),
		     (const uint64_t[]){0x1234, 0x2000, 0x2001, 0x2002}, 4);
	frames[2] = (uint64_t)1 << 63;
	expect_trace(stackid(0x1234, BPF_F_USER_STACK), three, 3);
	assert_int_equal(stackid(0x1234, BPF_F_USER_STACK | 3), -EFAULT);
	/* A frame that is its own caller ends where the room ends. */
	frames[0] = (uint64_t)frames;
	assert_true(stackid(0x1234, BPF_F_USER_STACK) >= 0);
}

static void test_commands(void **state)
{
	uint64_t value[DEPTH] = {0};
	uint32_t key = 0, next, seen = 0, found = 0, ids[20];

	assert_int_equal(rt_map_next_key(base, &map, NULL, &next), -ENOENT);
	for (uint64_t i = 0; i < 20; i++) {
		int64_t id = stackid(0x5000 + 64 * i, BPF_F_USER_STACK);

		if (id == -EEXIST)
			continue;
		ids[seen++] = (uint32_t)id;
	}
	assert_true(seen > 15);
	/* Each key once, in order. */
	for (uint32_t *from = NULL; rt_map_next_key(base, &map, from, &next) == 0; from = &key) {
		assert_true(!from || next > key);
		key = next;
		found++;
	}
	assert_int_equal(found, seen);
	key = ids[3];
	assert_int_equal(rt_map_write(base, &map, &key, value, 0), -EINVAL);
	assert_int_equal(rt_map_delete(base, &map, &key, RT_ALL_SLOTS), 0);
	assert_int_equal(rt_map_delete(base, &map, &key, RT_ALL_SLOTS), -ENOENT);
	assert_int_equal(rt_map_read(base, &map, &key, value), -ENOENT);
	key = 1024;
	assert_int_equal(rt_map_delete(base, &map, &key, RT_ALL_SLOTS), -E2BIG);
	assert_int_equal(rt_map_read(base, &map, &key, value), -ENOENT);
}

/* Two traces of one bucket: the second is refused, or replaces the first. */
static void test_collision(void **state)
{
	int64_t id;

	map.max_entries = 1;
	assert_int_equal(rt_map_layout(&map, 2), 0);
	frames[0] = 0;
	id = stackid(0x8888, BPF_F_USER_STACK);
	assert_int_equal(id, 0);
	assert_int_equal(stackid(0x9999, BPF_F_USER_STACK), -EEXIST);
	assert_int_equal(stackid(0x9999, BPF_F_USER_STACK | BPF_F_REUSE_STACKID), 0);
	expect_trace(0, (const uint64_t[]){0x9999, 0x2000}, 2);
}

static void *scribble(void *stop)
{
	uint64_t seed = 9;

	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		base[REGION_MAPS + (seed >> 20) % map.data_size] = (unsigned char)(seed >> 40);
	}
	return NULL;
}

static void test_hostile(void **state)
{
	uint64_t value[DEPTH + 1] = {[DEPTH] = 0x5a5a};
	bool stop = false;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, scribble, &stop), 0);
	for (uint32_t i = 0; i < 300000; i++) {
		uint32_t key = i % 1030, next = 0;

		stackid(0x1000 + i % 77, BPF_F_USER_STACK | (i % 3 ? 0 : BPF_F_REUSE_STACKID));
		rt_map_read(base, &map, &key, value);
		rt_map_next_key(base, &map, &key, &next);
		assert_true(next <= 1024);
		if (i % 5 == 0)
			rt_map_delete(base, &map, &key, RT_ALL_SLOTS);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(value[DEPTH], 0x5a5a);
}

/* What happens to a bucket between its head and its addresses, which are on a page of their own:
 * the first access to them ends up here. */
static void (*meanwhile)(void);
static unsigned char *page;

static void on_access(int signal)
{
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	meanwhile();
}

static void delete_it(void)
{
	uint32_t key = 0;

	assert_int_equal(rt_map_delete(base, &map, &key, RT_ALL_SLOTS), 0);
}

static void replace_it(void)
{
	assert_int_equal(stackid(0x9999, BPF_F_USER_STACK | BPF_F_REUSE_STACKID), 0);
}

static int64_t interrupted(uint64_t ip, void (*by)(void))
{
	meanwhile = by;
	assert_int_equal(mprotect(page, 4096, PROT_NONE), 0);
	return stackid(ip, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
}

/* A trace whose bucket is taken away while it is written stays away, and that of whoever took it is
 * not seen with addresses of the other. */
static void test_interrupted(void **state)
{
	struct sigaction action = {.sa_handler = on_access}, old;
	const uint64_t deep[] = {0x9999, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006};
	uint64_t value[DEPTH];
	uint32_t key = 0;

	page = base + REGION_MAPS + 4096;
	map.max_entries = 1;
	map.data = REGION_MAPS + 4096 - 16; /* bits, head */
	assert_int_equal(rt_map_layout(&map, 2), 0);
	sigaction(SIGSEGV, &action, &old);
	assert_int_equal(stackid(0x8888, BPF_F_USER_STACK), 0);
	assert_int_equal(interrupted(0x7777, delete_it), 0);
	assert_int_equal(rt_map_read(base, &map, &key, value), -ENOENT);
	assert_int_equal(interrupted(0x7777, replace_it), 0);
	assert_int_equal(rt_map_read(base, &map, &key, value), -ENOENT);
	/* The next one puts it right. */
	replace_it();
	expect_trace(0, deep, DEPTH);
	sigaction(SIGSEGV, &old, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_traces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collision, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
