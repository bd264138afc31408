/* SPDX-License-Identifier: MIT */
/*
 * What the verifier accepts runs: generated programs, compiled, with registers, helper results and
 * map contents that are random and often at the edge. Every map value ends, or begins, where there
 * is no memory, so that one byte too many is a fault; so does the context. Helpers write all that
 * they may.
 *
 * With a number as its argument it runs that program alone and does not catch the fault, with two
 * it tries programs from the first on for so many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <time.h>

#include "tests/unit/edges.h"
#include "tests/unit/jit_region.h"
#include "tests/unit/verifier_cases.h"
#include "tests/unit/verifier_gen.h"

#define PROGRAMS 3000
#define RUNS	 24
#define SECONDS	 8 /* at most; a slow machine does fewer programs, but not less than: */
#define LEAST	 101
#define PAGE	 4096u
#define CTX_SIZE 168

static struct jit_region region;
static uint32_t first, seconds = SECONDS, programs = PROGRAMS;
static uint64_t seed = 1;
static unsigned char *ctx_page;
static sigjmp_buf escape;

static unsigned char *map_data(uint32_t index)
{
	return region.base + region.maps[index].map.data;
}

/* From the record of a map of maps to what stands for a map in it. */
#define INNER_RECORD (sizeof(struct region_map) / 2)

static uint64_t lookup(uint64_t map, uint64_t key)
{
	uint64_t place = map - (uint64_t)(uintptr_t)region.base - JIT_REGION_RECORDS;
	uint64_t index = place / sizeof(struct region_map);
	bool inner = place % sizeof(struct region_map) == INNER_RECORD;
	volatile unsigned char *bytes = (void *)(uintptr_t)key;
	const struct verifier_map *known;
	uint32_t key_size;

	if (index >= CASE_MAPS || (!inner && place % sizeof(struct region_map)))
		abort();
	known = &case_maps[index];
	key_size = inner ? known->inner.key_size : known->key_size;
	for (uint32_t i = 0; i < key_size; i++)
		(void)bytes[i];
	if (!(edge_random(&seed) >> 63))
		return 0;
	return known->inner.type && !inner ? map + INNER_RECORD
					   : (uint64_t)(uintptr_t)map_data((uint32_t)index);
}

static uint32_t value_size_of(const struct verifier_map *map)
{
	return map->inner.type ? map->inner.value_size : map->value_size;
}

static bool is_read_only(const struct verifier_map *map)
{
	return (map->inner.type ? map->inner.flags : map->flags) & BPF_F_RDONLY_PROG;
}

static uint64_t write_all(uint64_t to, uint64_t size)
{
	edge_fill(&seed, (void *)(uintptr_t)to, size);
	return edge_any(&seed);
}

static uint64_t number(void)
{
	return edge_any(&seed);
}

/* Values at the end of their page, or at its beginning. */
static void place_maps(bool at_end)
{
	region.map_cnt = 0;
	for (uint32_t i = 0; i < CASE_MAPS; i++) {
		const struct verifier_map *map = &case_maps[i];
		uint64_t page = REGION_MAPS + (3 * i + 1) * PAGE;

		/* One entry of an array: its end is that of the value, and a key may be too large.
		 */
		jit_region_map(&region, map->type, value_size_of(map), 1,
			       page + (at_end ? PAGE - value_size_of(map) : 0));
	}
}

