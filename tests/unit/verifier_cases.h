/* SPDX-License-Identifier: MIT */
/*
 * Small programs with the verdict they must get, and the maps they name. Read by test_verifier.c,
 * which compares verdict and log, and by test_verifier_kernel.c, which asks the kernel as well.
 */
#pragma once

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "verifier/verifier.h"

enum {
	DATA,
	HASH,
	PERCPU,
	EVENTS,
	FIXED,
	SINK,
	PERCPU_HASH,
	TABLE,
	STACKS,
	RECORDS,
	QUEUE,
	FILTER,
	CONSTANTS,
	TAILS,
	OUTER,
	OUTER_HASH,
	OUTER_FIXED,
	OUTER_PERCPU,
	CASE_MAPS
};

static const unsigned char case_constants[16] = {5, 0, 0, 0, 0xff, 70};

static const struct verifier_map case_maps[CASE_MAPS] = {
	[CONSTANTS] = {BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_RDONLY_PROG, case_constants},
	[DATA] = {BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0},
	[HASH] = {BPF_MAP_TYPE_HASH, 8, 48, 16, 0},
	[PERCPU] = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 4, 0},
	[EVENTS] = {BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0},
	[FIXED] = {BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_RDONLY_PROG},
	[SINK] = {BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_WRONLY_PROG},
	[PERCPU_HASH] = {BPF_MAP_TYPE_PERCPU_HASH, 16, 8, 16, 0},
	[TABLE] = {BPF_MAP_TYPE_ARRAY, 4, 24, 8, 0},
	[STACKS] = {BPF_MAP_TYPE_STACK_TRACE, 4, 80, 16, 0},
	[RECORDS] = {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
	[QUEUE] = {BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0},
	[OUTER] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 4, 0,
		   .inner = {BPF_MAP_TYPE_HASH, 8, 48, 16, 0}},
	[OUTER_HASH] = {BPF_MAP_TYPE_HASH_OF_MAPS, 16, 4, 8, 0,
			.inner = {BPF_MAP_TYPE_ARRAY, 4, 24, 8, BPF_F_INNER_MAP}},
	[OUTER_FIXED] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0,
			 .inner = {BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_RDONLY_PROG}},
	[OUTER_PERCPU] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0,
			  .inner = {BPF_MAP_TYPE_PERCPU_HASH, 4, 16, 8, 0}},
	[TAILS] = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0},
	[FILTER] = {BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 4, 0},
};

#define CASE_INSNS 48

/**
 * struct verifier_case
 * @insns: up to the last that is not all zero
 * @no_gpl: loaded under a license that is not compatible
 * @error: verdict; @log: fragment of the log, NULL for any
 */
struct verifier_case {
	const char *name;
	struct bpf_insn insns[CASE_INSNS];
	bool no_gpl;
	int error;
	const char *log;
};

static inline uint32_t case_cnt(const struct verifier_case *test)
{
	static const struct bpf_insn none;
	uint32_t cnt = CASE_INSNS;

	while (cnt && memcmp(&test->insns[cnt - 1], &none, sizeof(none)) == 0)
		cnt--;
	return cnt;
}

#define PROG(...)	 .insns = {__VA_ARGS__}
#define LD_MAP(reg, map) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, (uint32_t)(map))
#define LD_VALUE(reg, map, at)                                                                     \
	INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_VALUE, (uint64_t)(at) << 32 | (map))
#define RET0			  INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define ATOMIC(size, op, d, s, o) INSN_RAW(BPF_STX | BPF_ATOMIC | (size), d, s, o, op)
#define MEMSX			  0x80

/* r0 = lookup(map, 8 zero bytes at r10 - 8) */
#define LOOKUP(map)                                                                                \
	INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),         \
		LD_MAP(1, map), INSN_CALL(BPF_FUNC_map_lookup_elem)
#define IF_NULL(reg, off) INSN_JMP_IMM(BPF_JEQ, reg, 0, off)
/* r0 = helper(r10 + off, size, r3 = 0) */
#define READ_TO(helper, off, size)                                                                 \
	INSN_MOV64_REG(1, 10), INSN_ALU64_IMM(BPF_ADD, 1, off), INSN_MOV64_IMM(2, size),           \
		INSN_MOV64_IMM(3, 0), INSN_CALL(helper)

