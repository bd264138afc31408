/* SPDX-License-Identifier: MIT */
/*
 * What BTF says of functions and lines: records that are wrong, and global functions, which are
 * verified by themselves. Verdicts and words against the kernel's. Needs root (and fails without).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/btf_build.h"
#include "verifier/verifier.h"

#define INSNS_MAX 32
#define FUNCS_MAX 4
#define LINES_MAX 4

/* Types of all programs here, in the order in which they are made. */
enum {
	T_INT = 1,
	T_BOX,	 /* struct box { int a, b; } */
	T_P_BOX, /* struct box * */
	T_REGS,	 /* struct pt_regs */
	T_P_REGS,
	T_USER_REGS, /* typedef struct pt_regs bpf_user_pt_regs_t */
	T_P_USER_REGS,
	T_P_VOID,
	T_FWD,
	T_P_FWD,
	T_DYNPTR, /* struct bpf_dynptr */
	T_P_DYNPTR,
	T_XDP, /* struct xdp_md */
	T_P_XDP,
	T_CONST, /* const struct box */
	T_P_CONST,
	T_ROW, /* int[3] */
	T_P_ROW,
	T_OTHER, /* struct other */
	T_P_OTHER,
	P_MAIN,	     /* int (void) */
	P_NUMBER,    /* int (int) */
	P_BOX,	     /* int (struct box *) */
	P_REGS,	     /* int (struct pt_regs *) */
	P_USER_REGS, /* int (bpf_user_pt_regs_t *) */
	P_NOTHING,   /* void (int) */
	P_SIX,	     /* int (int, int, int, int, int, int) */
	P_STRUCT,    /* int (struct box) */
	P_VOID,	     /* int (void *) */
	P_FWD,	     /* int (struct fwd *) */
	P_DYNPTR,    /* int (struct bpf_dynptr *) */
	P_XDP,	     /* int (struct xdp_md *) */
	P_CONST,     /* int (const struct box *) */
	P_ROW,	     /* int (int (*)[3]) */
	P_OTHER,     /* int (struct other *) */
	F_MAIN,
	F_NUMBER,
	F_BOX,
	F_REGS,
	F_USER_REGS,
	F_NOTHING,
	F_SIX,
	F_STRUCT,
	F_VOID,
	F_FWD,
	F_DYNPTR,
	F_XDP,
	F_CONST,
	F_ROW,
	F_OTHER,
	F_STATIC,	  /* static int (int) */
	F_STATIC_NOTHING, /* static void (int) */
	F_CONTEXT,	  /* int (void *), tagged as context */
	F_NONNULL,	  /* int (struct box *), tagged as not null */
	F_ODD,		  /* int (struct box *), with a tag that nobody knows */
	F_ODD_NUMBER,	  /* int (int), tagged as not null */
	F_CONTEXT_BOX,	  /* int (struct box *), tagged as context */
	T_TAGS,
};

static struct btf_build build;
static uint32_t btf_len;

static uint32_t pointer(uint32_t to)
{
	return btf_type(&build, NULL, BTF_KIND_PTR, 0, to);
}

static void proto(uint32_t ret, uint32_t cnt, uint32_t type)
{
	const struct btf_param param = {.name_off = 1, .type = type};

	btf_type(&build, NULL, BTF_KIND_FUNC_PROTO, cnt, ret);
	for (uint32_t i = 0; i < cnt; i++)
		btf_put(&build, &param, sizeof(param));
}

static void function(const char *name, uint32_t type, bool global)
{
	btf_type(&build, name, BTF_KIND_FUNC, global, type);
}

static void tag(const char *name, uint32_t func)
{
	const uint32_t arg = 0;

	btf_type(&build, name, BTF_KIND_DECL_TAG, 0, func);
	btf_put(&build, &arg, sizeof(arg));
}

