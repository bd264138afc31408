/* SPDX-License-Identifier: MIT */
/*
 * The verifier's verdicts on hand-written programs, and what it logs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/func_types.h"
#include "tests/unit/verifier_cases.h"
#include "tests/unit/verifier_dynptr.h"
#include "tests/unit/verifier_flow.h"
#include "tests/unit/verifier_inner.h"
#include "tests/unit/verifier_values.h"

static int check(const struct verifier_case *test, char *text, uint32_t size,
		 struct verifier_facts *facts)
{
	struct bpf_func_info funcs[8];
	const struct verifier_prog prog = {
		.info = func_info(test->insns, case_cnt(test), funcs, ARRAY_SIZE(funcs)),
		.insns = test->insns,
		.cnt = case_cnt(test),
		.type = BPF_PROG_TYPE_KPROBE,
		.gpl = !test->no_gpl,
		.maps = case_maps,
		.map_cnt = CASE_MAPS,
	};
	struct verifier_log log = {.level = 1, .buf = text, .size = size};

	return verifier_check(&prog, &log, facts);
}

static int check_cases(const struct verifier_case *cases, size_t cnt)
{
	int wrong = 0;

	for (size_t i = 0; i < cnt; i++) {
		struct verifier_facts facts;
		char text[4096] = "";
		int r = check(&cases[i], text, sizeof(text), &facts);

		if (r == cases[i].error && (!cases[i].log || strstr(text, cases[i].log)))
			continue;
		print_error("%s: %d instead of %d, log: %s", cases[i].name, r, cases[i].error,
			    text);
		wrong++;
	}
	return wrong;
}

static void test_verdicts(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_cases, ARRAY_SIZE(verifier_cases)), 0);
}

static void test_values(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_value_cases, ARRAY_SIZE(verifier_value_cases)), 0);
}

static void test_flow(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_flow_cases, ARRAY_SIZE(verifier_flow_cases)), 0);
}

static void test_dynptrs(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_dynptr_cases, ARRAY_SIZE(verifier_dynptr_cases)), 0);
}

static void test_inner(void **state)
{
	(void)state;
	assert_int_equal(check_cases(verifier_inner_cases, ARRAY_SIZE(verifier_inner_cases)), 0);
}

/* A program of any length. */
struct large {
	struct bpf_insn *insns;
	uint32_t cnt, cap;
};

static void add(struct large *large, struct bpf_insn insn)
{
	if (large->cnt == large->cap) {
		large->cap = large->cap ? large->cap * 2 : 1024;
		large->insns = realloc(large->insns, large->cap * sizeof(insn));
		assert_non_null(large->insns);
	}
	large->insns[large->cnt++] = insn;
}

static int check_large(struct large *large, struct verifier_facts *facts)
{
	struct verifier_prog prog = {.type = BPF_PROG_TYPE_KPROBE};
	struct verifier_log log = {.level = 0};
	int r;

	add(large, INSN_MOV64_IMM(0, 0));
	add(large, INSN_EXIT());
	prog.insns = large->insns;
	prog.cnt = large->cnt;
	r = verifier_check(&prog, &log, facts);
	free(large->insns);
	*large = (struct large){.cnt = 0};
	return r;
}

static void test_length(void **state)
{
	struct verifier_facts facts;
	struct large large = {.cnt = 0};

	(void)state;
	while (large.cnt < 1000000 - 2)
		add(&large, INSN_MOV64_IMM(3, 0));
	assert_int_equal(check_large(&large, &facts), 0);
	assert_int_equal(facts.processed, 1000000);
	while (large.cnt < 1000000 - 1)
		add(&large, INSN_MOV64_IMM(3, 0));
	assert_int_equal(check_large(&large, &facts), -E2BIG);
}

/* Jumps that go backwards and form no loop; each pass over them in order would settle only one. */
static void test_backwards(void **state)
{
	struct verifier_facts facts;
	struct large large = {.cnt = 0};
	const int32_t cnt = 400000;

	(void)state;
	/* From the first to the last, then each to the one before it, and from the second out. */
	add(&large, INSN_GOTOL(cnt - 1));
	add(&large, INSN_GOTOL(cnt - 1));
	for (int32_t i = 2; i <= cnt; i++)
		add(&large, INSN_JA(-2));
	assert_int_equal(check_large(&large, &facts), 0);
	assert_int_equal(facts.processed, cnt + 3);
}

/* Every path leaves another number behind, on which an address depends, and a full stack. */
static void add_paths(struct large *large, uint32_t bits)
{
	add(large, INSN_LDX(BPF_DW, 6, 1, 0));
	add(large, INSN_MOV64_IMM(7, 0));
	for (int16_t at = -512; at < 0; at += 8)
		add(large, INSN_STX(BPF_DW, 10, 6, at));
	for (uint32_t i = 0; i < bits; i++) {
		add(large, INSN_JMP_IMM(BPF_JSET, 6, 1 << (i % 31), 1));
		add(large, INSN_ALU64_IMM(BPF_ADD, 7, 1 << (i % 31)));
	}
	add(large, INSN_STX(BPF_DW, 10, 7, -8));
	add(large, INSN_STX(BPF_DW, 10, 6, -16));
	add(large, INSN_ALU64_IMM(BPF_AND, 7, 7));
	add(large, INSN_MOV64_REG(1, 10));
	add(large, INSN_ALU64_REG(BPF_ADD, 1, 7));
	add(large, INSN_ST(BPF_B, 1, -64, 0));
}