#define FIND_INNER                                                                                 \
	INSN_ST(BPF_W, 10, -4, 1), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -4),          \
		LD_MAP(1, OUTER), INSN_CALL(BPF_FUNC_map_lookup_elem)

static const struct verifier_case verifier_cases[] = {
	{"return 0", PROG(RET0), .error = 0, .log = "processed 2 insns"},
	{"r0 never written", PROG(INSN_EXIT()), .error = -EACCES, .log = "R0 !read_ok"},
	{"register never written", PROG(INSN_MOV64_REG(0, 3), INSN_EXIT()), .error = -EACCES,
	 .log = "R3 !read_ok"},
	{"arithmetic on a register never written", PROG(INSN_ALU64_IMM(BPF_ADD, 0, 1), INSN_EXIT()),
	 .error = -EACCES, .log = "R0 !read_ok"},
	{"r1 to r5 are gone after a call",
	 PROG(INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_LDX(BPF_DW, 0, 1, 0), INSN_EXIT()),
	 .error = -EACCES, .log = "R1 !read_ok"},
	{"r6 survives a call",
	 PROG(INSN_MOV64_REG(6, 1), INSN_CALL(BPF_FUNC_ktime_get_ns), INSN_LDX(BPF_DW, 0, 6, 0),
	      INSN_EXIT()),
	 .error = 0},
	{"register written on one way only",
	 PROG(INSN_LDX(BPF_DW, 2, 1, 0), INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 2, 5, 1),
	      INSN_MOV64_IMM(3, 1), INSN_MOV64_REG(0, 3), INSN_EXIT()),
	 .error = -EACCES, .log = "R3 !read_ok"},
	{"frame pointer is written", PROG(INSN_MOV64_IMM(10, 0), RET0), .error = -EACCES,
	 .log = "frame pointer is read only"},
	{"frame pointer is loaded", PROG(INSN_LDX(BPF_DW, 10, 1, 0), RET0), .error = -EACCES,
	 .log = "frame pointer is read only"},

	/* shape */
	{"falls off the end", PROG(INSN_MOV64_IMM(0, 0)), .error = -EINVAL},
	{"jumps out", PROG(INSN_JA(5), RET0), .error = -EINVAL, .log = "jump out of range"},
	{"jumps out backwards", PROG(INSN_JA(-5), RET0), .error = -EINVAL,
	 .log = "jump out of range"},
	{"unreachable", PROG(INSN_JA(1), INSN_MOV64_IMM(0, 0), RET0), .error = -EINVAL,
	 .log = "unreachable insn 1"},
	{"into the middle of ld_imm64",
	 PROG(INSN_LDX(BPF_DW, 2, 1, 0), INSN_JMP_IMM(BPF_JEQ, 2, 0, 1),
	      INSN_LD_IMM64(3, 0x123456789abcull), RET0),
	 .error = -EINVAL, .log = "ldimm64 insn"},
	{"half an ld_imm64", PROG(INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "invalid bpf_ld_imm64 insn"},
	{"ld_imm64 with an offset",
	 PROG(INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 1, 0), INSN_RAW(0, 0, 0, 0, 0),
	      INSN_EXIT()),
	 .error = -EINVAL, .log = "reserved fields"},
	{"endless loop", PROG(INSN_MOV64_IMM(0, 0), INSN_JA(-2)), .error = -EINVAL,
	 .log = "infinite loop detected at insn 0"},
	{"loop",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_ALU64_IMM(BPF_ADD, 0, 1), INSN_JMP_IMM(BPF_JLT, 0, 10, -2),
	      INSN_EXIT()),
	 .error = 0},
	{"backwards without a loop",
	 PROG(INSN_JA(2), INSN_MOV64_IMM(0, 0), INSN_EXIT(), INSN_JA(-3)), .error = 0},
	{"gotol", PROG(INSN_GOTOL(0), RET0), .error = 0},
	{"unknown opcode where nothing leads",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1),
	      INSN_RAW(BPF_ALU64 | 0xe0, 0, 0, 0, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "unknown opcode e7"},
	{"load with a number where nothing leads",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1),
	      INSN_RAW(BPF_LDX | BPF_MEM | BPF_DW, 0, 10, -8, 1), INSN_EXIT()),
	 .error = -EINVAL, .log = "BPF_LDX uses reserved fields"},
	{"call in the 32-bit class",
	 PROG(INSN_RAW(BPF_JMP32 | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns), RET0),
	 .error = -EINVAL, .log = "unknown opcode 86"},
	{"poisoned call where nothing leads",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1), INSN_CALL(195896080),
	      INSN_EXIT()),
	 .error = 0},
	{"poisoned call", PROG(INSN_CALL(195896080), RET0), .error = -EINVAL,
	 .log = "invalid func unknown#195896080"},

	/* reserved fields */
	{"mov with a source", PROG(INSN_RAW(BPF_ALU64 | BPF_MOV | BPF_K, 0, 1, 0, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "BPF_MOV uses reserved fields"},
	{"mov of a register with a number",
	 PROG(INSN_RAW(BPF_ALU64 | BPF_MOV | BPF_X, 0, 1, 0, 7), INSN_EXIT()), .error = -EINVAL,
	 .log = "BPF_MOV uses reserved fields"},
	{"add with an offset",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_RAW(BPF_ALU64 | BPF_ADD | BPF_K, 0, 0, 1, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "uses reserved fields"},
	{"exit with a number", PROG(INSN_MOV64_IMM(0, 0), INSN_RAW(BPF_JMP | BPF_EXIT, 0, 0, 0, 1)),
	 .error = -EINVAL, .log = "BPF_EXIT uses reserved fields"},
	{"ja with a register", PROG(INSN_RAW(BPF_JMP | BPF_JA, 1, 0, 0, 0), RET0), .error = -EINVAL,
	 .log = "BPF_JA uses reserved fields"},
	{"jump with both operands",
	 PROG(INSN_MOV64_IMM(0, 0), INSN_RAW(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "uses reserved fields"},
	{"call with an offset",
	 PROG(INSN_RAW(BPF_JMP | BPF_CALL, 0, 0, 1, BPF_FUNC_ktime_get_ns), RET0), .error = -EINVAL,
	 .log = "BPF_CALL uses reserved fields"},
	{"division by the number 0",
	 PROG(INSN_MOV64_IMM(0, 1), INSN_ALU64_IMM(BPF_DIV, 0, 0), INSN_EXIT()), .error = -EINVAL,
	 .log = "div by zero"},
	{"shift by 64", PROG(INSN_MOV64_IMM(0, 1), INSN_ALU64_IMM(BPF_LSH, 0, 64), INSN_EXIT()),
	 .error = -EINVAL, .log = "invalid shift 64"},
	{"32-bit shift by 32",
	 PROG(INSN_MOV64_IMM(0, 1), INSN_ALU32_IMM(BPF_RSH, 0, 32), INSN_EXIT()), .error = -EINVAL,
	 .log = "invalid shift 32"},
	{"swap of 48 bits",
	 PROG(INSN_MOV64_IMM(0, 1), INSN_RAW(BPF_ALU | BPF_END | BPF_TO_BE, 0, 0, 0, 48),
	      INSN_EXIT()),
	 .error = -EINVAL, .log = "BPF_END uses reserved fields"},
	{"unconditional swap",
	 PROG(INSN_MOV64_IMM(0, 1), INSN_RAW(BPF_ALU64 | BPF_END, 0, 0, 0, 32), INSN_EXIT()),
	 .error = 0},
	{"unconditional swap to big-endian",
	 PROG(INSN_MOV64_IMM(0, 1), INSN_RAW(BPF_ALU64 | BPF_END | BPF_TO_BE, 0, 0, 0, 32),
	      INSN_EXIT()),
	 .error = -EINVAL},

	/* context */
	{"reads the context", PROG(INSN_LDX(BPF_DW, 0, 1, 160), INSN_EXIT()), .error = 0},
	{"behind the context", PROG(INSN_LDX(BPF_DW, 0, 1, 168), INSN_EXIT()), .error = -EACCES,
	 .log = "invalid bpf_context access off=168 size=8"},
	{"before the context", PROG(INSN_LDX(BPF_DW, 0, 1, -8), INSN_EXIT()), .error = -EACCES,
	 .log = "invalid bpf_context access off=-8 size=8"},
	{"across fields of the context", PROG(INSN_LDX(BPF_DW, 0, 1, 4), INSN_EXIT()),
	 .error = -EACCES, .log = "invalid bpf_context access"},
	{"writes the context", PROG(INSN_ST(BPF_DW, 1, 0, 0), RET0), .error = -EACCES,
	 .log = "invalid bpf_context access off=0 size=8"},
	{"adds to the context",
	 PROG(INSN_ALU64_IMM(BPF_ADD, 1, 8), INSN_LDX(BPF_DW, 0, 1, 0), INSN_EXIT()),
	 .error = -EACCES, .log = "dereference of modified ctx ptr"},
	{"passes a moved context",
	 PROG(INSN_ALU64_IMM(BPF_ADD, 1, 8), INSN_CALL(BPF_FUNC_get_attach_cookie), INSN_EXIT()),
	 .error = -EACCES},

	{"sign-extended load from the context",
	 PROG(INSN_RAW(BPF_LDX | BPF_W | MEMSX, 0, 1, 0, 0), INSN_EXIT()), .error = -EACCES},
	{"context or value by one instruction",
	 PROG(INSN_LDX(BPF_DW, 2, 1, 0), INSN_MOV64_IMM(0, 0), INSN_JMP_IMM(BPF_JEQ, 2, 1, 2),
	      LD_VALUE(1, DATA, 0), INSN_LDX(BPF_DW, 0, 1, 0), INSN_EXIT()),
	 .error = -EINVAL, .log = "same insn cannot be used with different pointers"},

	/* stack */
	{"stack", PROG(INSN_ST(BPF_DW, 10, -512, 1), INSN_LDX(BPF_DW, 0, 10, -512), INSN_EXIT()),
	 .error = 0},
	{"below the stack", PROG(INSN_ST(BPF_DW, 10, -520, 1), RET0), .error = -EACCES,
	 .log = "invalid write to stack R10 off=-520 size=8"},
	{"above the stack", PROG(INSN_ST(BPF_DW, 10, 0, 1), RET0), .error = -EACCES,
	 .log = "invalid write to stack R10 off=0 size=8"},
	{"over the top of the stack", PROG(INSN_ST(BPF_DW, 10, -4, 1), RET0), .error = -EACCES},
	{"stack never written", PROG(INSN_LDX(BPF_DW, 0, 10, -8), INSN_EXIT()), .error = 0},
	{"stack half written",
	 PROG(INSN_ST(BPF_W, 10, -8, 1), INSN_LDX(BPF_DW, 0, 10, -8), INSN_EXIT()), .error = 0},
	{"stack written in pieces",
	 PROG(INSN_ST(BPF_W, 10, -8, 1), INSN_ST(BPF_H, 10, -4, 1), INSN_ST(BPF_H, 10, -2, 1),
	      INSN_LDX(BPF_DW, 0, 10, -8), INSN_EXIT()),
	 .error = 0},
	{"misaligned on the stack", PROG(INSN_ST(BPF_DW, 10, -12, 1), RET0), .error = -EACCES,
	 .log = "misaligned stack access"},
	{"spilled pointer comes back",
	 PROG(INSN_STX(BPF_DW, 10, 1, -8), INSN_LDX(BPF_DW, 2, 10, -8), INSN_LDX(BPF_DW, 0, 2, 0),
	      INSN_EXIT()),
	 .error = 0},
	{"spilled pointer that was written over",
	 PROG(INSN_STX(BPF_DW, 10, 1, -8), INSN_ST(BPF_B, 10, -1, 0), INSN_LDX(BPF_DW, 2, 10, -8),
	      INSN_LDX(BPF_DW, 0, 2, 0), INSN_EXIT()),
	 .error = -EACCES, .log = "R2 invalid mem access 'scalar'"},
	{"half a spilled pointer",
	 PROG(INSN_STX(BPF_DW, 10, 1, -8), INSN_LDX(BPF_W, 2, 10, -8), INSN_LDX(BPF_DW, 0, 2, 0),
	      INSN_EXIT()),
	 .error = -EACCES, .log = "invalid size of register fill"},
	{"spilled pointer that a helper wrote over",
	 PROG(INSN_STX(BPF_DW, 10, 1, -16), READ_TO(BPF_FUNC_get_current_comm, -16, 16),
	      INSN_LDX(BPF_DW, 2, 10, -16), INSN_LDX(BPF_DW, 0, 2, 0), INSN_EXIT()),
	 .error = -EACCES, .log = "R2 invalid mem access 'scalar'"},
	{"spilled pointer that an atomic wrote over",
	 PROG(INSN_STX(BPF_DW, 10, 1, -8), INSN_MOV64_IMM(3, 8), ATOMIC(BPF_DW, BPF_ADD, 10, 3, -8),
	      INSN_LDX(BPF_DW, 2, 10, -8), INSN_LDX(BPF_DW, 0, 2, 0), INSN_EXIT()),
	 .error = -EACCES},
	{"bounds survive a spill",
	 PROG(INSN_LDX(BPF_DW, 6, 1, 0), INSN_ALU64_IMM(BPF_AND, 6, 31),
	      INSN_STX(BPF_DW, 10, 6, -16), LD_VALUE(2, DATA, 0), INSN_LDX(BPF_DW, 3, 10, -16),
	      INSN_ALU64_REG(BPF_ADD, 2, 3), INSN_LDX(BPF_DW, 0, 2, 0), INSN_EXIT()),
	 .error = 0},
	{"tail call",
	 PROG(LD_MAP(2, TAILS), INSN_LDX(BPF_DW, 3, 1, 0), INSN_CALL(BPF_FUNC_tail_call), RET0),
	 .error = 0},
	{"r0 after a tail call",
	 PROG(LD_MAP(2, TAILS), INSN_MOV64_IMM(3, 1), INSN_CALL(BPF_FUNC_tail_call), INSN_EXIT()),
	 .error = -EACCES, .log = "R0 !read_ok"},
	{"tail call through another kind of map",
	 PROG(LD_MAP(2, DATA), INSN_MOV64_IMM(3, 1), INSN_CALL(BPF_FUNC_tail_call), RET0),
	 .error = -EINVAL, .log = "expected prog array map for tail call"},
	{"lookup in a program array",
	 PROG(INSN_ST(BPF_W, 10, -4, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -4),
	      LD_MAP(1, TAILS), INSN_CALL(BPF_FUNC_map_lookup_elem), RET0),
	 .error = -EINVAL, .log = "cannot pass map_type 3 into func bpf_map_lookup_elem#1"},
	{"tail call with a record in hand",
	 PROG(INSN_MOV64_REG(6, 1), LD_MAP(1, RECORDS), INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(3, 0),
	      INSN_CALL(BPF_FUNC_ringbuf_reserve), INSN_JMP_IMM(BPF_JEQ, 0, 0, 8),
	      INSN_MOV64_REG(7, 0), INSN_MOV64_REG(1, 6), LD_MAP(2, TAILS), INSN_MOV64_IMM(3, 1),
	      INSN_CALL(BPF_FUNC_tail_call), INSN_MOV64_REG(1, 7), INSN_MOV64_IMM(2, 0),
	      INSN_CALL(BPF_FUNC_ringbuf_submit), RET0),
	 .error = -EINVAL, .log = "tail_call would lead to reference leak"},
	{"map in a map, unchecked",
	 PROG(FIND_INNER, INSN_MOV64_REG(1, 0), INSN_ST(BPF_DW, 10, -16, 1), INSN_MOV64_REG(2, 10),
	      INSN_ALU64_IMM(BPF_ADD, 2, -16), INSN_CALL(BPF_FUNC_map_lookup_elem), RET0),
	 .error = -EACCES, .log = "R1 type=map_value_or_null expected="},
	{"map in a map",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 7), INSN_MOV64_REG(1, 0),
	      INSN_ST(BPF_DW, 10, -16, 1), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -16),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1),
	      INSN_LDX(BPF_DW, 0, 0, 40), RET0),
	 .error = 0},
	{"map in a map: behind its values",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 7), INSN_MOV64_REG(1, 0),
	      INSN_ST(BPF_DW, 10, -16, 1), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -16),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1),
	      INSN_LDX(BPF_DW, 0, 0, 41), RET0),
	 .error = -EACCES, .log = "invalid access to map value, value_size=48 off=41 size=8"},
	{"map in a map: its key is longer than the outer one's",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 5), INSN_MOV64_REG(1, 0),
	      INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -4),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_MOV64_IMM(0, 0), RET0),
	 .error = -EINVAL},
	{"map in a map: read as a value",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 1), INSN_STX(BPF_DW, 0, 0, 0), RET0),
	 .error = -EACCES},
	{"map of maps: not to be changed",
	 PROG(INSN_ST(BPF_W, 10, -4, 1), INSN_ST(BPF_W, 10, -8, 1), INSN_MOV64_REG(2, 10),
	      INSN_ALU64_IMM(BPF_ADD, 2, -4), INSN_MOV64_REG(3, 10), INSN_ALU64_IMM(BPF_ADD, 3, -8),
	      LD_MAP(1, OUTER), INSN_MOV64_IMM(4, 0), INSN_CALL(BPF_FUNC_map_update_elem), RET0),
	 .error = -EINVAL, .log = "cannot pass map_type 12 into func bpf_map_update_elem#2"},
	{"map in a map after another lookup of it",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 15), INSN_MOV64_REG(6, 0), FIND_INNER,
	      INSN_JMP_IMM(BPF_JEQ, 0, 0, 7), INSN_MOV64_REG(1, 6), INSN_ST(BPF_DW, 10, -16, 1),
	      INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -16),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_JMP_IMM(BPF_JEQ, 0, 0, 1),
	      INSN_ST(BPF_DW, 0, 0, 1), RET0),
	 .error = 0},
	{"element of an array by a number that is known", /* Linux 6.18; 6.12 asks for the check */
	 PROG(INSN_ST(BPF_W, 10, -8, 7), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),
	      LD_MAP(1, TABLE), INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 16),
	      INSN_EXIT()),
	 .error = 0},
	{"element behind the last, by a number that is known",
	 PROG(INSN_ST(BPF_W, 10, -8, 8), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),
	      LD_MAP(1, TABLE), INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 16),
	      INSN_EXIT()),
	 .error = -EACCES, .log = "invalid mem access 'map_value_or_null'"},
	{"element 0",
	 PROG(INSN_ST(BPF_H, 10, -4, 0), INSN_ST(BPF_H, 10, -2, 0), INSN_MOV64_REG(2, 10),
	      INSN_ALU64_IMM(BPF_ADD, 2, -4), LD_MAP(1, PERCPU),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 0), INSN_EXIT()),
	 .error = 0},
	{"element by a number on one path, by another on the other",
	 PROG(INSN_LDX(BPF_DW, 6, 1, 0), INSN_ST(BPF_W, 10, -8, 0), INSN_JMP_IMM(BPF_JEQ, 6, 0, 1),
	      INSN_ST(BPF_W, 10, -8, 8), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),
	      LD_MAP(1, TABLE), INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 16),
	      INSN_EXIT()),
	 .error = -EACCES},
	{"element of a hash by a number that is known",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),
	      LD_MAP(1, HASH), INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 16),
	      INSN_EXIT()),
	 .error = -EACCES},
	{"element of an array in a map of maps by a number that is known",
	 PROG(FIND_INNER, INSN_JMP_IMM(BPF_JEQ, 0, 0, 6), INSN_MOV64_REG(1, 0),
	      INSN_ST(BPF_DW, 10, -16, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -16),
	      INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_LDX(BPF_DW, 0, 0, 0), RET0),
	 .error = -EACCES},
};