static void make_structs(void)
{
	btf_int(&build, "int", 4);
	btf_struct(&build, "box", 2, 8);
	btf_member(&build, T_INT, 0);
	btf_member(&build, T_INT, 4);
	pointer(T_BOX);
	btf_struct(&build, "pt_regs", 0, 168);
	pointer(T_REGS);
	btf_type(&build, "bpf_user_pt_regs_t", BTF_KIND_TYPEDEF, 0, T_REGS);
	pointer(T_USER_REGS);
	pointer(0);
	btf_type(&build, "fwd", BTF_KIND_FWD, 0, 0);
	pointer(T_FWD);
	btf_struct(&build, "bpf_dynptr", 0, 16);
	pointer(T_DYNPTR);
	btf_struct(&build, "xdp_md", 0, 24);
	pointer(T_XDP);
	btf_type(&build, NULL, BTF_KIND_CONST, 0, T_BOX);
	pointer(T_CONST);
	btf_array(&build, T_INT, T_INT, 3);
	pointer(T_ROW);
	btf_struct(&build, "other", 0, 4096);
	assert_int_equal(pointer(T_OTHER), T_P_OTHER);
}

static int make_types(void **state)
{
	static const uint32_t takes[] = {T_INT, T_P_BOX, T_P_REGS, T_P_USER_REGS};
	static const char *const names[] = {"main",  "number", "box_of", "regs", "user_regs",
					    "none",  "six",    "whole",	 "any",	 "fwd_of",
					    "slice", "packet", "fixed",	 "row",	 "other_of"};

	(void)state;
	make_structs();
	proto(T_INT, 0, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(takes); i++)
		proto(T_INT, 1, takes[i]);
	proto(0, 1, T_INT);
	proto(T_INT, 6, T_INT);
	proto(T_INT, 1, T_BOX);
	proto(T_INT, 1, T_P_VOID);
	proto(T_INT, 1, T_P_FWD);
	proto(T_INT, 1, T_P_DYNPTR);
	proto(T_INT, 1, T_P_XDP);
	proto(T_INT, 1, T_P_CONST);
	proto(T_INT, 1, T_P_ROW);
	proto(T_INT, 1, T_P_OTHER);
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++)
		function(names[i], P_MAIN + i, true);
	function("inner", P_NUMBER, false);
	function("inner_none", P_NOTHING, false);
	function("context", P_VOID, true);
	function("not_null", P_BOX, true);
	function("odd", P_BOX, true);
	function("odd_number", P_NUMBER, true);
	function("context_box", P_BOX, true);
	tag("arg:ctx", F_CONTEXT);
	tag("arg:nonnull", F_NONNULL);
	tag("arg:whatever", F_ODD);
	tag("arg:nonnull", F_ODD_NUMBER);
	tag("arg:ctx", F_CONTEXT_BOX);
	assert_int_equal(build.cnt, T_TAGS + 4);
	btf_len = btf_finish(&build);
	return 0;
}

/**
 * struct info_case
 * @funcs: until the first without a type; @func_size, @line_size: 0: as they are
 * @lines: at these instructions, less one, until the first 0; @bad_line: the last has names that
 * are none
 * @log: fragment of what both say, NULL for any
 */
struct info_case {
	const char *name;
	struct bpf_insn insns[INSNS_MAX];
	uint32_t type;
	struct bpf_func_info funcs[FUNCS_MAX];
	uint32_t lines[LINES_MAX];
	uint32_t func_size, line_size;
	bool bad_line;
	int error;
	const char *log;
};

enum { MAP_DATA, MAP_HASH, MAP_OUTER, MAP_TAILS, MAPS };
static const struct verifier_map maps[MAPS] = {
	[MAP_DATA] = {BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0},
	[MAP_HASH] = {BPF_MAP_TYPE_HASH, 8, 48, 16, 0},
	[MAP_OUTER] = {BPF_MAP_TYPE_HASH_OF_MAPS, 8, 4, 4, 0,
		       .inner = {BPF_MAP_TYPE_HASH, 8, 48, 16, 0}},
	[MAP_TAILS] = {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0},
};

#define PROG(...)	 .insns = {__VA_ARGS__}
#define FUNCS(...)	 .funcs = {{0, F_MAIN}, __VA_ARGS__}
#define LD_MAP(reg, map) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, (uint32_t)(map))
#define LD_DATA(reg)	 INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_VALUE, MAP_DATA)
#define RET0		 INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define FRAME(reg, off)	 INSN_MOV64_REG(reg, 10), INSN_ALU64_IMM(BPF_ADD, reg, off)
#define LOOKUP(map)                                                                                \
	INSN_ST(BPF_DW, 10, -8, 0), FRAME(2, -8), LD_MAP(1, map),                                  \
		INSN_CALL(BPF_FUNC_map_lookup_elem)
