/* SPDX-License-Identifier: MIT */
/*
 * Walks a program once and builds LLVM's representation of it, called by jit.c. Takes any bytes: a
 * program that jumps outside of itself is refused here even though the verifier was there before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/jit_unit.h"

#define LD_IMM64  (BPF_LD | BPF_IMM | BPF_DW)
#define TURNS_MAX (8u << 20) /* BPF_MAX_LOOPS, include/linux/bpf.h, Linux 6.18 */

LLVMValueRef jit_const(struct jit_unit *unit, uint64_t value)
{
	return LLVMConstInt(unit->i64, value, false);
}

LLVMValueRef jit_get(struct jit_unit *unit, unsigned reg)
{
	if (reg == BPF_REG_10)
		return unit->frame;
	return LLVMBuildLoad2(unit->builder, unit->i64, unit->regs[reg], "");
}

void jit_set(struct jit_unit *unit, unsigned reg, LLVMValueRef value)
{
	LLVMBuildStore(unit->builder, value, unit->regs[reg]);
	unit->tags[reg] = (struct jit_tag){0};
}

LLVMValueRef jit_symbol(struct jit_unit *unit, const char *name)
{
	LLVMValueRef symbol = LLVMGetNamedGlobal(unit->module, name);

	if (symbol)
		return symbol;
	symbol = LLVMAddGlobal(unit->module, LLVMArrayType2(unit->i8, 0), name);
	/* Not to be looked up through a table of addresses: it stands at a known distance. */
	LLVMSetVisibility(symbol, LLVMHiddenVisibility);
	LLVMSetAlignment(symbol, 8);
	return symbol;
}

LLVMValueRef jit_intrinsic(struct jit_unit *unit, const char *name, LLVMTypeRef type,
			   LLVMValueRef arg)
{
	const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef function = LLVMGetIntrinsicDeclaration(unit->module, id, &type, 1);

	return LLVMBuildCall2(unit->builder, LLVMFunctionType(type, &type, 1, false), function,
			      &arg, 1, "");
}

int jit_refuse(struct jit_unit *unit, uint32_t at, const char *what)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];

	return reason_set(unit->reason, -EOPNOTSUPP,
			  "instruction %u is not supported yet: %s (code 0x%02x, source %u, offset "
			  "%d, constant %d)",
			  at, what, insn->code, insn->src_reg, insn->off, insn->imm);
}

static int malformed(struct jit_unit *unit, uint32_t at, const char *what)
{
	return reason_set(unit->reason, -EINVAL, "instruction %u: %s", at, what);
}

static bool is_jump(const struct bpf_insn *insn)
{
	const unsigned class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_CALL && op != BPF_EXIT;
}

static bool is_goto(const struct bpf_insn *insn)
{
	return is_jump(insn) && BPF_OP(insn->code) == BPF_JA;
}

static int64_t target_of(const struct bpf_insn *insn, uint32_t at)
{
	if (insn->code == (BPF_JMP32 | BPF_JA))
		return (int64_t)at + 1 + insn->imm;
	return (int64_t)at + 1 + insn->off;
}

/* The register that @insn writes besides r0, or -1. Stores and jumps write none. */
static int written_register(const struct bpf_insn *insn)
{
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
	case BPF_LDX:
	case BPF_LD:
		return insn->dst_reg;
	case BPF_STX:
		if (BPF_MODE(insn->code) != BPF_ATOMIC)
			return -1;
		if (insn->imm == JIT_LOAD_ACQUIRE)
			return insn->dst_reg;
		return insn->imm & BPF_FETCH ? insn->src_reg : -1;
	default:
		return -1;
	}
}

static int check_registers(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];

	if (insn->dst_reg > BPF_REG_10 || insn->src_reg > BPF_REG_10)
		return malformed(unit, at, "no such register");
	if (written_register(insn) == BPF_REG_10)
		return malformed(unit, at, "the frame pointer is read only");
	return 0;
}

int64_t jit_call_target(const struct jit_unit *unit, uint32_t at)
{
	return (int64_t)at + 1 + unit->prog->insns[at].imm;
}

/* By a call, or by its address, which a helper calls. */
static bool names_function(const struct bpf_insn *insn)
{
	return (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL) ||
	       (insn->code == LD_IMM64 && insn->src_reg == BPF_PSEUDO_FUNC);
}

/* uint64_t f(r1, r2, r3, r4, r5, run), to be filled later; hidden inside of the module. */
static LLVMValueRef declare_function(struct jit_unit *unit, uint32_t at)
{
	LLVMTypeRef params[] = {unit->i64, unit->i64, unit->i64,
				unit->i64, unit->i64, unit->pointer};
	LLVMTypeRef type = LLVMFunctionType(unit->i64, params, ARRAY_SIZE(params), false);
	LLVMValueRef function;
	char name[32];

	snprintf(name, sizeof(name), "function.%u", at);
	function = LLVMAddFunction(unit->module, name, type);
	LLVMSetLinkage(function, LLVMInternalLinkage);
	return function;
}

