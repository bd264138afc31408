/* SPDX-License-Identifier: MIT */
/*
 * The tiers of the JIT beside each other: the same results, and the same bound on the stack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"

#define STEPS 400u

static struct jit_region region;

static int setup(void **state)
{
	return jit_region_init(&region);
}

static int teardown(void **state)
{
	jit_region_deinit(&region);
	return 0;
}

static size_t compile(enum jit_tier tier, const struct bpf_insn *insns, uint32_t cnt)
{
	const struct jit_runtime runtime = {jit_region_resolve, &region};
	const struct jit_prog prog = {.insns = insns, .cnt = cnt, .tier = tier};
	struct link_result result;
	size_t len;

	assert_int_equal(jit_compile_for(&prog, &runtime, &result, &region.reason), 0);
	/* The size of the frame among others. */
	assert_int_equal(jit_region_check(&region, result.code, result.len), 0);
	assert_int_equal(code_place(result.code, result.len, result.relocs, result.reloc_cnt,
				    JIT_REGION_CODE, NULL, 0),
			 0);
	memcpy(region.base + JIT_REGION_CODE, result.code, result.len);
	len = result.len;
	link_result_deinit(&result);
	return len;
}

/*
 * r0 = 0; for each word of the context: if it is not 0, it and r0 become r0 * 3 + it. Unrolled:
 * there is another value of r0 behind every word, and the fast tier keeps each in a place of its
 * own.
 */
static uint32_t many_values(struct bpf_insn *insns, uint32_t steps)
{
	uint32_t cnt = 0;

	insns[cnt++] = (struct bpf_insn)INSN_MOV64_IMM(BPF_REG_0, 0);
	for (uint32_t i = 0; i < steps; i++) {
		const struct bpf_insn step[] = {
			INSN_LDX(BPF_DW, BPF_REG_2, BPF_REG_1, (int16_t)(8 * i)),
			INSN_JMP_IMM(BPF_JEQ, BPF_REG_2, 0, 3),
			INSN_ALU64_IMM(BPF_MUL, BPF_REG_0, 3),
			INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_2),
			INSN_STX(BPF_DW, BPF_REG_1, BPF_REG_0, (int16_t)(8 * i)),
		};

		memcpy(&insns[cnt], step, sizeof(step));
		cnt += ARRAY_SIZE(step);
	}
	insns[cnt++] = (struct bpf_insn)INSN_EXIT();
	return cnt;
}

/* Without room on the stack for the fast tier, either tier compiles all the same, within the bound.
 */
static void test_stack(void **state)
{
	static struct bpf_insn insns[5 * STEPS + 2];
	uint64_t words[STEPS], want = 0;
	uint32_t cnt = many_values(insns, STEPS);

	for (uint32_t i = 0; i < STEPS; i++)
		if (i % 5)
			want = want * 3 + i;
	for (enum jit_tier tier = JIT_FAST; tier <= JIT_FULL; tier++) {
		for (uint32_t i = 0; i < STEPS; i++)
			words[i] = i % 5 ? i : 0;
		compile(tier, insns, cnt);
		assert_int_equal(jit_region_call(&region, words), want);
	}
}

/* Each is what it is called: a function that LLVM can work out is a constant for one of them. */
static void test_effort(void **state)
{
	const struct bpf_insn insns[] = {
		INSN_MOV64_IMM(BPF_REG_0, 0),
		INSN_MOV64_IMM(BPF_REG_2, 10),
		INSN_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_2),
		INSN_ALU64_IMM(BPF_SUB, BPF_REG_2, 1),
		INSN_JMP_IMM(BPF_JNE, BPF_REG_2, 0, -3),
		INSN_EXIT(),
	};
	size_t fast = compile(JIT_FAST, insns, ARRAY_SIZE(insns)), full;

	assert_int_equal(jit_region_call(&region, NULL), 55);
	full = compile(JIT_FULL, insns, ARRAY_SIZE(insns));
	assert_int_equal(jit_region_call(&region, NULL), 55);
	/* mov $55, %eax; ret */
	assert_int_equal(full, 6);
	assert_true(fast > full);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_stack), TEST(test_effort)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
