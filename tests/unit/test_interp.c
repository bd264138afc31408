/* SPDX-License-Identifier: MIT */
/*
 * The interpreter where programs go wrong, and what conformance cases do not have: memory that is
 * not the program's, budgets, hooks, callbacks, tail calls, may_goto, ordered accesses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "vm/interp/run.h"

#define HELPER_CALL_BACK 181 /* as bpf_loop(): r1 turns of function r2 with context r3 */

static unsigned char memory[64];
static struct interp_memory ranges[] = {{(uint64_t)memory, 48, true},
					{(uint64_t)memory + 48, 16, false}};
static struct reason reason;
static uint32_t steps;

static uint64_t call_back(struct interp_run *run, const uint64_t args[5])
{
	uint64_t i, r0;

	for (i = 0; i < args[0]; i++) {
		const uint64_t inner[5] = {i, args[2]};

		if (interp_callback(run, args[1], inner, &r0) < 0 || r0)
			break;
	}
	return i;
}

static int count_steps(void *data, const struct interp_step *step)
{
	steps++;
	assert_true(step->frame < INTERP_FRAMES);
	return step->regs[0] == 0xdead ? -EDOM : 0;
}

static const struct bpf_insn other[] = {INSN_MOV64_IMM(0, 77), INSN_EXIT()};

static int tail_to(void *data, uint64_t map, uint64_t index, const struct bpf_insn **ret_insns,
		   uint32_t *ret_cnt)
{
	if (index != 3)
		return -ENOENT;
	*ret_insns = other;
	*ret_cnt = ARRAY_SIZE(other);
	return 0;
}

static int run(const struct bpf_insn *insns, uint32_t cnt, uint64_t *ret_r0)
{
	static const interp_helper helpers[INTERP_HELPERS] = {[HELPER_CALL_BACK] = call_back};
	const struct interp interp = {.budget = 40000000,
				      .helpers = helpers,
				      .memory = ranges,
				      .memory_cnt = ARRAY_SIZE(ranges),
				      .tail_call = tail_to,
				      .step = count_steps};
	const uint64_t args[5] = {(uint64_t)memory};

	steps = 0;
	return interp_run(&interp, insns, cnt, args, ret_r0, &reason);
}

static void expect(const struct bpf_insn *insns, uint32_t cnt, uint64_t want)
{
	uint64_t r0 = ~want;
	int r = run(insns, cnt, &r0);

	if (r < 0)
		fail_msg("%d: %s", r, reason.text);
	assert_int_equal(r0, want);
}

static void expect_error(const struct bpf_insn *insns, uint32_t cnt, int error, const char *why)
{
	uint64_t r0 = 5;

	assert_int_equal(run(insns, cnt, &r0), error);
	assert_int_equal(r0, 5);
	if (!strstr(reason.text, why))
		fail_msg("\"%s\" is not in \"%s\"", why, reason.text);
}

#define PROGRAM(...)                                                                               \
	(const struct bpf_insn[]){__VA_ARGS__},                                                    \
		sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn)
#define RET0 INSN_MOV64_IMM(0, 0), INSN_EXIT()

