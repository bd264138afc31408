/* SPDX-License-Identifier: MIT */
/*
 * Compiled programs, run in a region of the test process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

static struct jit_region region;

/* Compile and run @insns with r1 = @ctx. */
static uint64_t run(const struct bpf_insn *insns, uint32_t cnt, void *ctx)
{
	int r = jit_region_compile(&region, insns, cnt);

	if (r < 0)
		fail_msg("%d: %s", r, region.reason.text);
	return jit_region_call(&region, ctx);
}

#define RUN(ctx, ...)                                                                              \
	({                                                                                         \
		const struct bpf_insn run_insns[] = {__VA_ARGS__};                                 \
		run(run_insns, ARRAY_SIZE(run_insns), ctx);                                        \
	})

static int setup(void **state)
{
	return jit_region_init(&region);
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

static void test_mov_exit(void **state)
{
	assert_int_equal(RUN(NULL, INSN_MOV64_IMM(BPF_REG_0, -7), INSN_EXIT()), (uint64_t)-7);
}

static void test_registers_and_stack(void **state)
{
	uint64_t input[2] = {5, 6};

	/* r1 is the context; r10 is the end of 512 bytes that hold what was stored. */
	assert_int_equal(RUN(input, INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_1, 8), INSN_EXIT()), 6);
	assert_int_equal(
		RUN(NULL, INSN_ST(BPF_DW, BPF_REG_10, -512, 7), INSN_ST(BPF_DW, BPF_REG_10, -8, -1),
		    INSN_MOV64_REG(BPF_REG_2, BPF_REG_10), INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, -500),
		    INSN_LDX(BPF_W, BPF_REG_0, BPF_REG_2, -12), INSN_EXIT()),
		7);
}

static void test_acquire_release(void **state)
{
	uint64_t memory[1] = {0};

	assert_int_equal(
		RUN(memory, INSN_MOV64_IMM(BPF_REG_2, 0x1234),
		    INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_B, BPF_REG_1, BPF_REG_2, 1, 0x110),
		    INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, 0, 0x100),
		    INSN_EXIT()),
		0x3400);
	assert_int_equal(memory[0], 0x3400);
}

static void test_acquire_release_stack(void **state)
{
	const uint8_t code = BPF_STX | BPF_ATOMIC | BPF_DW;

	assert_int_equal(RUN(NULL, INSN_MOV64_IMM(BPF_REG_1, -3),
			     INSN_RAW(code, BPF_REG_10, BPF_REG_1, -8, 0x110),
			     INSN_RAW(code, BPF_REG_0, BPF_REG_10, -8, 0x100), INSN_EXIT()),
			 (uint64_t)-3);
}

/* Atomics on the program's own stack, which LLVM may keep in registers. */
static void test_atomic_stack(void **state)
{
	const uint8_t code = BPF_STX | BPF_ATOMIC | BPF_DW;

	assert_int_equal(RUN(NULL, INSN_ST(BPF_DW, BPF_REG_10, -8, 40),
			     INSN_MOV64_IMM(BPF_REG_1, 2),
			     INSN_RAW(code, BPF_REG_10, BPF_REG_1, -8, BPF_ADD | BPF_FETCH),
			     INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_10, -8),
			     INSN_ALU64_REG(BPF_MUL, BPF_REG_0, BPF_REG_1), INSN_EXIT()),
			 42 * 40);
}

/* What a program never wrote is some value, and the same one when it is checked and when used. */
static void test_unwritten_stack(void **state)
{
	assert_true(RUN(NULL, INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_10, -8),
			INSN_JMP_IMM(BPF_JLE, BPF_REG_0, 7, 1), INSN_MOV64_IMM(BPF_REG_0, 1),
			INSN_EXIT()) <= 7);
}

static uint64_t seen[6];

static uint64_t spy(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
		    struct rt_run *run)
{
	const uint64_t args[] = {r1, r2, r3, r4, r5, (uintptr_t)run};

	memcpy(seen, args, sizeof(seen));
	return 0xfedcba9876543210;
}