/* 4 instructions */
#define CALL_WITH(first) first, INSN_CALL_REL(2), INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define SYSCALL		 BPF_PROG_TYPE_SYSCALL
#define XDP		 BPF_PROG_TYPE_XDP
#define FILTER		 BPF_PROG_TYPE_SOCKET_FILTER

static const struct info_case cases[] = {
	/* Records of functions. */
	{"records that fit", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({4, F_STATIC})},
	{"the first begins later", PROG(RET0), .funcs = {{1, F_MAIN}}, .error = -EINVAL,
	 .log = "nonzero insn_off 1 for the first func info record"},
	{"the same place twice", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({0, F_STATIC}),
	 .error = -EINVAL,
	 .log = "same or smaller insn offset (0) than previous func info record (0)"},
	{"no function", PROG(RET0), .funcs = {{0, P_MAIN}}, .error = -EINVAL,
	 .log = "invalid type id 21 in func info"},
	{"no type", PROG(RET0), .funcs = {{0, 4711}}, .error = -EINVAL,
	 .log = "invalid type id 4711 in func info"},
	{"one too few", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), .funcs = {{0, F_MAIN}},
	 .error = -EINVAL, .log = "number of funcs in func_info doesn't match number of subprogs"},
	{"elsewhere", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({5, F_STATIC}),
	 .error = -EINVAL,
	 .log = "func_info BTF section doesn't match subprog layout in BPF program"},
	{"longer records", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({4, F_STATIC}),
	 .func_size = 16},
	{"longer records with something in them", PROG(RET0), .funcs = {{0, F_MAIN}},
	 .func_size = 12, .error = -E2BIG, .log = "nonzero tailing record in func info"},
	{"records of an odd size", PROG(RET0), .funcs = {{0, F_MAIN}}, .func_size = 10,
	 .error = -EINVAL, .log = "invalid func info rec size 10"},
	{"records too short", PROG(RET0), .funcs = {{0, F_MAIN}}, .func_size = 4, .error = -EINVAL,
	 .log = "invalid func info rec size 4"},
	{"records too long", PROG(RET0), .funcs = {{0, F_MAIN}}, .func_size = 256, .error = -EINVAL,
	 .log = "invalid func info rec size 256"},

	/* Functions that go on as other programs. */
	{"a tail call in a function of no type",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), LD_MAP(2, MAP_TAILS), INSN_MOV64_IMM(3, 1),
	      INSN_CALL(BPF_FUNC_tail_call), RET0),
	 .error = -EINVAL, .log = "tail_call is not allowed in subprogs without BTF"},
	{"a tail call in a function that returns nothing",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), LD_MAP(2, MAP_TAILS), INSN_MOV64_IMM(3, 1),
	      INSN_CALL(BPF_FUNC_tail_call), RET0),
	 FUNCS({2, F_STATIC_NOTHING}), .error = -EINVAL,
	 .log = "tail_call is only allowed in functions that return 'int'."},
	{"a tail call in a function that returns a number",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), LD_MAP(2, MAP_TAILS), INSN_MOV64_IMM(3, 1),
	      INSN_CALL(BPF_FUNC_tail_call), RET0),
	 FUNCS({2, F_STATIC})},
	{"a packet's byte in a function of no type",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_REG(6, 1),
	      INSN_RAW(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, 0), INSN_EXIT()),
	 .type = FILTER, .error = -EINVAL, .log = "LD_ABS is not allowed in subprogs without BTF"},
	{"a packet's byte in a function that returns nothing",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_REG(6, 1),
	      INSN_RAW(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, 0), INSN_EXIT()),
	 .type = FILTER, FUNCS({2, F_STATIC_NOTHING}), .error = -EINVAL,
	 .log = "LD_ABS is only allowed in functions that return 'int'."},

	{"a packet's byte in a function that returns a number",
	 PROG(INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_REG(6, 1),
	      INSN_RAW(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, 0), INSN_EXIT()),
	 .type = FILTER, FUNCS({2, F_STATIC})},
	{"which is 0 when there is none",
	 PROG(INSN_CALL_REL(7), LD_DATA(2), INSN_MOV64_IMM(3, 7), INSN_ALU64_REG(BPF_SUB, 3, 0),
	      INSN_ALU64_REG(BPF_ADD, 2, 3), INSN_LDX(BPF_DW, 0, 2, 54), INSN_EXIT(),
	      INSN_MOV64_REG(6, 1), INSN_RAW(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, 0),
	      INSN_MOV64_IMM(0, 7), INSN_EXIT()),
	 .type = FILTER, FUNCS({8, F_STATIC}), .error = -EACCES},

	/* Records of lines. */
	{"lines", PROG(LD_DATA(1), RET0), .lines = {1, 3, 4}},
	{"lines of each function", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0),
	 FUNCS({4, F_STATIC}), .lines = {1, 5}},
	{"a line twice", PROG(RET0), .lines = {1, 1}, .error = -EINVAL,
	 .log = "Invalid line_info[1].insn_off:0 (prev_offset:0 prog->len:2)"},
	{"a line behind the end", PROG(RET0), .lines = {1, 3}, .error = -EINVAL,
	 .log = "Invalid line_info[1].insn_off:2 (prev_offset:0 prog->len:2)"},
	{"a line within an instruction", PROG(LD_DATA(1), RET0), .lines = {1, 2}, .error = -EINVAL,
	 .log = "Invalid insn code at line_info[1].insn_off"},
	{"a line of no file", PROG(RET0), .lines = {1, 2}, .bad_line = true, .error = -EINVAL,
	 .log = "Invalid line_info[1].line_off or .file_name_off"},
	{"no line of the first function", PROG(RET0), .lines = {2}, .error = -EINVAL,
	 .log = "missing bpf_line_info for func#0"},
	{"no line of the last function", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0),
	 FUNCS({4, F_STATIC}), .lines = {1}, .error = -EINVAL,
	 .log = "missing bpf_line_info for 1 funcs starting from func#1"},
	{"longer lines with something in them", PROG(RET0), .lines = {1}, .line_size = 20,
	 .error = -E2BIG, .log = "nonzero tailing record in line_info"},
	{"lines of an odd size", PROG(RET0), .lines = {1}, .line_size = 18, .error = -EINVAL},

	/* Global functions. */
	{"a number", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_MOV64_REG(0, 1), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}),
	 .log = "Func#1 ('number') is safe for any args that match its prototype"},
	{"an address for a number", PROG(CALL_WITH(INSN_MOV64_REG(1, 10)), RET0),
	 FUNCS({4, F_NUMBER}), .error = -EINVAL, .log = "R1 is not a scalar"},
	{"nothing for a number", PROG(CALL_WITH(INSN_CALL(BPF_FUNC_ktime_get_ns)), RET0),
	 FUNCS({4, F_NUMBER}), .error = -EINVAL,
	 .log = "Caller passes invalid args into func#1 ('number')"},
	{"a number that is good, used as an offset",
	 PROG(CALL_WITH(INSN_MOV64_IMM(1, 3)), LD_DATA(2), INSN_ALU64_REG(BPF_ADD, 2, 1),
	      INSN_LDX(BPF_B, 0, 2, 0), RET0),
	 FUNCS({4, F_NUMBER}), .error = -EINVAL},
	{"the same in a static one",
	 PROG(CALL_WITH(INSN_MOV64_IMM(1, 3)), LD_DATA(2), INSN_ALU64_REG(BPF_ADD, 2, 1),
	      INSN_LDX(BPF_B, 0, 2, 0), RET0),
	 FUNCS({4, F_STATIC})},
	{"its result used as an offset",
	 PROG(INSN_MOV64_IMM(1, 3), INSN_CALL_REL(6), LD_DATA(2), INSN_ALU64_REG(BPF_ADD, 2, 0),
	      INSN_LDX(BPF_B, 0, 2, 0), RET0, INSN_MOV64_IMM(0, 1), INSN_EXIT()),
	 FUNCS({8, F_NUMBER}), .error = -EINVAL},
	{"more than its arguments",
	 PROG(CALL_WITH(INSN_MOV64_IMM(2, 1)), INSN_MOV64_REG(0, 2), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}), .error = -EINVAL},
	{"a register that is no argument",
	 PROG(INSN_MOV64_IMM(2, 1), CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_MOV64_REG(0, 2),
	      INSN_EXIT()),
	 FUNCS({5, F_NUMBER}), .error = -EACCES, .log = "R2 !read_ok"},
	{"an address returned", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), LD_DATA(0), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}), .error = -EINVAL,
	 .log = "At subprogram exit the register R0 is not a scalar value (map_value)"},
	{"nothing returned", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}), .error = -EACCES, .log = "R0 !read_ok"},
	{"returns nothing by its type", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0),
	 FUNCS({4, F_NOTHING}), .error = -EINVAL,
	 .log = "Global function none() doesn't return scalar. Only those are supported."},
	{"too many arguments", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({4, F_SIX}),
	 .error = -EINVAL, .log = "Global function six() with 6 > 5 args. Buggy compiler."},
	{"a structure as argument", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0),
	 FUNCS({4, F_STRUCT}), .error = -EINVAL,
	 .log = "Arg#0 type STRUCT in whole() is not supported yet."},
	{"an address of anything", PROG(CALL_WITH(INSN_MOV64_REG(1, 10)), RET0), FUNCS({4, F_VOID}),
	 .error = -EINVAL,
	 .log = "arg#0 reference type('UNKNOWN ') size cannot be determined: -22"},
	{"an address of something unknown", PROG(CALL_WITH(INSN_MOV64_REG(1, 10)), RET0),
	 FUNCS({4, F_FWD}), .error = -EINVAL,
	 .log = "arg#0 reference type('FWD fwd') size cannot be determined: -22"},

	/* Memory. */
	{"memory",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), FRAME(1, -8), INSN_CALL_REL(2), RET0,
	      INSN_JMP_IMM(BPF_JEQ, 1, 0, 2), INSN_LDX(BPF_W, 0, 1, 4), INSN_ST(BPF_W, 1, 0, 7),
	      RET0),
	 FUNCS({6, F_BOX})},
	{"memory that may be none",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), FRAME(1, -8), INSN_CALL_REL(2), RET0,
	      INSN_LDX(BPF_W, 0, 1, 4), RET0),
	 FUNCS({6, F_BOX}), .error = -EACCES, .log = "R1 invalid mem access 'mem_or_null'"},
	{"behind the memory",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), FRAME(1, -8), INSN_CALL_REL(2), RET0,
	      INSN_JMP_IMM(BPF_JEQ, 1, 0, 1), INSN_LDX(BPF_W, 0, 1, 8), RET0),
	 FUNCS({6, F_BOX}), .error = -EACCES,
	 .log = "invalid access to memory, mem_size=8 off=8 size=4"},
	{"less memory than it takes",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), FRAME(1, -4), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({6, F_BOX}), .error = -EINVAL,
	 .log = "Caller passes invalid args into func#1 ('box_of')"},
	{"no memory", PROG(CALL_WITH(INSN_MOV64_IMM(1, 0)), RET0), FUNCS({4, F_BOX})},
	{"a number for memory", PROG(CALL_WITH(INSN_MOV64_IMM(1, 8)), RET0), FUNCS({4, F_BOX}),
	 .error = -EINVAL},
	{"context for memory", PROG(INSN_CALL_REL(2), RET0, RET0), FUNCS({3, F_BOX}),
	 .error = -EINVAL},
	{"a value that may be none",
	 PROG(LOOKUP(MAP_HASH), INSN_MOV64_REG(1, 0), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({10, F_BOX})},
	{"a map that may be none",
	 PROG(LOOKUP(MAP_OUTER), INSN_MOV64_REG(1, 0), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({10, F_BOX}), .error = -EINVAL},
	{"memory that is only read, by its type",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), FRAME(1, -8), INSN_CALL_REL(2), RET0,
	      INSN_JMP_IMM(BPF_JEQ, 1, 0, 1), INSN_ST(BPF_W, 1, 0, 7), RET0),
	 FUNCS({6, F_CONST})},
	{"a row",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), INSN_ST(BPF_DW, 10, -16, 0), FRAME(1, -12),
	      INSN_CALL_REL(2), RET0, INSN_JMP_IMM(BPF_JEQ, 1, 0, 1), INSN_LDX(BPF_W, 0, 1, 8),
	      RET0),
	 FUNCS({7, F_ROW})},
	{"more than there is", PROG(LD_DATA(1), INSN_CALL_REL(2), RET0, RET0), FUNCS({5, F_OTHER}),
	 .error = -EINVAL},
	{"what it may have written",
	 PROG(INSN_ST(BPF_DW, 10, -8, 3), FRAME(1, -8), INSN_CALL_REL(8), LD_DATA(2),
	      INSN_LDX(BPF_DW, 3, 10, -8), INSN_ALU64_REG(BPF_ADD, 2, 3), INSN_LDX(BPF_B, 0, 2, 0),
	      INSN_MOV64_IMM(0, 0), INSN_JA(0), INSN_EXIT(), RET0),
	 FUNCS({12, F_BOX}), .error = -EINVAL},
	{"memory that is there",
	 PROG(LD_DATA(1), INSN_CALL_REL(2), RET0, INSN_LDX(BPF_W, 0, 1, 4), RET0),
	 FUNCS({5, F_NONNULL})},
	{"none where it has to be",
	 PROG(LOOKUP(MAP_HASH), INSN_MOV64_REG(1, 0), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({10, F_NONNULL}), .error = -EINVAL, .log = "arg#0 is expected to be non-NULL"},
	{"a tag of a number", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), RET0), FUNCS({4, F_ODD_NUMBER}),
	 .error = -EINVAL, .log = "arg#0 has pointer tag, but is not a pointer type"},
	{"a tag that nobody knows", PROG(LD_DATA(1), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({5, F_ODD}), .error = -EOPNOTSUPP},

	/* Context. */
	{"context", PROG(INSN_CALL_REL(2), RET0, INSN_LDX(BPF_DW, 0, 1, 112), RET0),
	 FUNCS({3, F_REGS})},
	{"context by its typedef", PROG(INSN_CALL_REL(2), RET0, INSN_LDX(BPF_DW, 0, 1, 112), RET0),
	 FUNCS({3, F_USER_REGS})},
	{"context by its tag", PROG(INSN_CALL_REL(2), RET0, INSN_LDX(BPF_DW, 0, 1, 112), RET0),
	 FUNCS({3, F_CONTEXT})},
	{"context by its tag, of another type", PROG(INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({3, F_CONTEXT_BOX}), .error = -EINVAL},
	{"behind the context", PROG(INSN_CALL_REL(2), RET0, INSN_LDX(BPF_DW, 0, 1, 168), RET0),
	 FUNCS({3, F_REGS}), .error = -EACCES},
	{"memory for context", PROG(LD_DATA(1), INSN_CALL_REL(2), RET0, RET0), FUNCS({5, F_REGS}),
	 .error = -EINVAL, .log = "arg#0 expects pointer to ctx"},
	{"a part of the context", PROG(INSN_ALU64_IMM(BPF_ADD, 1, 8), INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({4, F_REGS}), .error = -EACCES,
	 .log = "dereference of modified ctx ptr R1 off=8 disallowed"},
	{"context of other programs is memory", PROG(INSN_CALL_REL(2), RET0, RET0), .type = XDP,
	 FUNCS({3, F_REGS}), .error = -EINVAL},

	{"context that is memory", PROG(INSN_CALL_REL(2), RET0, RET0), .type = SYSCALL,
	 FUNCS({3, F_OTHER})},
	{"a part of context that is memory",
	 PROG(INSN_ALU64_IMM(BPF_ADD, 1, 8), INSN_CALL_REL(2), RET0, RET0), .type = SYSCALL,
	 FUNCS({4, F_BOX}), .error = -EACCES},

	/* Who calls whom. */
	{"never called", /* r0 is 1 */
	 PROG(INSN_MOV64_IMM(0, 1), INSN_JMP_IMM(BPF_JEQ, 0, 1, 2), INSN_MOV64_IMM(1, 1),
	      INSN_CALL_REL(2), RET0, LD_DATA(0), INSN_EXIT()),
	 FUNCS({6, F_NUMBER})},
	{"one that calls another",
	 PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_REG(0, 1),
	      INSN_EXIT()),
	 FUNCS({4, F_NUMBER}, {6, F_NUMBER})},
	{"one that calls a bad one",
	 PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_CALL_REL(1), INSN_EXIT(), INSN_MOV64_REG(0, 2),
	      INSN_EXIT()),
	 FUNCS({4, F_NUMBER}, {6, F_NUMBER}), .error = -EACCES},
	{"one that calls a static one, which is walked with what it is given",
	 PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_MOV64_IMM(1, 3), INSN_CALL_REL(1), INSN_EXIT(),
	      LD_DATA(2), INSN_ALU64_REG(BPF_ADD, 2, 1), INSN_LDX(BPF_B, 0, 2, 0), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}, {7, F_STATIC})},
	{"itself", PROG(CALL_WITH(INSN_MOV64_IMM(1, 1)), INSN_CALL_REL(-1), INSN_EXIT()),
	 FUNCS({4, F_NUMBER}), .error = -E2BIG},
	{"stack of all of them together",
	 PROG(INSN_ST(BPF_DW, 10, -256, 0), CALL_WITH(INSN_MOV64_IMM(1, 1)),
	      INSN_ST(BPF_DW, 10, -264, 0), RET0),
	 .type = XDP, FUNCS({5, F_NUMBER}), .error = -EACCES,
	 .log = "combined stack size of 2 calls is"},
	{"dynptrs",
	 PROG(LD_DATA(1), INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(3, 0), FRAME(4, -16),
	      INSN_CALL(BPF_FUNC_dynptr_from_mem), FRAME(1, -16), INSN_CALL_REL(2), RET0,
	      INSN_MOV64_REG(3, 1), FRAME(1, -8), INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(4, 0),
	      INSN_MOV64_IMM(5, 0), INSN_CALL(BPF_FUNC_dynptr_read), RET0),
	 FUNCS({12, F_DYNPTR})},
	{"something else for a dynptr",
	 PROG(INSN_ST(BPF_DW, 10, -8, 0), INSN_ST(BPF_DW, 10, -16, 0), FRAME(1, -16),
	      INSN_CALL_REL(2), RET0, RET0),
	 FUNCS({7, F_DYNPTR}), .error = -EINVAL},

