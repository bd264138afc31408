/* SPDX-License-Identifier: MIT */
/*
 * Compiled programs that go on as others: which, how often, and on what stack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

#define TAIL_CALL INSN_CALL(BPF_FUNC_tail_call)
#define LD_TABLE  INSN_LD_IMM64_SRC(2, BPF_PSEUDO_MAP_FD, 0)
#define OTHERS	  (REGION_CODE + 0x8000) /* programs that are gone on as, 0x1000 apart */
#define TABLE	  (REGION_CODE + 0x20000)
#define ENTRIES	  4

static struct jit_region region;
static uint64_t *table;
static uint64_t frames[64];
static uint32_t frame_cnt;

/* Stands for bpf_ktime_get_ns(): how often it was called, and where its caller's frame is. */
static uint64_t spy(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
		    struct rt_run *run)
{
	frames[frame_cnt++ % ARRAY_SIZE(frames)] = (uint64_t)__builtin_frame_address(0);
	return 0;
}

static int setup(void **state)
{
	int r = jit_region_init(&region);

	if (r == 0)
		jit_region_map(&region, BPF_MAP_TYPE_PROG_ARRAY, 4, ENTRIES, TABLE);
	jit_region_helper(&region, "rt_ktime_get_ns", spy);
	table = (void *)(region.base + TABLE);
	frame_cnt = 0;
	return r;
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

static void compile(const struct bpf_insn *insns, uint32_t cnt)
{
	int r = jit_region_compile(&region, insns, cnt);

	if (r < 0)
		fail_msg("%d: %s", r, region.reason.text);
}

/* A program that uses no map, as entry @index. */
static void compile_entry(uint32_t index, const struct bpf_insn *insns, uint32_t cnt)
{
	table[index] = OTHERS + index * 0x1000;
	compile(insns, cnt);
	memcpy(region.base + table[index], region.base + JIT_REGION_CODE, 0x1000);
}

static uint64_t call(void *ctx)
{
	region.run.tail_calls = 0;
	return jit_region_call(&region, ctx);
}

#define COMPILE(...)                                                                               \
	({                                                                                         \
		const struct bpf_insn compile_insns[] = {__VA_ARGS__};                             \
		compile(compile_insns, ARRAY_SIZE(compile_insns));                                 \
	})
#define ENTRY(index, ...)                                                                          \
	({                                                                                         \
		const struct bpf_insn entry_insns[] = {__VA_ARGS__};                               \
		compile_entry(index, entry_insns, ARRAY_SIZE(entry_insns));                        \
	})

static void test_goes_on(void **state)
{
	uint64_t ctx[2] = {1, 77};

	/* With the same context, and nothing else of what was. */
	ENTRY(1, INSN_LDX(BPF_DW, 0, 1, 8), INSN_EXIT());
	for (int index = 0; index < ENTRIES + 2; index++) {
		ctx[0] = (uint64_t)index | 0xffffffff00000000ull; /* 32 bits of it count */
		COMPILE(INSN_LDX(BPF_DW, 3, 1, 0), LD_TABLE, TAIL_CALL, INSN_MOV64_IMM(0, 5),
			INSN_EXIT());
		assert_int_equal(call(ctx), index == 1 ? 77 : 5);
		assert_int_equal(region.run.tail_calls, index == 1);
	}
}

/* r6 is the caller's after a call that failed. */
static void test_fails(void **state)
{
	COMPILE(INSN_MOV64_IMM(6, 41), INSN_MOV64_IMM(3, 0), LD_TABLE, TAIL_CALL,
		INSN_ALU64_IMM(BPF_ADD, 6, 1), INSN_MOV64_REG(0, 6), INSN_EXIT());
	assert_int_equal(call(NULL), 42);
}

/* Itself 33 times more, each time on the same stack. */
static void test_limit(void **state)
{
	table[0] = JIT_REGION_CODE;
	COMPILE(INSN_STX(BPF_DW, 10, 1, -8), INSN_ST(BPF_DW, 10, -400, 7),
		INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_LDX(BPF_DW, 1, 10, -8), INSN_MOV64_IMM(3, 0),
		LD_TABLE, TAIL_CALL, INSN_LDX(BPF_DW, 0, 10, -400), INSN_EXIT());
	assert_int_equal(call(NULL), 7);
	assert_int_equal(frame_cnt, 34);
	for (uint32_t i = 1; i < frame_cnt; i++)
		assert_int_equal(frames[i], frames[0]);
}

/* What is gone on as returns to the function's caller. */
static void test_from_function(void **state)
{
	ENTRY(2, INSN_MOV64_IMM(0, 30), INSN_EXIT());
	COMPILE(INSN_MOV64_IMM(6, 12), INSN_CALL_REL(2), INSN_ALU64_REG(BPF_ADD, 0, 6), INSN_EXIT(),
		INSN_MOV64_IMM(3, 2), LD_TABLE, TAIL_CALL, INSN_MOV64_IMM(0, 1), INSN_EXIT());
	assert_int_equal(call(NULL), 42);
}

/*
 * A function that goes on as the program that called it: each leaves its frame. 33 times on a stack
 * that is nobody's, and not further down than a target can bear on one that is.
 */
static void test_stack(void **state)
{
	const uint64_t here = (uint64_t)__builtin_frame_address(0);

	table[3] = JIT_REGION_CODE;
	COMPILE(INSN_ST(BPF_DW, 10, -240, 7), INSN_STX(BPF_DW, 10, 1, -8),
		INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_LDX(BPF_DW, 1, 10, -8), INSN_CALL_REL(2),
		INSN_LDX(BPF_DW, 0, 10, -240), INSN_EXIT(), INSN_MOV64_IMM(3, 3), LD_TABLE,
		TAIL_CALL, INSN_MOV64_IMM(0, 1), INSN_EXIT());
	region.run.stack = 0;
	assert_int_equal(call(NULL), 7);
	assert_int_equal(frame_cnt, 34);
	region.run.stack = here;
	frame_cnt = 0;
	assert_int_equal(call(NULL), 7);
	assert_in_range(frame_cnt, 10, 34);
	assert_true(here - frames[frame_cnt - 1] < 0x2400 + 0x400);
	region.run.stack = here + 0x2300;
	frame_cnt = 0;
	assert_int_equal(call(NULL), 7);
	assert_in_range(frame_cnt, 1, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_from_function, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stack, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