static void test_memory(void **state)
{
	memory[47] = 9;
	expect(PROGRAM(INSN_LDX(BPF_B, 0, 1, 47), INSN_EXIT()), 9);
	expect(PROGRAM(INSN_LDX(BPF_DW, 0, 1, 56), INSN_EXIT()), 0);
	expect(PROGRAM(INSN_ST(BPF_DW, 10, -8, 4), INSN_LDX(BPF_DW, 0, 10, -8), INSN_EXIT()), 4);
	expect_error(PROGRAM(INSN_LDX(BPF_DW, 0, 1, 57), INSN_EXIT()), -EFAULT,
		     "instruction 0: a read of 8 bytes at 0x");
	expect_error(PROGRAM(INSN_LDX(BPF_B, 0, 1, -1), INSN_EXIT()), -EFAULT, "a read of 1 bytes");
	expect_error(PROGRAM(INSN_ST(BPF_B, 1, 48, 0), RET0), -EFAULT, "a write of 1 bytes");
	/* Across two ranges is inside of neither. */
	expect_error(PROGRAM(INSN_LDX(BPF_DW, 0, 1, 44), INSN_EXIT()), -EFAULT, "a read");
	expect_error(PROGRAM(INSN_ST(BPF_DW, 10, 0, 0), RET0), -EFAULT, "a write");
	expect_error(PROGRAM(INSN_ST(BPF_DW, 10, -520, 0), RET0), -EFAULT, "a write");
	expect_error(PROGRAM(INSN_MOV64_IMM(2, -4), INSN_LDX(BPF_DW, 0, 2, 0), INSN_EXIT()),
		     -EFAULT, "0xfffffffffffffffc");
}

static void test_malformed(void **state)
{
	expect_error(PROGRAM(INSN_MOV64_IMM(0, 0)), -EINVAL, "leads out of the program, to 1");
	expect_error(PROGRAM(INSN_JA(5), RET0), -EINVAL, "leads out of the program, to 6");
	expect_error(PROGRAM(INSN_JA(-2), RET0), -EINVAL, "to -1");
	expect_error(PROGRAM(INSN_CALL(200), RET0), -EINVAL, "no such helper: 200");
	expect_error(PROGRAM(INSN_CALL(-1), RET0), -EINVAL, "no such helper");
	expect_error(PROGRAM(INSN_MOV64_IMM(10, 0), RET0), -EINVAL, "frame pointer is read only");
	expect_error(PROGRAM(INSN_MOV64_IMM(11, 0), RET0), -EINVAL, "no such register");
	expect_error(PROGRAM(INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 1)), -EINVAL,
		     "half of a constant");
	expect_error(PROGRAM(INSN_LD_IMM64_SRC(0, BPF_PSEUDO_MAP_FD, 3), RET0), -EINVAL,
		     "no such constant: source 1");
	expect_error(PROGRAM(INSN_RAW(BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 3, 1), RET0), -EINVAL,
		     "offset 3");
	expect_error(PROGRAM(INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_W, 10, 0, -6, BPF_ADD), RET0),
		     -EINVAL, "odd address");
	expect_error(PROGRAM(INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_B, 10, 0, -6, BPF_ADD), RET0),
		     -EINVAL, "no such atomic operation");
	expect_error(PROGRAM(INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 10, 0, -8, 0x20), RET0),
		     -EINVAL, "no such atomic operation: 0x20");
	expect_error(NULL, 0, -EINVAL, "an empty program");
	/* Every opcode by itself, in the middle of others: an answer or an error, nothing else. */
	for (int code = 0; code < 256; code++) {
		const struct bpf_insn insns[] = {INSN_RAW((uint8_t)code, 0, 1, 0, 0), RET0};
		uint64_t r0;

		run(insns, ARRAY_SIZE(insns), &r0);
	}
}

static void test_hooks(void **state)
{
	expect(PROGRAM(INSN_MOV64_IMM(0, 1), INSN_MOV64_IMM(0, 2), INSN_EXIT()), 2);
	assert_int_equal(steps, 3);
	expect_error(PROGRAM(INSN_MOV64_IMM(0, 0xdead), RET0), -EDOM, "");
	expect_error(PROGRAM(INSN_JA(-1), RET0), -ETIMEDOUT, "the budget of 40000000 instructions");
	assert_int_equal(steps, 40000000);
}