/* Packets. r7 to r8 is the packet, or what was. */
#define PACKET                                                                                     \
	INSN_MOV64_REG(6, 1), INSN_LDX(BPF_W, 7, 1, 0), INSN_LDX(BPF_W, 8, 1, 4),                  \
		INSN_MOV64_REG(2, 7), INSN_ALU64_IMM(BPF_ADD, 2, 4),                               \
		INSN_JMP_REG(BPF_JGT, 2, 8, 3), INSN_MOV64_REG(1, 6), INSN_CALL_REL(3),            \
		INSN_LDX(BPF_W, 0, 7, 0), RET0
	{"a packet that stays where it is", PROG(PACKET, RET0), .type = XDP, FUNCS({11, F_XDP})},
	{"a packet that is moved",
	 PROG(PACKET, INSN_MOV64_IMM(2, 8), INSN_CALL(BPF_FUNC_xdp_adjust_head), RET0), .type = XDP,
	 FUNCS({11, F_XDP}), .error = -EACCES},
};

static int map_fds[MAPS], btf_fd;
static char own_log[1 << 16], kernel_log[1 << 16];

static int make_map(const struct verifier_map *map)
{
	union bpf_attr attr = {.map_type = map->type,
			       .key_size = map->key_size,
			       .value_size = map->value_size,
			       .max_entries = map->max_entries,
			       .map_flags = map->flags};
	cleanup_fd int inner = -1;

	if (map->inner.type) {
		const struct verifier_map shape = {map->inner.type, map->inner.key_size,
						   map->inner.value_size, map->inner.max_entries,
						   map->inner.flags};

		inner = make_map(&shape);
		attr.inner_map_fd = (uint32_t)inner;
	}
	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/* Records of @size bytes each, 0: as they are; what is too much of the last is not 0 for odd counts
 * of words. */
static uint32_t stretch(const void *records, uint32_t cnt, uint32_t known, uint32_t size,
			unsigned char *out)
{
	size = size ? size : known;
	for (uint32_t i = 0; i < cnt; i++) {
		memset(out + i * size, 0, size);
		memcpy(out + i * size, (const char *)records + i * known,
		       size < known ? size : known);
		if (size == known + 4)
			out[i * size + known] = 1;
	}
	return size;
}

struct question {
	struct verifier_prog prog;
	unsigned char funcs[FUNCS_MAX * 256], lines[LINES_MAX * 256];
};

static void ask_about(const struct info_case *test, struct question *q)
{
	struct bpf_line_info lines[LINES_MAX] = {0};
	uint32_t cnt = INSNS_MAX, func_cnt = 0, line_cnt = 0;
	static const struct bpf_insn none;

	while (memcmp(&test->insns[cnt - 1], &none, sizeof(none)) == 0)
		cnt--;
	while (func_cnt < FUNCS_MAX && test->funcs[func_cnt].type_id)
		func_cnt++;
	for (; line_cnt < LINES_MAX && test->lines[line_cnt]; line_cnt++)
		lines[line_cnt] = (struct bpf_line_info){
			.insn_off = test->lines[line_cnt] - 1, .file_name_off = 1, .line_off = 1};
	if (test->bad_line)
		lines[line_cnt - 1].file_name_off = 1 << 20;
	q->prog = (struct verifier_prog){.insns = test->insns,
					 .cnt = cnt,
					 .type = test->type ? test->type : BPF_PROG_TYPE_KPROBE,
					 .gpl = true,
					 .sleepable = test->type == SYSCALL,
					 .maps = maps,
					 .map_cnt =
						 test->type == SYSCALL ? 0 : MAPS, /* prog arrays */
					 .info = {.btf = &build.out, .btf_len = btf_len}};
	q->prog.info.funcs = (struct verifier_records){
		q->funcs, func_cnt,
		stretch(test->funcs, func_cnt, sizeof(test->funcs[0]), test->func_size, q->funcs)};
	q->prog.info.lines = (struct verifier_records){
		q->lines, line_cnt,
		stretch(lines, line_cnt, sizeof(lines[0]), test->line_size, q->lines)};
}

static int ask_kernel(const struct verifier_prog *prog)
{
	struct bpf_insn insns[INSNS_MAX];
	const struct verifier_info *info = &prog->info;
	union bpf_attr attr = {.prog_type = prog->type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = prog->cnt,
			       .license = (uintptr_t) "GPL",
			       .prog_flags = prog->sleepable ? BPF_F_SLEEPABLE : 0,
			       .log_level = 2,
			       .log_buf = (uintptr_t)kernel_log,
			       .log_size = sizeof(kernel_log),
			       .func_info = (uintptr_t)info->funcs.data,
			       .func_info_cnt = info->funcs.cnt,
			       .func_info_rec_size = info->funcs.size,
			       .line_info = (uintptr_t)info->lines.data,
			       .line_info_cnt = info->lines.cnt,
			       .line_info_rec_size = info->lines.size};
	int fd;

	if (info->funcs.cnt || info->lines.cnt)
		attr.prog_btf_fd = (uint32_t)btf_fd;
	memcpy(insns, prog->insns, prog->cnt * sizeof(*insns));
	for (uint32_t i = 0; i < prog->cnt; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) && insns[i].src_reg &&
		    insns[i].src_reg != BPF_PSEUDO_FUNC)
			insns[i].imm = map_fds[insns[i].imm];
	kernel_log[0] = '\0';
	fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close_fd(fd);
	return fd < 0 ? fd : 0;
}