static void test_helper_call(void **state)
{
	jit_region_helper(&region, "rt_other", NULL);
	jit_region_helper(&region, "rt_perf_event_output", spy);
	assert_int_equal(RUN((void *)1, INSN_MOV64_IMM(BPF_REG_6, 6), INSN_MOV64_IMM(BPF_REG_9, 9),
			     INSN_MOV64_IMM(BPF_REG_2, 2), INSN_MOV64_IMM(BPF_REG_3, 3),
			     INSN_MOV64_IMM(BPF_REG_4, 4), INSN_MOV64_IMM(BPF_REG_5, -5),
			     INSN_CALL(BPF_FUNC_perf_event_output),
			     INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_6),
			     INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_9), INSN_EXIT()),
			 0xfedcba9876543210 + 15);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(seen[i], i + 1);
	assert_int_equal(seen[4], (uint64_t)-5);
	assert_ptr_equal(seen[5], &region.run);
}

/* Much to clear at once, for which a compiler would like to use vector registers. */
static void test_general_registers_only(void **state)
{
	struct bpf_insn insns[70];
	uint32_t cnt = 0;

	jit_region_helper(&region, "rt_perf_event_output", spy);
	for (int i = 1; i <= 64; i++)
		insns[cnt++] = (struct bpf_insn)INSN_ST(BPF_DW, BPF_REG_10, -8 * i, 0);
	insns[cnt++] = (struct bpf_insn)INSN_MOV64_REG(BPF_REG_1, BPF_REG_10);
	insns[cnt++] = (struct bpf_insn)INSN_CALL(BPF_FUNC_perf_event_output);
	insns[cnt++] = (struct bpf_insn)INSN_EXIT();
	run(insns, cnt, NULL);
}

static void test_run_fields(void **state)
{
	region.run.cookie = 0x123456789abcdef0;
	region.run.slot = 5;
	assert_int_equal(RUN(NULL, INSN_CALL(BPF_FUNC_get_attach_cookie), INSN_EXIT()),
			 0x123456789abcdef0);
	assert_int_equal(RUN(NULL, INSN_CALL(BPF_FUNC_get_smp_processor_id), INSN_EXIT()), 5);
}

static void test_map_addresses(void **state)
{
	jit_region_map(&region, BPF_MAP_TYPE_HASH, 8, 16, REGION_MAPS);
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 16, 1, REGION_ARRAYS + 0x3000);
	assert_int_equal(RUN(NULL, INSN_LD_IMM64_SRC(BPF_REG_0, BPF_PSEUDO_MAP_FD, 1), INSN_EXIT()),
			 (uintptr_t)region.base + region.maps[1].offset);
	assert_int_equal(RUN(NULL,
			     INSN_LD_IMM64_SRC(BPF_REG_0, BPF_PSEUDO_MAP_VALUE, 1 | 12ull << 32),
			     INSN_EXIT()),
			 (uintptr_t)region.base + REGION_ARRAYS + 0x3000 + 12);
}

/* Look @key up in map @index; every map but the arrays goes through the runtime. */
static uint64_t lookup(unsigned index, int32_t key)
{
	return RUN(NULL, INSN_ST(BPF_W, BPF_REG_10, -4, key), INSN_MOV64_REG(BPF_REG_2, BPF_REG_10),
		   INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
		   INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, index),
		   INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_EXIT());
}

static void test_array_lookup(void **state)
{
	const uint64_t data = REGION_MAPS + 0x10000;

	/* There is no runtime function here: the code finds elements by itself. */
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 12, 10, data);
	assert_int_equal(lookup(0, 0), (uintptr_t)region.base + data);
	assert_int_equal(lookup(0, 9), (uintptr_t)region.base + data + 9 * 16);
	assert_int_equal(lookup(0, 10), 0);
	assert_int_equal(lookup(0, -1), 0);
	assert_int_equal(lookup(0, INT32_MIN), 0);
}

static void test_percpu_array_lookup(void **state)
{
	const uint64_t data = REGION_MAPS + 0x10000;

	jit_region_map(&region, BPF_MAP_TYPE_PERCPU_ARRAY, 20, 10, data)->slots = 4;
	region.run.slot = 3;
	assert_int_equal(lookup(0, 0), (uintptr_t)region.base + data + 3 * 24);
	assert_int_equal(lookup(0, 9), (uintptr_t)region.base + data + 9 * 24 * 4 + 3 * 24);
	assert_int_equal(lookup(0, 10), 0);
}

