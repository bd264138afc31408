/* SPDX-License-Identifier: MIT */
/*
 * Task-free analysis: recorded bpftrace programs, and one small program per way to the context.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "kernel-bridge/taskfree.h"
#include "tests/unit/bpftrace_progs.h"

#define R0  BPF_REG_0
#define R1  BPF_REG_1
#define R2  BPF_REG_2
#define R3  BPF_REG_3
#define R4  BPF_REG_4
#define R5  BPF_REG_5
#define R6  BPF_REG_6
#define R10 BPF_REG_10

#define CHECK(...)                                                                                 \
	({                                                                                         \
		const struct bpf_insn insns_[] = {__VA_ARGS__};                                    \
		check(insns_, ARRAY_SIZE(insns_));                                                 \
	})

/* In a buffer of its exact size, so that the sanitizer sees an overrun. */
static bool check(const struct bpf_insn *insns, uint32_t cnt)
{
	struct bpf_insn *copy = malloc(cnt * sizeof(*insns));
	bool free_of_task;

	memcpy(copy, insns, cnt * sizeof(*insns));
	free_of_task = taskfree_check(copy, cnt);
	free(copy);
	return free_of_task;
}

static void test_bpftrace(void **state)
{
	assert_true(check(bpftrace_interval, ARRAY_SIZE(bpftrace_interval)));
	assert_true(check(bpftrace_exit, ARRAY_SIZE(bpftrace_exit)));
	assert_false(check(bpftrace_pid, ARRAY_SIZE(bpftrace_pid)));
	assert_false(check(bpftrace_ip, ARRAY_SIZE(bpftrace_ip)));
	assert_false(check(bpftrace_ustack, ARRAY_SIZE(bpftrace_ustack)));
}