static void test_cases(void **state)
{
	union bpf_attr attr = {.btf = (uintptr_t)&build.out,
			       .btf_size = btf_len,
			       .btf_log_level = 1,
			       .btf_log_buf = (uintptr_t)kernel_log,
			       .btf_log_size = sizeof(kernel_log)};
	int wrong = 0;

	(void)state;
	btf_fd = sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	if (btf_fd < 0)
		fail_msg("the types: %d: %s", btf_fd, kernel_log);
	for (int i = 0; i < MAPS; i++) {
		map_fds[i] = make_map(&maps[i]);
		assert_true(map_fds[i] >= 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct verifier_log log = {.level = 2, .buf = own_log, .size = sizeof(own_log)};
		struct verifier_facts facts;
		struct question q;
		int own, kernel;

		ask_about(&cases[i], &q);
		own = verifier_check(&q.prog, &log, &facts);
		kernel = ask_kernel(&q.prog);
		if (own == cases[i].error && kernel == own &&
		    (!cases[i].log ||
		     (strstr(own_log, cases[i].log) && strstr(kernel_log, cases[i].log))))
			continue;
		print_error("%s: %d, here %d, the kernel %d\nhere:\n%s\nkernel:\n%s\n",
			    cases[i].name, cases[i].error, own, kernel, own_log, kernel_log);
		wrong++;
	}
	print_message("%zu programs\n", ARRAY_SIZE(cases));
	for (int i = 0; i < MAPS; i++)
		close_fd(map_fds[i]);
	close_fd(btf_fd);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};

	return cmocka_run_group_tests(tests, make_types, NULL);
}
