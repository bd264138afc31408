/* SPDX-License-Identifier: MIT */
/*
 * Loads from packets: calls of the runtime. The program, or the function that does it, ends with 0 where
 * the packet has ended.
 */
#include "base/cleanup.h"
#include "vm/jit_unit.h"

static LLVMValueRef offset_of(struct jit_unit *unit, const struct bpf_insn *insn)
{
	LLVMValueRef constant = LLVMConstInt(unit->i32, (uint64_t)(int64_t)insn->imm, true);
	LLVMValueRef variable;

	if (BPF_MODE(insn->code) != BPF_IND)
		return constant;
	variable = LLVMBuildTrunc(unit->builder, jit_get(unit, insn->src_reg), unit->i32, "");
	return LLVMBuildAdd(unit->builder, variable, constant, "");
}

int jit_packet_load(struct jit_unit *unit, uint32_t at)
{
	static const unsigned int sizes[] = {4, 2, 1};
	const struct bpf_insn *insn = &unit->prog->insns[at];
	LLVMTypeRef params[] = {unit->i64, unit->i32, unit->i32}, type;
	LLVMBasicBlockRef out, next;
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef args[3], value;

	if (unit->resolve("rt_packet_load", unit->data) == 0)
		return jit_refuse(unit, at, "a load from a packet");
	if ((BPF_MODE(insn->code) != BPF_ABS && BPF_MODE(insn->code) != BPF_IND) ||
	    BPF_SIZE(insn->code) == BPF_DW)
		return jit_refuse(unit, at, "a kind of load");
	args[0] = jit_get(unit, BPF_REG_6);
	args[1] = offset_of(unit, insn);
	args[2] = LLVMConstInt(unit->i32, sizes[BPF_SIZE(insn->code) >> 3], false);
	type = LLVMFunctionType(unit->i64, params, ARRAY_SIZE(params), false);
	value = LLVMBuildCall2(b, type, jit_declare(unit, "rt_packet_load", type), args,
			       ARRAY_SIZE(args), "");
	out = LLVMAppendBasicBlockInContext(unit->context, unit->function, "");
	next = LLVMAppendBasicBlockInContext(unit->context, unit->function, "");
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, value, jit_const(unit, 0), ""), out, next);
	LLVMPositionBuilderAtEnd(b, out);
	LLVMBuildRet(b, jit_const(unit, 0));
	LLVMPositionBuilderAtEnd(b, next);
	jit_set(unit, BPF_REG_0, value);
	for (unsigned i = BPF_REG_1; i <= BPF_REG_5; i++)
		jit_set(unit, i, jit_const(unit, 0));
	return 0;
}