/* Elements so large and so many that an offset has more than 32 bits. */
static void test_array_offset_is_wide(void **state)
{
	struct region_map *map =
		jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 1 << 20, 1 << 20, REGION_MAPS);

	map->data_size = 1ull << 40;
	assert_int_equal(lookup(0, (1 << 20) - 1),
			 (uintptr_t)region.base + REGION_MAPS + (((1ull << 20) - 1) << 20));
}

static void test_hash_lookup(void **state)
{
	jit_region_helper(&region, "rt_map_lookup_elem", spy);
	jit_region_map(&region, BPF_MAP_TYPE_HASH, 8, 16, REGION_MAPS);
	assert_int_equal(lookup(0, 1), 0xfedcba9876543210);
	assert_int_equal(seen[0], (uintptr_t)region.base + region.maps[0].offset);
}

/* Which map it is depends on the way taken: the runtime finds out. */
static void test_lookup_of_either_map(void **state)
{
	jit_region_helper(&region, "rt_map_lookup_elem", spy);
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 16, REGION_MAPS);
	jit_region_map(&region, BPF_MAP_TYPE_ARRAY, 8, 16, REGION_MAPS + 0x1000);
	RUN((void *)1, INSN_MOV64_REG(BPF_REG_3, BPF_REG_1), INSN_ST(BPF_W, BPF_REG_10, -4, 0),
	    INSN_MOV64_REG(BPF_REG_2, BPF_REG_10), INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
	    INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, 1),
	    INSN_JMP_IMM(BPF_JNE, BPF_REG_3, 0, 2),
	    INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, 0), INSN_CALL(BPF_FUNC_map_lookup_elem),
	    INSN_EXIT());
	assert_int_equal(seen[0], (uintptr_t)region.base + region.maps[1].offset);
}

/* Backwards, so that there is a loop, and by gotol. */
static void test_loop(void **state)
{
	assert_int_equal(RUN((void *)10, INSN_MOV64_IMM(BPF_REG_0, 0),
			     INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_1),
			     INSN_ALU64_IMM(BPF_SUB, BPF_REG_1, 1),
			     INSN_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, 1), INSN_GOTOL(-4), INSN_EXIT()),
			 55);
}

/* A jump back to the first instruction enters the program once more, not its beginning. */
static void test_jump_to_start(void **state)
{
	assert_int_equal(RUN((void *)3, INSN_ALU64_IMM(BPF_ADD, BPF_REG_0, 2),
			     INSN_ALU64_IMM(BPF_SUB, BPF_REG_1, 1),
			     INSN_JMP_IMM(BPF_JNE, BPF_REG_1, 0, -3), INSN_EXIT()),
			 6);
}

/* Comparisons with many constants, which LLVM turns into a table among the constants. */
static void test_switch(void **state)
{
	struct bpf_insn insns[64];
	uint32_t cnt = 0;

	for (int i = 0; i < 12; i++) {
		insns[cnt++] = INSN_JMP_IMM(BPF_JNE, BPF_REG_1, i, 3);
		insns[cnt++] = INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_10, -8 * (i + 1));
		insns[cnt++] = INSN_MOV64_IMM(BPF_REG_0, i * i + 1);
		insns[cnt++] = INSN_EXIT();
	}
	insns[cnt++] = INSN_MOV64_IMM(BPF_REG_0, 0);
	insns[cnt++] = INSN_EXIT();
	region.constants = true;
	for (uintptr_t i = 0; i < 13; i++)
		assert_int_equal(run(insns, cnt, (void *)i), i < 12 ? i * i + 1 : 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mov_exit),
		TEST(test_registers_and_stack),
		TEST(test_acquire_release),
		TEST(test_acquire_release_stack),
		TEST(test_atomic_stack),
		TEST(test_unwritten_stack),
		TEST(test_helper_call),
		TEST(test_general_registers_only),
		TEST(test_run_fields),
		TEST(test_map_addresses),
		TEST(test_array_lookup),
		TEST(test_percpu_array_lookup),
		TEST(test_array_offset_is_wide),
		TEST(test_hash_lookup),
		TEST(test_lookup_of_either_map),
		TEST(test_loop),
		TEST(test_jump_to_start),
		TEST(test_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
