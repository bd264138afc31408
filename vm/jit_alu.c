/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic, called by jit_flow.c. Both widths are one piece of code: operands are cut to the
 * width, the result is extended with zeros. Source: RFC 9669 section 4.1 and 4.2.
 */
#include <errno.h>
#include <stdio.h>

#include "vm/jit_unit.h"

struct alu {
	struct jit_unit *unit;
	LLVMBuilderRef builder;
	LLVMTypeRef type;
	LLVMValueRef dst, src;
	unsigned bits;
	bool is_signed; /* of a division */
};

static LLVMValueRef constant(const struct alu *alu, int64_t value)
{
	return LLVMConstInt(alu->type, (uint64_t)value, true);
}

static LLVMValueRef equals(const struct alu *alu, LLVMValueRef value, int64_t other)
{
	return LLVMBuildICmp(alu->builder, LLVMIntEQ, value, constant(alu, other), "");
}

/*
 * Division by 0 gives 0, its remainder is the dividend; the smallest number by -1 wraps. Both trap
 * on x86 and are undefined to LLVM, so the divisor is replaced before it gets there.
 */
static LLVMValueRef divide(const struct alu *alu, bool remainder)
{
	LLVMBuilderRef b = alu->builder;
	LLVMValueRef by_zero = equals(alu, alu->src, 0);
	LLVMValueRef divisor = LLVMBuildSelect(b, by_zero, constant(alu, 1), alu->src, "");
	LLVMValueRef by_minus_one, result;

	if (!alu->is_signed) {
		result = remainder ? LLVMBuildURem(b, alu->dst, divisor, "")
				   : LLVMBuildUDiv(b, alu->dst, divisor, "");
	} else {
		by_minus_one = equals(alu, alu->src, -1);
		divisor = LLVMBuildSelect(b, by_minus_one, constant(alu, 1), divisor, "");
		result = remainder ? LLVMBuildSRem(b, alu->dst, divisor, "")
				   : LLVMBuildSDiv(b, alu->dst, divisor, "");
		result = LLVMBuildSelect(
			b, by_minus_one,
			remainder ? constant(alu, 0) : LLVMBuildNeg(b, alu->dst, ""), result, "");
	}
	return LLVMBuildSelect(b, by_zero, remainder ? alu->dst : constant(alu, 0), result, "");
}

/* Only the low bits of a shift's distance count. */
static LLVMValueRef shift(const struct alu *alu, unsigned op)
{
	LLVMBuilderRef b = alu->builder;
	LLVMValueRef by = LLVMBuildAnd(b, alu->src, constant(alu, alu->bits - 1), "");

	if (op == BPF_LSH)
		return LLVMBuildShl(b, alu->dst, by, "");
	return op == BPF_RSH ? LLVMBuildLShr(b, alu->dst, by, "")
			     : LLVMBuildAShr(b, alu->dst, by, "");
}

/* @off: 0, or the width in bits from which the source is extended with its sign */
static LLVMValueRef move(const struct alu *alu, int16_t off)
{
	LLVMValueRef narrow;

	if (off == 0 || (unsigned)off == alu->bits)
		return alu->src;
	narrow = LLVMBuildTrunc(alu->builder, alu->src,
				LLVMIntTypeInContext(alu->unit->context, off), "");
	return LLVMBuildSExt(alu->builder, narrow, alu->type, "");
}

/* NULL: no such operation. */
static LLVMValueRef compute(const struct alu *alu, unsigned op, int16_t off)
{
	LLVMBuilderRef b = alu->builder;

	switch (op) {
	case BPF_ADD:
		return LLVMBuildAdd(b, alu->dst, alu->src, "");
	case BPF_SUB:
		return LLVMBuildSub(b, alu->dst, alu->src, "");
	case BPF_MUL:
		return LLVMBuildMul(b, alu->dst, alu->src, "");
	case BPF_OR:
		return LLVMBuildOr(b, alu->dst, alu->src, "");
	case BPF_AND:
		return LLVMBuildAnd(b, alu->dst, alu->src, "");
	case BPF_XOR:
		return LLVMBuildXor(b, alu->dst, alu->src, "");
	case BPF_NEG:
		return LLVMBuildNeg(b, alu->dst, "");
	case BPF_DIV:
	case BPF_MOD:
		return divide(alu, op == BPF_MOD);
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		return shift(alu, op);
	case BPF_MOV:
		return move(alu, off);
	default:
		return NULL;
	}
}

