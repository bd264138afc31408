/* SPDX-License-Identifier: MIT */
/*
 * One program, the same everywhere: random programs on maps of all kinds, interpreted and compiled,
 * either way, by us and run by the kernel, give the same r0, memory, map contents and records.
 * Needs root (and fails without).
 *
 * With two numbers as its arguments it tries programs from the first on for so many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "tests/unit/edges.h"
#include "tests/unit/engines_kernel.h"
#include "tests/unit/engines_region.h"

#define SECONDS 12  /* a slow machine does fewer programs */
#define RUNS	64  /* of one program */
#define BATCH	64u /* programs that share maps, so that they find what others left there */
#define RECORDS 256

static struct region_side ours[] = {
	{.side = REGION_SIDE("interp", interp_side_load, interp_side_run)},
	{.side = REGION_SIDE("fast", fast_side_load, jit_side_run)},
	{.side = REGION_SIDE("full", full_side_load, jit_side_run)},
};
static struct kernel_side kernel = {.side = KERNEL_SIDE};

/* The first is what the others are compared with. */
static struct side *sides[1 + ARRAY_SIZE(ours)] = {&kernel.side};
#define SIDES ARRAY_SIZE(sides)

static uint32_t first, seconds = SECONDS;
static uint64_t program, runs, refused_here, refused_there, records;
static _Alignas(8) unsigned char user[2 * READER_PAGE];

/* What each of them had at its end. */
static void show_outcome(void)
{
	for (uint32_t i = 0; i < SIDES; i++) {
		const uint64_t *out = (const void *)sides[i]->value(sides[i], MIX_OUT);

		print_error("%-8s", sides[i]->name);
		for (uint32_t k = 0; k < 3 + MIX_NUMBERS; k++)
			print_error(" %lx", out[k]);
		print_error("\n");
	}
}

#define differ(side, fmt, ...)                                                                     \
	do {                                                                                       \
		show_outcome();                                                                    \
		fail_msg("program %lu, run %lu: %s and %s differ: " fmt, program, runs % RUNS,     \
			 sides[0]->name, (side)->name, __VA_ARGS__);                               \
	} while (0)

static void compare_values(struct side *side)
{
	for (uint32_t map = MIX_DATA; map <= MIX_OUT; map++) {
		const unsigned char *a = sides[0]->value(sides[0], map),
				    *b = side->value(side, map);

		for (uint32_t i = 0; i < mix_maps[map].value_size; i++)
			if (a[i] != b[i])
				differ(side, "map %u, byte %u: %02x, %02x", map, i, a[i], b[i]);
	}
}

static void compare_records(void)
{
	for (uint32_t cnt = 0; cnt < RECORDS; cnt++) {
		uint32_t size = 0, other = 0;
		const unsigned char *a = sides[0]->record(sides[0], &size), *b;

		for (uint32_t i = 1; i < SIDES; i++) {
			b = sides[i]->record(sides[i], &other);
			if (!a != !b || (a && (size != other || memcmp(a, b, size) != 0)))
				differ(sides[i], "record %u of %u and %u bytes", cnt, size, other);
		}
		if (!a)
			return;
		records++;
	}
	fail_msg("more records than there is room for");
}

/* Bytes between a value's end and the next one's beginning are nobody's. */
static bool same_value(uint32_t map, const unsigned char *a, const unsigned char *b)
{
	const uint32_t type = mix_maps[map].type, size = mix_maps[map].value_size;
	const bool percpu = type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
			    type == BPF_MAP_TYPE_LRU_PERCPU_HASH;

	for (uint32_t i = 0; i < (percpu ? side_cpus() : 1); i++)
		if (memcmp(a + (size_t)i * ((size + 7) & ~7u), b + (size_t)i * ((size + 7) & ~7u),
			   size) != 0)
			return false;
	return true;
}

/* All that @from has @side has as well. Return: how many that were. */
static uint32_t compare_elements(struct side *from, struct side *side, uint32_t map)
{
	unsigned char key[SIDE_KEY], a[SIDE_VALUE], b[SIDE_VALUE];
	uint32_t cnt = 0;

	for (int r = from->next_key(from, map, NULL, key); r == 0;
	     r = from->next_key(from, map, key, key)) {
		assert_int_equal(from->read(from, map, key, a), 0);
		r = side->read(side, map, key, b);
		if (r < 0)
			differ(side, "map %u: element %u: %s", map, cnt, strerrordesc_np(-r));
		if (!same_value(map, a, b))
			differ(side, "map %u: value of element %u", map, cnt);
		cnt++;
		assert_true(cnt <= mix_maps[map].max_entries);
	}
	return cnt;
}