/* Functions begin where calls lead, and go to where the next one begins. */
static int find_functions(struct jit_unit *unit)
{
	const struct bpf_insn *insns = unit->prog->insns;

	for (uint32_t i = 0; i < unit->prog->cnt; i += insns[i].code == LD_IMM64 ? 2 : 1) {
		int64_t target;

		if (!names_function(&insns[i]))
			continue;
		target = jit_call_target(unit, i);
		if (target <= 0 || target >= unit->prog->cnt)
			return target ? malformed(unit, i, "call out of the program")
				      : jit_refuse(unit, i, "a program that calls itself");
		if (!unit->functions[target])
			unit->functions[target] = declare_function(unit, (uint32_t)target);
	}
	return 0;
}

/*
 * Blocks begin where jumps lead. The second half of an ld_imm64 is no instruction: @half marks
 * them, so that a jump into one is found when all have been seen.
 */
static int find_blocks(struct jit_unit *unit, uint32_t start, bool *half)
{
	const struct jit_prog *prog = unit->prog;
	int64_t target;
	int r;

	for (uint32_t i = start; i < unit->end; i++) {
		const struct bpf_insn *insn = &prog->insns[i];

		r = check_registers(unit, i);
		if (r < 0)
			return r;
		if (insn->code == LD_IMM64) {
			if (++i == unit->end)
				return malformed(unit, i - 1, "half of a constant is missing");
			half[i] = true;
			continue;
		}
		if (!is_jump(insn))
			continue;
		target = target_of(insn, i);
		if (target < start || target >= unit->end)
			return malformed(unit, i, "jump out of the program, or of its function");
		if (!unit->blocks[target])
			unit->blocks[target] =
				LLVMAppendBasicBlockInContext(unit->context, unit->function, "");
	}
	for (uint32_t i = start; i < unit->end; i++)
		if (half[i] && unit->blocks[i])
			return malformed(unit, i, "jump into the middle of a constant");
	return 0;
}

static int map_constant(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	const uint32_t index = (uint32_t)insn->imm;
	const uint32_t offset = (uint32_t)insn[1].imm;
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef value;
	char name[32];

	if (index >= unit->prog->map_cnt)
		return malformed(unit, at, "no such map");
	if (insn->src_reg == BPF_PSEUDO_MAP_FD) {
		snprintf(name, sizeof(name), "map.%u", index);
		value = LLVMBuildPtrToInt(b, jit_symbol(unit, name), unit->i64, "");
		jit_set(unit, insn->dst_reg, value);
		unit->tags[insn->dst_reg] = (struct jit_tag){JIT_TAG_MAP, (int32_t)index};
		return 0;
	}
	if (offset >= unit->prog->maps[index].data_size)
		return malformed(unit, at, "offset behind the map's value");
	snprintf(name, sizeof(name), "data.%u", index);
	value = LLVMBuildPtrToInt(b, jit_symbol(unit, name), unit->i64, "");
	jit_set(unit, insn->dst_reg, LLVMBuildAdd(b, value, jit_const(unit, offset), ""));
	return 0;
}

static int load_constant(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];

	switch (insn->src_reg) {
	case 0:
		jit_set(unit, insn->dst_reg,
			jit_const(unit,
				  (uint32_t)insn->imm | (uint64_t)(uint32_t)insn[1].imm << 32));
		return 0;
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_VALUE:
		return map_constant(unit, at);
	case BPF_PSEUDO_BTF_ID:
		return jit_refuse(unit, at, "the address of a kernel variable");
	case BPF_PSEUDO_FUNC:
		jit_set(unit, insn->dst_reg,
			LLVMBuildPtrToInt(unit->builder, unit->functions[jit_call_target(unit, at)],
					  unit->i64, ""));
		return 0;
	default:
		return jit_refuse(unit, at, "a kind of constant");
	}
}

static bool predicate_of(unsigned op, LLVMIntPredicate *ret_predicate)
{
	static const LLVMIntPredicate predicates[16] = {
		[BPF_JEQ >> 4] = LLVMIntEQ,   [BPF_JNE >> 4] = LLVMIntNE,
		[BPF_JGT >> 4] = LLVMIntUGT,  [BPF_JGE >> 4] = LLVMIntUGE,
		[BPF_JLT >> 4] = LLVMIntULT,  [BPF_JLE >> 4] = LLVMIntULE,
		[BPF_JSGT >> 4] = LLVMIntSGT, [BPF_JSGE >> 4] = LLVMIntSGE,
		[BPF_JSLT >> 4] = LLVMIntSLT, [BPF_JSLE >> 4] = LLVMIntSLE,
	};

	*ret_predicate = predicates[op >> 4];
	return *ret_predicate != 0;
}

