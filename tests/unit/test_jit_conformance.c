/* SPDX-License-Identifier: MIT */
/*
 * The ISA conformance cases of tests/conformance, compiled and interpreted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"
#include "vm/interp/interp.h"

#define CASES BPFSHIM_SOURCE_DIR "/tests/conformance/cases.tsv"

/* Bytes of @hex into @ret_bytes; "-" is none. */
static size_t from_hex(const char *hex, void *ret_bytes, size_t size)
{
	unsigned char *bytes = ret_bytes;
	size_t len = 0;
	unsigned byte;

	for (; strcmp(hex, "-") != 0 && sscanf(hex, "%2x", &byte) == 1; hex += 2) {
		assert_true(len < size);
		bytes[len++] = (unsigned char)byte;
	}
	return len;
}

static uint64_t interp_helper_5(struct interp_run *run, const uint64_t args[5])
{
	return args[0];
}

static bool interpret(const char *name, const struct bpf_insn *insns, uint32_t cnt,
		      unsigned char *input, size_t len, uint64_t want)
{
	static const interp_helper helpers[INTERP_HELPERS] = {[5] = interp_helper_5};
	const struct interp_memory memory = {(uint64_t)input, len, true};
	const struct interp interp = {
		.budget = 1000000, .helpers = helpers, .memory = &memory, .memory_cnt = 1};
	const uint64_t args[5] = {(uint64_t)input};
	struct reason reason;
	uint64_t got = 0;

	if (interp_run(&interp, insns, cnt, args, &got, &reason) < 0) {
		print_error("%s: interpreter: %s\n", name, reason.text);
		return false;
	}
	if (got != want)
		print_error("%s: interpreter: %#lx, expected %#lx\n", name, got, want);
	return got == want;
}

static bool run_case(struct jit_region *region, char *line)
{
	char *name = strtok(line, "\t"), *cpu = strtok(NULL, "\t"), *memory = strtok(NULL, "\t");
	char *program = strtok(NULL, "\t"), *expected = strtok(NULL, "\t\n");
	struct bpf_insn insns[512];
	unsigned char input[4096], copy[4096];
	size_t len, input_len;
	uint64_t want, got;
	uint32_t cnt;
	int r;

	assert_non_null(cpu);
	assert_non_null(expected);
	input_len = from_hex(memory, input, sizeof(input));
	memcpy(copy, input, input_len);
	insns[0] = (struct bpf_insn)INSN_MOV64_IMM(BPF_REG_2, (int32_t)input_len);
	len = from_hex(program, &insns[1], sizeof(insns) - sizeof(insns[0]));
	cnt = (uint32_t)(1 + len / sizeof(insns[0]));
	r = jit_region_compile(region, insns, cnt);
	if (r < 0) {
		print_error("%s: %d: %s\n", name, r, region->reason.text);
		return false;
	}
	want = strtoull(expected, NULL, 16);
	got = jit_region_call(region, input);
	if (got != want)
		print_error("%s: %#lx, expected %#lx\n", name, got, want);
	return interpret(name, insns, cnt, copy, input_len, want) && got == want;
}

/* The suite's helper 5, which may end a program there and then; ours never does. */
static uint64_t helper_5(uint64_t r1)
{
	return r1;
}

static void test_cases(void **state)
{
	struct jit_region region;
	unsigned cases = 0, failed = 0;
	static char line[65536];
	FILE *file = fopen(CASES, "re");

	assert_non_null(file);
	assert_int_equal(jit_region_init(&region), 0);
	jit_region_helper(&region, "rt_ktime_get_ns", helper_5);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#')
			continue;
		cases++;
		failed += !run_case(&region, line);
	}
	fclose(file);
	jit_region_deinit(&region);
	assert_int_equal(failed, 0);
	assert_int_equal(cases, 240);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