static uint32_t count_elements(struct side *side, uint32_t map)
{
	unsigned char key[SIDE_KEY];
	uint32_t cnt = 0;

	for (int r = side->next_key(side, map, NULL, key); r == 0;
	     r = side->next_key(side, map, key, key))
		cnt++;
	return cnt;
}

static void compare_queues(uint32_t map)
{
	unsigned char a[SIDE_VALUE], b[SIDE_VALUE];
	int r, other;

	do {
		r = sides[0]->pop(sides[0], map, a);
		for (uint32_t i = 1; i < SIDES; i++) {
			other = sides[i]->pop(sides[i], map, b);
			if (r != other || (r == 0 && !same_value(map, a, b)))
				differ(sides[i], "map %u: taken: %d, %d", map, r, other);
		}
	} while (r == 0);
}

static void compare_maps(void)
{
	for (uint32_t map = MIX_TABLE; map < MIX_BLOOM; map++) {
		if (mix_maps[map].key_size == 0) {
			compare_queues(map);
			continue;
		}
		for (uint32_t i = 1; i < SIDES; i++) {
			uint32_t cnt = compare_elements(sides[0], sides[i], map),
				 other = count_elements(sides[i], map);

			if (cnt != other)
				differ(sides[i], "map %u: %u and %u elements", map, cnt, other);
		}
	}
}

static void run_all(const uint64_t *ctx)
{
	uint64_t r0, others[SIDES];

	if (sides[0]->run(sides[0], ctx, &r0) < 0)
		fail_msg("program %lu does not run", program);
	for (uint32_t i = 1; i < SIDES; i++)
		if (sides[i]->run(sides[i], ctx, &others[i]) < 0)
			fail_msg("program %lu, run %lu: %s: %s", program, runs % RUNS,
				 sides[i]->name, sides[i]->why);
	for (uint32_t i = 1; i < SIDES; i++) {
		if ((uint32_t)r0 != (uint32_t)others[i])
			differ(sides[i], "r0: %#lx, %#lx", r0, others[i]);
		compare_values(sides[i]);
	}
	compare_records();
	runs++;
}

/* Return: whether all take it. */
static bool load_all(const struct mix *mix)
{
	struct verifier_facts facts = {0};
	const char *why;
	int r;

	if (side_verify(mix, &facts, &why) < 0) {
		print_message("program %lu: refused here: %s\n", program, why);
		refused_here++;
		return false;
	}
	r = sides[0]->load(sides[0], mix, &facts);
	if (r < 0) {
		print_message("program %lu: refused by the kernel: %s\n", program, sides[0]->why);
		refused_there++;
		return false;
	}
	for (uint32_t i = 1; i < SIDES; i++)
		if (sides[i]->load(sides[i], mix, &facts) < 0)
			fail_msg("program %lu: %s: %s", program, sides[i]->name, sides[i]->why);
	return true;
}

static void one_program(void)
{
	static struct mix mix;
	uint64_t ctx[MIX_CTX], seed = (program + 1) * 0x9e3779b97f4a7c15ull;

	if (!mix_program(&mix, program, user + READER_PAGE - MIX_USER) || !load_all(&mix))
		return;
	for (uint32_t i = 0; i < RUNS; i++) {
		for (uint32_t k = 0; k < MIX_CTX; k++)
			ctx[k] = edge_any(&seed);
		run_all(ctx);
	}
}

static void test_same(void **state)
{
	const time_t end = time(NULL) + (time_t)seconds;

	(void)state;
	for (program = first / BATCH * BATCH; time(NULL) < end; program++) {
		if (program % BATCH == 0)
			for (uint32_t i = 0; i < SIDES; i++)
				sides[i]->reset(sides[i]);
		one_program();
		if (program % BATCH == BATCH - 1)
			compare_maps();
	}
	print_message(
		"%lu programs from %u on, %lu runs, %lu records; refused: %lu here, %lu by the "
		"kernel\n",
		program - first / BATCH * BATCH, first, runs, records, refused_here, refused_there);
	assert_true(runs > 1000 && (refused_here + refused_there) * RUNS < runs / 20);
}

static int setup(void **state)
{
	cpu_set_t one;

	(void)state;
	/* The slot that programs of ours run in is the processor's number. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (uint32_t i = 0; i < MIX_USER; i++)
		user[READER_PAGE - MIX_USER + i] = i % 23 ? (unsigned char)('a' + i % 19) : 0;
	assert_int_equal((uintptr_t)user % 8, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(ours); i++) {
		region_side_init(&ours[i], side_cpus());
		sides[1 + i] = &ours[i].side;
	}
	kernel_side_init(&kernel);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(ours); i++)
		region_side_deinit(&ours[i]);
	kernel_side_deinit(&kernel);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
	};

	if (argc > 2) {
		first = (uint32_t)strtoul(argv[1], NULL, 0);
		seconds = (uint32_t)strtoul(argv[2], NULL, 0);
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