/* The condition of the jump at @at; NULL: no such condition. */
static LLVMValueRef condition(struct jit_unit *unit, const struct bpf_insn *insn)
{
	LLVMBuilderRef b = unit->builder;
	LLVMTypeRef type = BPF_CLASS(insn->code) == BPF_JMP ? unit->i64 : unit->i32;
	LLVMValueRef dst = LLVMBuildTrunc(b, jit_get(unit, insn->dst_reg), type, "");
	LLVMIntPredicate predicate;
	LLVMValueRef src;

	if (BPF_SRC(insn->code) == BPF_K)
		src = LLVMConstInt(type, (uint64_t)(int64_t)insn->imm, true);
	else
		src = LLVMBuildTrunc(b, jit_get(unit, insn->src_reg), type, "");
	if (BPF_OP(insn->code) == BPF_JSET)
		return LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, dst, src, ""),
				     LLVMConstInt(type, 0, false), "");
	if (!predicate_of(BPF_OP(insn->code), &predicate))
		return NULL;
	return LLVMBuildICmp(b, predicate, dst, src, "");
}

/* may_goto: whether this run of the function has passed it as often as it may. */
static LLVMValueRef turns_are_spent(struct jit_unit *unit)
{
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef left = LLVMBuildLoad2(b, unit->i64, unit->turns, ""), spent;

	spent = LLVMBuildICmp(b, LLVMIntEQ, left, jit_const(unit, 0), "");
	left = LLVMBuildSub(b, left, jit_const(unit, 1), "");
	LLVMBuildStore(b, LLVMBuildSelect(b, spent, jit_const(unit, 0), left, ""), unit->turns);
	return spent;
}

/* The block of the instruction behind a conditional jump; made when nobody else jumps there. */
static LLVMBasicBlockRef fall_through(struct jit_unit *unit, uint32_t at)
{
	if (!unit->blocks[at + 1])
		unit->blocks[at + 1] =
			LLVMAppendBasicBlockInContext(unit->context, unit->function, "");
	return unit->blocks[at + 1];
}

static int jump(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	LLVMBasicBlockRef target = unit->blocks[target_of(insn, at)];
	LLVMValueRef test;

	if (is_goto(insn)) {
		if (BPF_SRC(insn->code) != BPF_K)
			return jit_refuse(unit, at, "a computed jump");
		LLVMBuildBr(unit->builder, target);
		return 0;
	}
	if (at + 1 == unit->end)
		return malformed(unit, at, "the program has no end");
	test = insn->code == (BPF_JMP | JIT_JCOND) ? turns_are_spent(unit) : condition(unit, insn);
	if (!test)
		return jit_refuse(unit, at, "a condition of a jump");
	LLVMBuildCondBr(unit->builder, test, target, fall_through(unit, at));
	return 0;
}

static int exit_or_call(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];

	if (BPF_CLASS(insn->code) == BPF_JMP32)
		return jit_refuse(unit, at, "a kind of call");
	if (BPF_OP(insn->code) == BPF_CALL)
		return jit_call(unit, at);
	LLVMBuildRet(unit->builder, jit_get(unit, BPF_REG_0));
	return 0;
}

static int translate_insn(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];

	if (is_jump(insn))
		return jump(unit, at);
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return jit_alu(unit, at);
	case BPF_LDX:
		return jit_load(unit, at);
	case BPF_ST:
		return jit_store(unit, at);
	case BPF_STX:
		return BPF_MODE(insn->code) == BPF_ATOMIC ? jit_atomic(unit, at)
							  : jit_store(unit, at);
	case BPF_LD:
		if (insn->code == LD_IMM64)
			return load_constant(unit, at);
		return jit_packet_load(unit, at);
	default:
		return exit_or_call(unit, at);
	}
}

/* Make the block at @at the current one, with an edge to it from what was built before. */
static void enter_block(struct jit_unit *unit, uint32_t at)
{
	if (!LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(unit->builder)))
		LLVMBuildBr(unit->builder, unit->blocks[at]);
	LLVMPositionBuilderAtEnd(unit->builder, unit->blocks[at]);
	for (unsigned i = 0; i < BPF_REG_10; i++)
		unit->tags[i] = (struct jit_tag){0};
}