static void fill_maps(void)
{
	for (uint32_t i = 0; i < CASE_MAPS; i++) {
		unsigned char *page = region.base + REGION_MAPS + (3 * i + 1) * PAGE;

		mprotect(page, PAGE, PROT_READ | PROT_WRITE);
		edge_fill(&seed, map_data(i), value_size_of(&case_maps[i]));
		if (is_read_only(&case_maps[i]))
			mprotect(page, PAGE, PROT_READ);
	}
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(jit_region_init(&region), 0);
	for (uint32_t i = 0; i < CASE_MAPS; i++) {
		mprotect(region.base + REGION_MAPS + 3 * i * PAGE, PAGE, PROT_NONE);
		mprotect(region.base + REGION_MAPS + (3 * i + 2) * PAGE, PAGE, PROT_NONE);
	}
	jit_region_helper(&region, "rt_map_lookup_elem", lookup);
	jit_region_helper(&region, "rt_probe_read_user", write_all);
	jit_region_helper(&region, "rt_get_current_comm", write_all);
	jit_region_helper(&region, "rt_ktime_get_ns", number);
	jit_region_helper(&region, "rt_get_prandom_u32", number);
	jit_region_helper(&region, "rt_get_current_pid_tgid", number);
	region.constants = true;
	ctx_page = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(ctx_page != MAP_FAILED);
	mprotect(ctx_page, PAGE, PROT_READ | PROT_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(ctx_page, 2 * PAGE);
	jit_region_deinit(&region);
	return 0;
}

static bool accepted(const struct bpf_insn *insns, uint32_t cnt)
{
	const struct verifier_prog prog = {
		.insns = insns,
		.cnt = cnt,
		.type = BPF_PROG_TYPE_KPROBE,
		.gpl = true,
		.maps = case_maps,
		.map_cnt = CASE_MAPS,
	};
	struct verifier_log log = {.level = 0};
	struct verifier_facts facts = {0};
	int r = verifier_check(&prog, &log, &facts);

	region.zero_stack = facts.reads_unwritten ? facts.stack_depth : 0;
	return r == 0;
}

/* Return: 0, -errno of the compiler, or 1 when a run faults. */
static int run(const struct bpf_insn *insns, uint32_t cnt, bool at_end)
{
	unsigned char *ctx = ctx_page + PAGE - CTX_SIZE;
	int r;

	place_maps(at_end);
	r = jit_region_compile(&region, insns, cnt);
	if (r < 0)
		return r;
	for (int i = 0; i < RUNS; i++) {
		fill_maps();
		edge_fill(&seed, ctx, CTX_SIZE);
		if (sigsetjmp(escape, 1))
			return 1;
		jit_region_call(&region, ctx);
	}
	return 0;
}

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(escape, 1);
}

static void catch_faults(void)
{
	const struct sigaction action = {.sa_handler = on_fault};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* What must not be accepted does fault here: the test would notice. */
static void test_guards(void **state)
{
	const struct bpf_insn behind[] = {LD_VALUE(2, DATA, 0), INSN_LDX(BPF_DW, 0, 2, 57),
					  INSN_EXIT()};
	const struct bpf_insn before[] = {LD_VALUE(2, DATA, 0), INSN_LDX(BPF_B, 0, 2, -1),
					  INSN_EXIT()};
	const struct bpf_insn written[] = {LD_VALUE(2, FIXED, 0), INSN_ST(BPF_B, 2, 0, 1), RET0};
	const struct bpf_insn inside[] = {LD_VALUE(2, DATA, 0), INSN_LDX(BPF_DW, 0, 2, 56),
					  INSN_EXIT()};

	(void)state;
	catch_faults();
	assert_int_equal(run(behind, ARRAY_SIZE(behind), true), 1);
	assert_int_equal(run(before, ARRAY_SIZE(before), false), 1);
	assert_int_equal(run(written, ARRAY_SIZE(written), true), 1);
	assert_int_equal(run(inside, ARRAY_SIZE(inside), true), 0);
}

static void test_programs(void **state)
{
	time_t end = time(NULL) + (time_t)seconds;
	uint32_t ran = 0, refused = 0, wrong = 0;

	(void)state;
	catch_faults();
	for (uint32_t i = first; i - first < programs && (ran < LEAST || time(NULL) <= end); i++) {
		struct gen gen;
		int r;

		gen_program(&gen, i);
		if (!accepted(gen.insns, gen.cnt))
			continue;
		seed = i + 1;
		r = run(gen.insns, gen.cnt, i % 2);
		ran += r >= 0;
		refused += r < 0;
		if (r < 0)
			print_message("program %u: %s\n", i, region.reason.text);
		if (r != 1)
			continue;
		print_error("program %u faults\n", i);
		wrong++;
	}
	print_message("%u programs ran, %u could not be compiled\n", ran, refused);
	assert_int_equal(wrong, 0);
	assert_true(ran >= LEAST && refused < ran / 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_programs),
	};
	struct gen gen;
	uint32_t number_of;

	if (argc > 2) {
		first = (uint32_t)strtoul(argv[1], NULL, 0);
		seconds = (uint32_t)strtoul(argv[2], NULL, 0);
		programs = UINT32_MAX;
	}
	if (argc != 2)
		return cmocka_run_group_tests(tests, setup, teardown);
	setup(NULL);
	number_of = (uint32_t)strtoul(argv[1], NULL, 0);
	gen_program(&gen, number_of);
	seed = number_of + 1;
	return run(gen.insns, gen.cnt, number_of % 2);
}