static void test_calls(void **state)
{
	/* f(r1): own stack, r6 kept for the caller. */
	expect(PROGRAM(INSN_MOV64_IMM(6, 5), INSN_ST(BPF_DW, 10, -8, 30), INSN_MOV64_IMM(1, 7),
		       INSN_CALL_REL(4), INSN_LDX(BPF_DW, 1, 10, -8), INSN_ALU64_REG(BPF_ADD, 0, 1),
		       INSN_ALU64_REG(BPF_ADD, 0, 6), INSN_EXIT(),
		       /* f: */ INSN_MOV64_IMM(6, 100), INSN_ST(BPF_DW, 10, -8, 1),
		       INSN_MOV64_REG(0, 1), INSN_ALU64_REG(BPF_ADD, 0, 6), INSN_EXIT()),
	       7 + 100 + 30 + 5);
	/* A function writes to its caller's stack, not beyond its own. */
	expect(PROGRAM(INSN_MOV64_REG(1, 10), INSN_CALL_REL(2), INSN_LDX(BPF_DW, 0, 10, -16),
		       INSN_EXIT(), INSN_ST(BPF_DW, 1, -16, 11), RET0),
	       11);
	expect_error(PROGRAM(INSN_CALL_REL(-1), RET0), -E2BIG, "more than 8 calls");
	expect_error(PROGRAM(INSN_CALL_REL(9), RET0), -EINVAL, "leads out of the program");
}

static void test_callbacks(void **state)
{
	/* Adds the number of each turn to what r3 points to; ends after turn 4. */
	expect(PROGRAM(INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_IMM(1, 100),
		       INSN_LD_IMM64_SRC(2, BPF_PSEUDO_FUNC, 6), INSN_MOV64_REG(3, 10),
		       INSN_CALL(HELPER_CALL_BACK), INSN_LDX(BPF_DW, 1, 10, -8),
		       INSN_ALU64_REG(BPF_ADD, 0, 1), INSN_EXIT(),
		       /* callback: */ INSN_LDX(BPF_DW, 3, 2, -8), INSN_ALU64_REG(BPF_ADD, 3, 1),
		       INSN_STX(BPF_DW, 2, 3, -8), INSN_MOV64_IMM(0, 0),
		       INSN_JMP_IMM(BPF_JNE, 1, 4, 1), INSN_MOV64_IMM(0, 1), INSN_EXIT()),
	       4 + 10);
	expect_error(PROGRAM(INSN_MOV64_IMM(1, 1), INSN_MOV64_IMM(2, 8),
			     INSN_CALL(HELPER_CALL_BACK), RET0),
		     -EINVAL, "no such function: 0x8");
	/* An error in it is the program's. */
	expect_error(PROGRAM(INSN_MOV64_IMM(1, 1), INSN_LD_IMM64_SRC(2, BPF_PSEUDO_FUNC, 4),
			     INSN_CALL(HELPER_CALL_BACK), RET0, INSN_CALL(201), RET0),
		     -EINVAL, "no such helper: 201");
}

static void test_tail_calls(void **state)
{
	expect(PROGRAM(INSN_MOV64_IMM(3, 3), INSN_CALL(12), RET0), 77);
	expect(PROGRAM(INSN_MOV64_IMM(3, 2), INSN_CALL(12), INSN_EXIT()), (uint64_t)-ENOENT);
}

static void test_linux(void **state)
{
	/* may_goto ends a loop that would not. */
	expect(PROGRAM(INSN_MOV64_IMM(0, 0), INSN_RAW(BPF_JMP | INTERP_JCOND, 0, 0, 2, 0),
		       INSN_MOV64_IMM(0, 1), INSN_JA(-3), INSN_EXIT()),
	       1);
	expect(PROGRAM(INSN_MOV64_IMM(2, -2),
		       INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_H, 10, 2, -8, INTERP_STORE_RELEASE),
		       INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_H, 0, 10, -8, INTERP_LOAD_ACQUIRE),
		       INSN_EXIT()),
	       0xfffe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),	  cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_hooks),	  cmocka_unit_test(test_calls),
		cmocka_unit_test(test_callbacks), cmocka_unit_test(test_tail_calls),
		cmocka_unit_test(test_linux),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