static int translate_insns(struct jit_unit *unit, uint32_t start)
{
	const struct jit_prog *prog = unit->prog;
	int r;

	for (uint32_t i = start; i < unit->end; i++) {
		if (unit->blocks[i])
			enter_block(unit, i);
		else if (LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(unit->builder)))
			return malformed(unit, i, "it cannot be reached");
		r = translate_insn(unit, i);
		if (r < 0)
			return r;
		i += prog->insns[i].code == LD_IMM64;
	}
	if (!LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(unit->builder)))
		return malformed(unit, unit->end - 1, "the program has no end");
	return 0;
}

static void zero_stack(struct jit_unit *unit)
{
	uint32_t bytes = (unit->prog->zero_stack + 7) & ~7u;

	for (uint32_t i = JIT_STACK - bytes; i < JIT_STACK; i += 8) {
		LLVMValueRef at = jit_const(unit, i);

		LLVMBuildStore(unit->builder, jit_const(unit, 0),
			       LLVMBuildGEP2(unit->builder, unit->i8, unit->stack, &at, 1, ""));
	}
}

/* Registers and stack are memory of the function; what it does not need of them LLVM takes away. */
static void begin_function(struct jit_unit *unit)
{
	LLVMTypeRef stack = LLVMArrayType2(unit->i8, JIT_STACK);
	LLVMValueRef end = jit_const(unit, JIT_STACK);
	LLVMBuilderRef b = unit->builder;

	LLVMPositionBuilderAtEnd(b,
				 LLVMAppendBasicBlockInContext(unit->context, unit->function, ""));
	for (unsigned i = 0; i < BPF_REG_10; i++) {
		unit->regs[i] = LLVMBuildAlloca(b, unit->i64, "");
		jit_set(unit, i, jit_const(unit, 0));
	}
	unit->turns = LLVMBuildAlloca(b, unit->i64, "");
	LLVMBuildStore(b, jit_const(unit, TURNS_MAX), unit->turns);
	unit->stack = LLVMBuildAlloca(b, stack, "");
	LLVMSetAlignment(unit->stack, 8);
	zero_stack(unit);
	unit->frame = LLVMBuildPtrToInt(b, LLVMBuildGEP2(b, unit->i8, unit->stack, &end, 1, ""),
					unit->i64, "");
	unit->tags[BPF_REG_10] = (struct jit_tag){JIT_TAG_STACK, 0};
}

/* uint64_t prog(void *ctx, struct rt_run *run) */
static void begin_program(struct jit_unit *unit)
{
	LLVMTypeRef params[] = {unit->pointer, unit->pointer};
	LLVMValueRef context;

	unit->function = LLVMAddFunction(unit->module, JIT_ENTRY,
					 LLVMFunctionType(unit->i64, params, 2, false));
	begin_function(unit);
	unit->run = LLVMGetParam(unit->function, 1);
	context = LLVMGetParam(unit->function, 0);
	jit_set(unit, BPF_REG_1, LLVMBuildPtrToInt(unit->builder, context, unit->i64, ""));
}

static void begin_subprogram(struct jit_unit *unit, uint32_t start)
{
	unit->function = unit->functions[start];
	begin_function(unit);
	unit->run = LLVMGetParam(unit->function, 5);
	for (unsigned i = 0; i < 5; i++)
		jit_set(unit, BPF_REG_1 + i, LLVMGetParam(unit->function, i));
}

static int translate_functions(struct jit_unit *unit, bool *half)
{
	int r = 0;

	for (uint32_t start = 0; start < unit->prog->cnt && r == 0; start = unit->end) {
		unit->end = start + 1;
		while (unit->end < unit->prog->cnt && !unit->functions[unit->end])
			unit->end++;
		if (start)
			begin_subprogram(unit, start);
		r = find_blocks(unit, start, half);
		if (r == 0)
			r = translate_insns(unit, start);
	}
	return r;
}

int jit_translate(struct jit_unit *unit)
{
	const uint32_t cnt = unit->prog->cnt;
	cleanup_free LLVMBasicBlockRef *blocks = NULL;
	cleanup_free LLVMValueRef *functions = NULL;
	cleanup_free bool *half = NULL;
	int r;

	if (cnt == 0)
		return reason_set(unit->reason, -EINVAL, "an empty program");
	blocks = calloc(cnt, sizeof(*blocks));
	functions = calloc(cnt, sizeof(*functions));
	half = calloc(cnt, sizeof(*half));
	if (!blocks || !functions || !half)
		return -ENOMEM;
	unit->blocks = blocks;
	unit->functions = functions;
	/* The first in the module is the first in the code. */
	begin_program(unit);
	r = find_functions(unit);
	if (r == 0)
		r = translate_functions(unit, half);
	unit->blocks = NULL;
	unit->functions = NULL;
	return r;
}