/* off means something for three operations only; anything else in it is not an instruction. */
static bool off_is_known(const struct bpf_insn *insn)
{
	const unsigned op = BPF_OP(insn->code);
	const bool wide = BPF_CLASS(insn->code) == BPF_ALU64;

	if (insn->off == 0)
		return true;
	if (op == BPF_DIV || op == BPF_MOD)
		return insn->off == 1;
	return op == BPF_MOV && BPF_SRC(insn->code) == BPF_X &&
	       (insn->off == 8 || insn->off == 16 || (insn->off == 32 && wide));
}

/* To little endian cuts, to big endian swaps, and the 64-bit class swaps whatever the machine is.
 */
static int swap_bytes(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	const bool to_little = BPF_CLASS(insn->code) == BPF_ALU && BPF_SRC(insn->code) == BPF_TO_LE;
	LLVMTypeRef type;
	LLVMValueRef value;

	if (insn->imm != 16 && insn->imm != 32 && insn->imm != 64)
		return jit_refuse(unit, at, "a byte swap of that width");
	type = LLVMIntTypeInContext(unit->context, insn->imm);
	value = LLVMBuildTrunc(unit->builder, jit_get(unit, insn->dst_reg), type, "");
	if (!to_little)
		value = jit_intrinsic(unit, "llvm.bswap", type, value);
	jit_set(unit, insn->dst_reg, LLVMBuildZExt(unit->builder, value, unit->i64, ""));
	return 0;
}

/* What stays known of a register: copies, and the stack pointer with a constant added. */
static struct jit_tag follow_tag(const struct jit_unit *unit, const struct bpf_insn *insn)
{
	const struct jit_tag none = {0};
	struct jit_tag tag = unit->tags[insn->dst_reg];
	int64_t sum;

	if (insn->code == (BPF_ALU64 | BPF_MOV | BPF_X) && insn->off == 0)
		return unit->tags[insn->src_reg];
	if (insn->code != (BPF_ALU64 | BPF_ADD | BPF_K) || tag.kind != JIT_TAG_STACK)
		return none;
	sum = (int64_t)tag.value + insn->imm;
	if (sum < -JIT_STACK || sum > 0)
		return none;
	tag.value = (int32_t)sum;
	return tag;
}

int jit_alu(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	const bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	const struct jit_tag tag = follow_tag(unit, insn);
	struct alu alu = {
		.unit = unit,
		.builder = unit->builder,
		.type = wide ? unit->i64 : unit->i32,
		.bits = wide ? 64 : 32,
		.is_signed = insn->off == 1,
	};
	LLVMValueRef result;

	if (BPF_OP(insn->code) == BPF_END)
		return swap_bytes(unit, at);
	if (!off_is_known(insn))
		return jit_refuse(unit, at, "an offset in arithmetic");
	alu.dst = LLVMBuildTrunc(alu.builder, jit_get(unit, insn->dst_reg), alu.type, "");
	if (BPF_SRC(insn->code) == BPF_K)
		alu.src = constant(&alu, insn->imm);
	else
		alu.src = LLVMBuildTrunc(alu.builder, jit_get(unit, insn->src_reg), alu.type, "");
	result = compute(&alu, BPF_OP(insn->code), insn->off);
	if (!result)
		return jit_refuse(unit, at, "an arithmetic operation");
	jit_set(unit, insn->dst_reg, LLVMBuildZExt(alu.builder, result, unit->i64, ""));
	unit->tags[insn->dst_reg] = tag;
	return 0;
}
