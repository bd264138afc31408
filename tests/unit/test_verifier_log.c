/* SPDX-License-Identifier: MIT */
/*
 * The walk in the log beside the kernel's, line by line: instructions, states, paths, at levels 1
 * and 2, for programs that are accepted and refused. What only some kernels say is left out of
 * theirs: registers that are live, marks of reads and writes, precision, names of maps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ctype.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/live.h"
#include "verifier/verifier.h"

#define R0  BPF_REG_0
#define R1  BPF_REG_1
#define R2  BPF_REG_2
#define R3  BPF_REG_3
#define R6  BPF_REG_6
#define R7  BPF_REG_7
#define R10 BPF_REG_10
#define MAP (-2) /* stands for the map's descriptor, or its place */
#define LOAD_MAP(dst)                                                                              \
	INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, dst, BPF_PSEUDO_MAP_FD, 0, MAP), INSN_RAW(0, 0, 0, 0, 0)

struct program {
	const char *name;
	struct bpf_insn insns[24];
};

static const struct program programs[] = {
	{"constants",
	 {INSN_MOV64_IMM(R0, 7), INSN_ALU64_IMM(BPF_ADD, R0, -9), INSN_MOV64_REG(R1, R0),
	  INSN_ALU32_IMM(BPF_MOV, R2, -1), INSN_ALU64_IMM(BPF_LSH, R2, 3),
	  INSN_ALU32_REG(BPF_XOR, R2, R0), INSN_RAW(BPF_ALU64 | BPF_NEG, R0, 0, 0, 0),
	  INSN_LD_IMM64(R3, 0x1122334455667788), INSN_MOV64_IMM(R0, 40000), INSN_EXIT()}},
	{"numbers of the context",
	 {INSN_LDX(BPF_DW, R6, R1, 8), INSN_MOV64_REG(R7, R6), INSN_ALU64_IMM(BPF_AND, R7, 255),
	  INSN_ALU64_IMM(BPF_RSH, R6, 60), INSN_ALU64_REG(BPF_ADD, R6, R7), INSN_MOV64_IMM(R0, 0),
	  INSN_EXIT()}},
	{"stack",
	 {INSN_STX(BPF_DW, R10, R1, -8), INSN_ST(BPF_DW, R10, -16, 3), INSN_ST(BPF_B, R10, -17, 1),
	  INSN_LDX(BPF_DW, R6, R10, -8), INSN_MOV64_REG(R2, R10), INSN_ALU64_IMM(BPF_ADD, R2, -16),
	  INSN_LDX(BPF_DW, R0, R2, 0), INSN_EXIT()}},
	{"two paths",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_MOV64_IMM(R0, 0), INSN_JMP_IMM(BPF_JGT, R6, 9, 1),
	  INSN_MOV64_IMM(R0, 1), INSN_EXIT()}},
	{"the second path is wrong",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_MOV64_IMM(R0, 0), INSN_JMP_IMM(BPF_JEQ, R6, 9, 1),
	  INSN_EXIT(), INSN_MOV64_REG(R0, R7), INSN_EXIT()}},
	{"helpers",
	 {INSN_MOV64_REG(R6, R1), INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_MOV64_REG(R7, R0),
	  INSN_CALL(BPF_FUNC_get_current_pid_tgid), INSN_MOV64_REG(R0, R1), INSN_EXIT()}},
	{"no such helper", {INSN_CALL(9999), INSN_EXIT()}},
	{"out of the stack", {INSN_MOV64_IMM(R0, 0), INSN_STX(BPF_DW, R10, R0, -520), INSN_EXIT()}},
	{"a value that may be null",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_STX(BPF_W, R10, R6, -4), INSN_MOV64_REG(R2, R10),
	  INSN_ALU64_IMM(BPF_ADD, R2, -4), LOAD_MAP(R1), INSN_CALL(BPF_FUNC_map_lookup_elem),
	  INSN_LDX(BPF_DW, R0, R0, 0), INSN_EXIT()}},
	{"a value",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_STX(BPF_W, R10, R6, -4), INSN_MOV64_REG(R2, R10),
	  INSN_ALU64_IMM(BPF_ADD, R2, -4), LOAD_MAP(R1), INSN_CALL(BPF_FUNC_map_lookup_elem),
	  INSN_JMP_IMM(BPF_JNE, R0, 0, 2), INSN_MOV64_IMM(R0, 0), INSN_EXIT(),
	  INSN_LDX(BPF_W, R6, R0, 4), INSN_STX(BPF_B, R0, R6, 7), INSN_LDX(BPF_DW, R0, R0, 8),
	  INSN_EXIT()}},
	{"comparisons",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_LDX(BPF_DW, R7, R1, 8), INSN_MOV64_IMM(R0, 0),
	  INSN_JMP_REG(BPF_JGT, R6, R7, 1), INSN_EXIT(), INSN_JMP_IMM(BPF_JLT, R6, 16, 1),
	  INSN_EXIT(), INSN_JMP_IMM(BPF_JSGT, R7, -3, 1), INSN_EXIT(),
	  INSN_ALU64_REG(BPF_ADD, R6, R7), INSN_LDX(BPF_DW, R2, R1, 0), INSN_MOV64_REG(R0, R3),
	  INSN_EXIT()}},
	{"a function",
	 {INSN_MOV64_REG(R6, R1), INSN_MOV64_IMM(R1, 5), INSN_CALL_REL(2),
	  INSN_LDX(BPF_DW, R6, R6, 0), INSN_EXIT(), INSN_MOV64_REG(R0, R1),
	  INSN_ST(BPF_DW, R10, -8, 1), INSN_EXIT()}},
	{"parts of numbers on the stack",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_STX(BPF_B, R10, R6, -8), INSN_LDX(BPF_B, R7, R10, -8),
	  INSN_STX(BPF_H, R10, R6, -16), INSN_LDX(BPF_B, R7, R10, -16),
	  INSN_LDX(BPF_W, R7, R10, -16), INSN_LDX(BPF_B, R7, R10, -15),
	  INSN_LDX(BPF_DW, R7, R10, -16), INSN_ST(BPF_B, R10, -24, 7),
	  INSN_ALU64_IMM(BPF_AND, R6, 127), INSN_STX(BPF_H, R10, R6, -32),
	  INSN_LDX(BPF_H, R7, R10, -32), INSN_LDX(BPF_B, R2, R10, -32),
	  INSN_RAW(BPF_LDX | BPF_B | 0x80, R2, R10, -32, 0), INSN_STX(BPF_W, R10, R6, -32),
	  INSN_ST(BPF_B, R10, -27, 0), INSN_LDX(BPF_DW, R7, R10, -32), INSN_MOV64_IMM(R0, 0),
	  INSN_EXIT()}},
	{"zeroes on the stack",
	 {INSN_ST(BPF_H, R10, -8, 0),	  INSN_LDX(BPF_B, R6, R10, -7),
	  INSN_LDX(BPF_B, R6, R10, -6),	  INSN_ST(BPF_W, R10, -4, 0),
	  INSN_LDX(BPF_H, R6, R10, -4),	  INSN_ST(BPF_B, R10, -8, 7),
	  INSN_LDX(BPF_W, R6, R10, -4),	  INSN_ST(BPF_DW, R10, -16, 0),
	  INSN_ST(BPF_B, R10, -16, 1),	  INSN_LDX(BPF_W, R6, R10, -12),
	  INSN_LDX(BPF_B, R6, R10, -16),  INSN_ST(BPF_B, R10, -21, 0),
	  INSN_ST(BPF_H, R10, -24, 3),	  INSN_ST(BPF_H, R10, -20, 1),
	  INSN_LDX(BPF_B, R6, R10, -21),  INSN_LD_IMM64(R7, 0x1122334455667788),
	  INSN_STX(BPF_H, R10, R7, -32),  INSN_LDX(BPF_B, R6, R10, -32),
	  INSN_STX(BPF_DW, R10, R7, -40), INSN_LDX(BPF_W, R6, R10, -36),
	  INSN_MOV64_IMM(R0, 0),	  INSN_EXIT()}},
	{"linked numbers",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_MOV64_REG(R7, R6), INSN_MOV64_REG(R2, R6),
	  INSN_ALU64_IMM(BPF_ADD, R7, 5), INSN_ALU64_IMM(BPF_SUB, R2, 3),
	  INSN_STX(BPF_DW, R10, R6, -8), INSN_JMP_IMM(BPF_JLT, R6, 10, 2), INSN_MOV64_IMM(R0, 0),
	  INSN_EXIT(), INSN_JMP_IMM(BPF_JLT, R7, 13, 2), INSN_MOV64_IMM(R0, 1), INSN_EXIT(),
	  INSN_MOV64_REG(R0, R7), INSN_ALU64_REG(BPF_ADD, R0, R2), INSN_LDX(BPF_DW, R3, R10, -8),
	  INSN_ALU64_REG(BPF_ADD, R3, R6), INSN_LDX(BPF_DW, R3, R1, 0), INSN_EXIT()}},
	{"linked numbers of 32 bits",
	 {INSN_LDX(BPF_W, R6, R10, -16), INSN_MOV64_REG(R7, R6), INSN_ALU32_IMM(BPF_ADD, R7, 5),
	  INSN_MOV64_REG(R2, R6), INSN_ALU64_IMM(BPF_ADD, R2, 6), INSN_JMP_IMM(BPF_JLT, R7, 10, 2),
	  INSN_MOV64_IMM(R0, 0), INSN_EXIT(), INSN_MOV64_REG(R0, R6),
	  INSN_ALU64_REG(BPF_ADD, R0, R2), INSN_ALU64_REG(BPF_ADD, R0, R7),
	  INSN_LDX(BPF_DW, R3, R1, 0), INSN_EXIT()}},
	{"links that end",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_MOV64_REG(R7, R6), INSN_ALU32_IMM(BPF_ADD, R7, 0),
	  INSN_MOV64_REG(R7, R6), INSN_ALU64_IMM(BPF_ADD, R7, 5), INSN_ALU64_IMM(BPF_ADD, R7, 5),
	  INSN_MOV64_REG(R7, R6), INSN_ALU64_IMM(BPF_ADD, R7, 5), INSN_MOV64_REG(R2, R7),
	  INSN_LD_IMM64(R3, 0x80000000), INSN_MOV64_REG(R2, R6), INSN_ALU64_REG(BPF_ADD, R2, R3),
	  INSN_MOV64_REG(R2, R6), INSN_ALU64_IMM(BPF_ADD, R2, INT32_MIN), INSN_MOV64_REG(R3, R6),
	  INSN_ALU64_IMM(BPF_SUB, R3, INT32_MIN), INSN_MOV64_IMM(R0, 0), INSN_EXIT()}},
	{"too many linked numbers",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_MOV64_REG(R0, R6), INSN_MOV64_REG(R2, R6),
	  INSN_MOV64_REG(R3, R6), INSN_MOV64_REG(BPF_REG_4, R6), INSN_MOV64_REG(BPF_REG_5, R6),
	  INSN_MOV64_REG(R7, R6), INSN_STX(BPF_DW, R10, R6, -8), INSN_JMP_IMM(BPF_JLT, R6, 10, 2),
	  INSN_MOV64_IMM(R0, 0), INSN_EXIT(), INSN_ALU64_REG(BPF_ADD, R0, R2),
	  INSN_ALU64_REG(BPF_ADD, R3, BPF_REG_4), INSN_ALU64_REG(BPF_ADD, BPF_REG_5, R7),
	  INSN_LDX(BPF_DW, R0, R10, -8), INSN_ALU64_REG(BPF_ADD, R0, R6),
	  INSN_LDX(BPF_DW, R3, R1, 0), INSN_EXIT()}},
	{"too many linked to either of two",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_LDX(BPF_DW, R7, R1, 8), INSN_MOV64_REG(R0, R6),
	  INSN_MOV64_REG(R2, R6), INSN_MOV64_REG(R3, R7), INSN_MOV64_REG(BPF_REG_4, R7),
	  INSN_MOV64_REG(BPF_REG_5, R7), INSN_JMP_REG(BPF_JLT, R6, R7, 2), INSN_MOV64_IMM(R0, 0),
	  INSN_EXIT(), INSN_ALU64_REG(BPF_ADD, R0, R2), INSN_ALU64_REG(BPF_ADD, R3, BPF_REG_4),
	  INSN_ALU64_REG(BPF_ADD, BPF_REG_5, R7), INSN_ALU64_REG(BPF_ADD, R0, R6),
	  INSN_LDX(BPF_DW, R3, R1, 0), INSN_EXIT()}},
	{"sign-extended copies",
	 {INSN_LDX(BPF_DW, R6, R1, 0), INSN_ALU64_IMM(BPF_AND, R6, 127),
	  INSN_RAW(BPF_ALU64 | BPF_MOV | BPF_X, R7, R6, 8, 0),
	  INSN_RAW(BPF_ALU | BPF_MOV | BPF_X, R2, R6, 8, 0), INSN_JMP_IMM(BPF_JLT, R6, 10, 2),
	  INSN_MOV64_IMM(R0, 0), INSN_EXIT(), INSN_MOV64_REG(R0, R7),
	  INSN_ALU64_REG(BPF_ADD, R0, R2), INSN_ALU64_REG(BPF_ADD, R0, R6),
	  INSN_LDX(BPF_DW, R3, R1, 0), INSN_EXIT()}},
};