static void test_direct(void **state)
{
	assert_true(CHECK(INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	/* Read, written, moved, offset, by a conditional path, round a loop. */
	assert_false(CHECK(INSN_LDX(BPF_DW, R0, R1, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_ST(BPF_DW, R1, 0, 0), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R1, R10, 0), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_REG(R6, R1), INSN_ALU64_IMM(BPF_ADD, R6, 8),
			   INSN_LDX(BPF_DW, R0, R6, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_IMM(R2, 0), INSN_JMP_IMM(BPF_JEQ, R3, 0, 1),
			   INSN_MOV64_REG(R2, R1), INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_IMM(R6, 0), INSN_JMP_IMM(BPF_JNE, R6, 0, 3),
			   INSN_MOV64_REG(R6, R1), INSN_JMP_IMM(BPF_JEQ, R3, 1, -3), INSN_JA(-4),
			   INSN_LDX(BPF_DW, R0, R6, 0), INSN_EXIT()));
	assert_false(
		CHECK(INSN_RAW(BPF_STX | BPF_DW | BPF_ATOMIC, R1, R2, 0, BPF_ADD), INSN_EXIT()));
	/* Overwritten before the read: not the context any more. Unreachable code is no matter. */
	assert_true(CHECK(INSN_LD_IMM64_SRC(R1, BPF_PSEUDO_MAP_VALUE, 5),
			  INSN_LDX(BPF_DW, R0, R1, 0), INSN_EXIT()));
	assert_true(
		CHECK(INSN_JA(1), INSN_LDX(BPF_DW, R0, R1, 0), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
}

static void test_stack(void **state)
{
	/* Spilled and filled; in another slot; through a computed stack pointer; overwritten. */
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_LDX(BPF_DW, R2, R10, -8),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_true(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_LDX(BPF_DW, R2, R10, -16),
			  INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_REG(R3, R10), INSN_ALU64_IMM(BPF_ADD, R3, -16),
			   INSN_STX(BPF_DW, R3, R1, 8), INSN_LDX(BPF_DW, R2, R10, -8),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_MOV64_REG(R3, R10),
			   INSN_LDX(BPF_DW, R2, R3, -8), INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_true(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_ST(BPF_DW, R10, -8, 0),
			  INSN_LDX(BPF_DW, R2, R10, -8), INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_ST(BPF_W, R10, -8, 0),
			   INSN_LDX(BPF_DW, R2, R10, -8), INSN_LDX(BPF_DW, R0, R2, 0),
			   INSN_EXIT()));
	/* A spilled stack pointer. */
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_STX(BPF_DW, R10, R10, -16),
			   INSN_LDX(BPF_DW, R3, R10, -16), INSN_LDX(BPF_DW, R2, R3, -8),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	/* Outside of the frame, both ends. */
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -520), INSN_LDX(BPF_DW, R2, R10, -8),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, 0), INSN_LDX(BPF_DW, R2, R10, -8),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	/* Fetched back by an atomic operation or a load-acquire. */
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_MOV64_IMM(R2, 0),
			   INSN_RAW(BPF_STX | BPF_DW | BPF_ATOMIC, R10, R2, -8, BPF_XCHG),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_MOV64_REG(R3, R10),
			   INSN_MOV64_IMM(R2, 0),
			   INSN_RAW(BPF_STX | BPF_DW | BPF_ATOMIC, R2, R3, -8, 0x100),
			   INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()));
	/* Given away to a map. */
	assert_false(CHECK(INSN_LD_IMM64_SRC(R2, BPF_PSEUDO_MAP_VALUE, 5),
			   INSN_STX(BPF_DW, R2, R1, 0), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
}

static void test_calls(void **state)
{
	/* Stale context in r1 is no argument of ktime_get_ns(), but it is one of map_lookup. */
	assert_true(CHECK(INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_EXIT()));
	assert_false(CHECK(INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_EXIT()));
	assert_true(CHECK(INSN_CALL(BPF_FUNC_perf_event_output), INSN_EXIT()));
	assert_false(
		CHECK(INSN_MOV64_REG(R4, R1), INSN_CALL(BPF_FUNC_perf_event_output), INSN_EXIT()));
	static const int32_t denied[] = {
		BPF_FUNC_get_current_pid_tgid,
		BPF_FUNC_get_current_comm,
		BPF_FUNC_get_stackid,
		BPF_FUNC_get_current_task,
		BPF_FUNC_probe_read,
		BPF_FUNC_trace_printk,
		BPF_FUNC_tail_call,
		BPF_FUNC_loop,
		BPF_FUNC_for_each_map_elem,
		BPF_FUNC_perf_prog_read_value,
		BPF_FUNC_snprintf,
		195896080,
		-1,
	};

	for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
		assert_false(CHECK(INSN_MOV64_IMM(R1, 0), INSN_CALL(denied[i]), INSN_EXIT()));
	/* Kernel functions and kernel variables lead anywhere. */
	assert_false(
		CHECK(INSN_RAW(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, 7), INSN_EXIT()));
	assert_false(CHECK(INSN_LD_IMM64_SRC(R2, BPF_PSEUDO_BTF_ID, 7), INSN_MOV64_IMM(R0, 0),
			   INSN_EXIT()));
	assert_false(CHECK(INSN_LD_IMM64_SRC(R2, BPF_PSEUDO_FUNC, 1), INSN_MOV64_IMM(R0, 0),
			   INSN_EXIT()));
}

static void test_subprogs(void **state)
{
	/* With the context, without it, with a pointer to where it lies, with a harmless one. */
	assert_false(CHECK(INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	assert_true(CHECK(INSN_MOV64_IMM(R1, 0), INSN_CALL_REL(1), INSN_EXIT(),
			  INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_STX(BPF_DW, R10, R1, -8), INSN_MOV64_REG(R1, R10), INSN_CALL_REL(1),
			   INSN_EXIT(), INSN_MOV64_IMM(R0, 0), INSN_EXIT()));
	assert_true(CHECK(INSN_MOV64_REG(R1, R10), INSN_CALL_REL(1), INSN_EXIT(),
			  INSN_LDX(BPF_DW, R0, R1, -8), INSN_EXIT()));
	/* The callee itself is looked at. */
	assert_false(CHECK(INSN_MOV64_IMM(R1, 0), INSN_CALL_REL(1), INSN_EXIT(),
			   INSN_CALL(BPF_FUNC_get_current_pid_tgid), INSN_EXIT()));
}

static void test_malformed(void **state)
{
	assert_false(taskfree_check(NULL, 0));
	assert_false(CHECK(INSN_MOV64_IMM(R0, 0)));
	assert_false(CHECK(INSN_JA(5), INSN_EXIT()));
	assert_false(CHECK(INSN_JA(-2), INSN_EXIT()));
	assert_false(CHECK(INSN_GOTOL(INT32_MAX), INSN_EXIT()));
	assert_false(CHECK(INSN_GOTOL(INT32_MIN), INSN_EXIT()));
	assert_false(CHECK(INSN_CALL_REL(INT32_MIN), INSN_EXIT()));
	assert_false(CHECK(INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, R0, 0, 0, 0)));
	assert_false(CHECK(INSN_MOV64_IMM(15, 0), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_REG(R0, 15), INSN_EXIT()));
	assert_false(CHECK(INSN_MOV64_REG(R10, R1), INSN_EXIT()));
}

/* Any bytes at all: an answer, no overrun, no endless loop. */
static void test_noise(void **state)
{
	struct bpf_insn insns[64];

	srandom(7);
	for (int round = 0; round < 200000; round++) {
		uint32_t cnt = 1 + (uint32_t)random() % ARRAY_SIZE(insns);

		for (uint32_t i = 0; i < cnt; i++) {
			static const uint8_t codes[] = {0xbf, 0xb7, 0x7b, 0x79, 0x05, 0x15, 0x06,
							0x18, 0x00, 0x95, 0x07, 0xe5, 0x85, 0xdb};
			long noise = random();

			insns[i] = INSN_RAW(codes[random() % ARRAY_SIZE(codes)], noise & 15,
					    noise >> 4 & 15, (int16_t)(random() % 40 - 20),
					    (int32_t)(random() % 40 - 20));
		}
		check(insns, cnt);
	}
}

/* The longest program looked at, all jumps: ends in reasonable time. */
static void test_long(void **state)
{
	struct bpf_insn *insns = calloc(TASKFREE_MAX + 1, sizeof(*insns));

	for (uint32_t i = 0; i < TASKFREE_MAX; i++)
		insns[i] =
			INSN_JMP_IMM(BPF_JEQ, R0, 0, (int16_t)(i % 2 ? -(int)(i % 30000) - 1 : 0));
	insns[TASKFREE_MAX - 1] = INSN_EXIT();
	assert_true(taskfree_check(insns, TASKFREE_MAX));
	insns[TASKFREE_MAX] = INSN_EXIT();
	assert_false(taskfree_check(insns, TASKFREE_MAX + 1));
	free(insns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bpftrace), cmocka_unit_test(test_direct),
		cmocka_unit_test(test_stack),	 cmocka_unit_test(test_calls),
		cmocka_unit_test(test_subprogs), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_noise),	 cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