/* In the memory a worker has. */
static void test_explosion(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	static const uint32_t bits[] = {12, 16};
#else
	static const uint32_t bits[] = {12, 24, 3000, 200000};
#endif
	struct verifier_facts facts;
	struct large large = {.cnt = 0};
	pid_t child;
	int status;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
#ifndef __SANITIZE_ADDRESS__
		const struct rlimit limit = {1u << 30, 1u << 30};

		setrlimit(RLIMIT_AS, &limit);
#endif
		alarm(60);
		for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
			int r;

			add_paths(&large, bits[i]);
			r = check_large(&large, &facts);
			if (bits[i] < 20 ? r != 0 : r != -E2BIG && r != -ENOMEM)
				_exit(10 + (int)i);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_log(void **state)
{
	const struct verifier_case *test = &verifier_cases[1];
	struct verifier_facts facts = {.processed = 77};
	char text[8];
	struct verifier_log log = {.level = 1, .buf = text, .size = sizeof(text)};
	struct verifier_prog prog = {
		.insns = test->insns, .cnt = case_cnt(test), .type = BPF_PROG_TYPE_KPROBE};

	(void)state;
	/* The end of what was to be said; facts are left alone. */
	assert_int_equal(verifier_check(&prog, &log, &facts), -EACCES);
	assert_int_equal(strlen(text), 7);
	assert_string_equal(text, "read 0\n");
	assert_true(log.len > sizeof(text));
	assert_int_equal(facts.processed, 77);

	prog.insns = verifier_cases[0].insns;
	prog.cnt = 2;
	assert_int_equal(verifier_check(&prog, &log, &facts), -ENOSPC);
	log = (struct verifier_log){.level = 0};
	assert_int_equal(verifier_check(&prog, &log, &facts), 0);
	assert_int_equal(log.len, 1);
	prog.cnt = 0;
	assert_int_equal(verifier_check(&prog, &log, &facts), -E2BIG);
}

static void test_facts(void **state)
{
	const struct verifier_case test = {
		"",
		PROG(LOOKUP(PERCPU), IF_NULL(0, 2), INSN_MOV64_IMM(1, 1), INSN_STX(BPF_DW, 0, 1, 0),
		     INSN_ST(BPF_B, 10, -100, 0), INSN_CALL(BPF_FUNC_get_current_task), RET0),
	};
	struct verifier_facts facts;
	char text[4096];

	(void)state;
	assert_int_equal(check(&test, text, sizeof(text), &facts), 0);
	assert_int_equal(facts.maps, 1u << PERCPU);
	assert_true(facts.uses_percpu);
	assert_int_equal(facts.stack_depth, 100);
	assert_int_equal(facts.kernel_only, BPF_FUNC_get_current_task);
	assert_int_equal(facts.helpers[0],
			 1ull << BPF_FUNC_map_lookup_elem | 1ull << BPF_FUNC_get_current_task);
	assert_int_equal(facts.helpers[1] | facts.helpers[2] | facts.helpers[3], 0);
}

/*
 * A number that is fetched from the stack depends on what was stored there: of two ways that differ
 * in that the second is not covered by the first, wherever states are compared. Linux 6.18.44
 * accepts such a program, for which backtrack_insn() takes the atomic operation for a store alone;
 * no list that is compared with the kernel has it.
 */
static void test_fetched(void **state)
{
	static const int32_t ops[] = {BPF_XOR | BPF_FETCH, BPF_ADD | BPF_FETCH, BPF_XCHG};

	(void)state;
	for (uint32_t i = 0; i < 3 * 6; i++) {
		const uint32_t pad = i / 3;
		struct verifier_case test = {
			"fetched from the stack",
			PROG(LD_VALUE(9, DATA, 0), INSN_LDX(BPF_DW, 6, 1, 0),
			     INSN_LDX(BPF_DW, 8, 1, 8), INSN_STX(BPF_DW, 10, 6, -8),
			     /* more or less of what makes a state worth remembering */
			     INSN_JMP_IMM(BPF_JEQ, 8, 1, 0), INSN_MOV64_IMM(3, 0),
			     INSN_JMP_IMM(BPF_JEQ, 8, 2, 0), INSN_MOV64_IMM(3, 0),
			     INSN_JMP_IMM(BPF_JEQ, 8, 3, 0), INSN_MOV64_IMM(3, 0),
			     INSN_JMP_IMM(BPF_JEQ, 8, 4, 0), INSN_MOV64_IMM(3, 0),
			     INSN_JMP_IMM(BPF_JEQ, 8, 5, 0), INSN_MOV64_IMM(3, 0),
			     INSN_RAW(BPF_JMP32 | BPF_JNE | BPF_K, 6, 0, 0, -4096),
			     INSN_MOV64_IMM(7, 100), ATOMIC(BPF_DW, ops[i % 3], 10, 7, -8),
			     INSN_ALU64_IMM(BPF_AND, 7, 255), INSN_ALU64_REG(BPF_ADD, 9, 7),
			     INSN_LDX(BPF_DW, 0, 9, 56), RET0)};
		struct verifier_facts facts;
		char text[8192] = "";

		for (uint32_t k = 5; k < 5 + 2 * pad; k += 2)
			test.insns[k] = (struct bpf_insn)INSN_MOV64_IMM(3, 1);
		assert_int_equal(check(&test, text, sizeof(text), &facts), -EACCES);
		assert_non_null(strstr(text, "invalid access to map value, value_size=64 off=311"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetched),	  cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_values),	  cmocka_unit_test(test_flow),
		cmocka_unit_test(test_dynptrs),	  cmocka_unit_test(test_length),
		cmocka_unit_test(test_backwards), cmocka_unit_test(test_explosion),
		cmocka_unit_test(test_log),	  cmocka_unit_test(test_facts),
		cmocka_unit_test(test_inner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