static struct insns_prog with_map(const struct program *program, struct bpf_insn *copy, int map)
{
	struct insns_prog prog = {.insns = copy, .cnt = 24};

	while (!program->insns[prog.cnt - 1].code)
		prog.cnt--;
	memcpy(copy, program->insns, prog.cnt * sizeof(*copy));
	for (uint32_t i = 0; i < prog.cnt; i++)
		if (copy[i].imm == MAP && copy[i].src_reg == BPF_PSEUDO_MAP_FD)
			copy[i].imm = map;
	return prog;
}

static const char *line_end(const char *at)
{
	const char *end = strchr(at, '\n');

	return end ? end + 1 : at + strlen(at);
}

/* "      3: .1........ (b7) r0 = 0": registers that are live; "(0) ...": stack that is. */
static bool is_extra(const char *line)
{
	const char *at = line + strspn(line, " ");

	if (strncmp(line, "Live regs", 9) == 0 || strncmp(line, "verification time", 17) == 0 ||
	    strncmp(line, "mark_precise", 12) == 0 || line[0] == '(' ||
	    strncmp(line, "processed ", 10) == 0)
		return true;
	at += strspn(at, "0123456789");
	return line[0] == ' ' && at[0] == ':' && strspn(at + 2, ".0123456789") == 10;
}

/* Without what a mark, a number of one of us, a name or an address adds. */
static void plain(const char *log, char *out)
{
	for (const char *line = log; *line; line = line_end(line)) {
		const char *end = line_end(line), *at = line;

		if (is_extra(line))
			continue;
		while (at < end) {
			if (at[0] == '=' && at[1] == 'P') {
				*out++ = '=';
				at += 2;
			} else if (at[0] == '_' && (at[1] == 'w' || at[1] == 'r') &&
				   (at[2] == '=' || at[3] == '=')) {
				at = strchr(at, '=');
			} else if (strncmp(at, "map=,", 5) == 0) {
				at += 5;
			} else if (strncmp(at, "id=", 3) == 0) {
				at += 3 + strspn(at + 3, "0123456789");
				at += *at == ',';
			} else if (strncmp(at, "(18) r1 = 0x", 12) == 0) {
				/* Where it goes on is a matter of the address' length. */
				out += sprintf(out, "(18) r1 = ADDRESS ");
				at += strcspn(at, ";\n");
			} else {
				*out++ = *at++;
			}
		}
	}
	*out = '\0';
}

static void assert_same_log(const struct program *program, uint32_t level, int map)
{
	static char theirs[LIVE_LOG_SIZE], ours[LIVE_LOG_SIZE], a[LIVE_LOG_SIZE], b[LIVE_LOG_SIZE];
	const struct verifier_map shape = {
		.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};
	struct verifier_log log = {.level = level, .buf = ours, .size = sizeof(ours)};
	struct bpf_insn copy[24];
	struct insns_prog prog = with_map(program, copy, map);
	struct verifier_facts facts;
	int kernel = live_load(&prog, -1, level, theirs), verdict;
	struct verifier_prog own = {.insns = copy,
				    .cnt = prog.cnt,
				    .type = BPF_PROG_TYPE_RAW_TRACEPOINT,
				    .gpl = true,
				    .maps = &shape,
				    .map_cnt = 1};

	close_fd(kernel);
	with_map(program, copy, 0);
	verdict = verifier_check(&own, &log, &facts);
	if (verdict != (kernel < 0 ? kernel : 0))
		fail_msg("%s: here %d, in the kernel %d", program->name, verdict, kernel);
	plain(theirs, a);
	plain(ours, b);
	if (strcmp(a, b) != 0) {
		print_error("%s, level %u\n--- kernel\n%s\n", program->name, level, a);
		print_error("--- here\n%s\n", b);
		fail();
	}
	if (level == 2)
		assert_non_null(strstr(b, "0: ("));
}

static void test_logs(void **state)
{
	cleanup_fd int map = live_cell();

	assert_true(map >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		for (uint32_t level = 1; level < 8; level++)
			if (level != 4)
				assert_same_log(&programs[i], level, map);
}

/* Of a path that ends well level 1 keeps nothing, of one that does not all that led there. */
static void test_path(void **state)
{
	char text[4096];
	struct verifier_log log = {.level = 1, .buf = text, .size = sizeof(text)};
	struct verifier_facts facts;
	struct verifier_prog prog = {
		.insns = programs[4].insns, .cnt = 6, .type = BPF_PROG_TYPE_RAW_TRACEPOINT};

	assert_int_equal(verifier_check(&prog, &log, &facts), -EACCES);
	assert_non_null(strstr(text, "0: (79) r6 = *(u64 *)(r1 +0)"));
	assert_non_null(strstr(text, "4: R0=0 R1=ctx() R6=9 R10=fp0\n"));
	assert_null(strstr(text, "3: (95)"));
	prog.insns = programs[3].insns;
	prog.cnt = 5;
	assert_int_equal(verifier_check(&prog, &log, &facts), 0);
	assert_int_equal(strncmp(text, "processed ", 10), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_logs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
