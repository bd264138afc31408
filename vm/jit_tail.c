/* SPDX-License-Identifier: MIT */
/*
 * bpf_tail_call(): the program goes on as another one, which the map's table of code names. That
 * table is in the code part, which only the daemon writes.
 *
 * A program's own frame makes room for the next one's. A function of the program returns what the
 * next one returns to its caller, whose frame stays, 33 times if need be: that ends when so much of
 * the target's stack is used.
 */
#include <stddef.h>
#include <string.h>

#include "vm/jit_unit.h"

#define TAIL_CALLS_MAX 33u /* MAX_TAIL_CALL_CNT, include/linux/bpf.h, Linux 6.18 */
/* Bytes. The kernel's bound for the same is 33 times 256: see MAX_TAIL_CALL_CNT's comment there. */
#define STACK_USE_MAX 0x2400u

static LLVMValueRef at_offset(struct jit_unit *unit, LLVMValueRef base, uint64_t offset)
{
	LLVMValueRef at = jit_const(unit, offset);

	return LLVMBuildGEP2(unit->builder, unit->i8, base, &at, 1, "");
}

static LLVMValueRef load(struct jit_unit *unit, LLVMTypeRef type, LLVMValueRef base,
			 uint64_t offset)
{
	LLVMValueRef value = LLVMBuildLoad2(unit->builder, type, at_offset(unit, base, offset), "");

	return LLVMBuildZExt(unit->builder, value, unit->i64, "");
}

/* Go on where @holds, else at @out. */
static void require(struct jit_unit *unit, LLVMValueRef holds, LLVMBasicBlockRef out)
{
	LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(unit->context, unit->function, "");

	LLVMBuildCondBr(unit->builder, holds, next, out);
	LLVMPositionBuilderAtEnd(unit->builder, next);
}

bool jit_is_main(const struct jit_unit *unit)
{
	return LLVMCountParams(unit->function) == 2;
}

/* Whether the frame at hand lies near enough to where the target's stack was at the site, or to
 * where the run began on a stack of ours. */
static LLVMValueRef has_stack(struct jit_unit *unit)
{
	static const char name[] = "llvm.frameaddress";
	LLVMBuilderRef b = unit->builder;
	const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef intrinsic = LLVMGetIntrinsicDeclaration(unit->module, id, &unit->pointer, 1);
	LLVMValueRef level = LLVMConstInt(unit->i32, 0, false), frame, stack, used, ours;

	frame = LLVMBuildCall2(b, LLVMFunctionType(unit->pointer, &unit->i32, 1, false), intrinsic,
			       &level, 1, "");
	stack = load(unit, unit->i64, unit->run, offsetof(struct rt_run, stack));
	frame = LLVMBuildPtrToInt(b, frame, unit->i64, "");
	used = LLVMBuildSub(b, stack, frame, "");
	ours = LLVMBuildSub(b, LLVMBuildPtrToInt(b, unit->run, unit->i64, ""), frame, "");
	used = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, ours, used, ""), ours, used, "");
	/* There is no target's stack where there is no target. */
	return LLVMBuildOr(b, LLVMBuildICmp(b, LLVMIntEQ, stack, jit_const(unit, 0), ""),
			   LLVMBuildICmp(b, LLVMIntULT, used, jit_const(unit, STACK_USE_MAX), ""),
			   "");
}

/* Entry @index (vm/runtime/table.h), 0 for none; read once, the daemon may change it. */
static LLVMValueRef read_entry(struct jit_unit *unit, LLVMValueRef base, LLVMValueRef map,
			       LLVMValueRef index)
{
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef at = load(unit, unit->i64, map, offsetof(struct region_map, data));
	LLVMValueRef entry;

	at = LLVMBuildAdd(b, at, LLVMBuildMul(b, index, jit_const(unit, sizeof(uint64_t)), ""), "");
	at = LLVMBuildIntToPtr(b, LLVMBuildAdd(b, base, at, ""), unit->pointer, "");
	entry = LLVMBuildLoad2(b, unit->i64, at, "");
	LLVMSetVolatile(entry, true);
	LLVMSetAlignment(entry, sizeof(uint64_t));
	return entry;
}

/* Whether the process has mapped what the entry leads to. */
static LLVMValueRef is_mapped(struct jit_unit *unit, LLVMValueRef base, LLVMValueRef entry)
{
	const uint64_t mapped = REGION_CONFIG + offsetof(struct region_config, mapped);
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef config = LLVMBuildIntToPtr(
		b, LLVMBuildAdd(b, base, jit_const(unit, mapped), ""), unit->pointer, "");

	return LLVMBuildICmp(b, LLVMIntULE, LLVMBuildLShr(b, entry, jit_const(unit, 32), ""),
			     load(unit, unit->i32, config, 0), "");
}

static void leave(struct jit_unit *unit, LLVMValueRef base, LLVMValueRef entry)
{
	LLVMTypeRef params[] = {unit->pointer, unit->pointer};
	LLVMTypeRef type = LLVMFunctionType(unit->i64, params, 2, false);
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef code =
		LLVMBuildIntToPtr(b, LLVMBuildAdd(b, base, entry, ""), unit->pointer, "");
	LLVMValueRef args[] = {LLVMBuildIntToPtr(b, jit_get(unit, BPF_REG_1), unit->pointer, ""),
			       unit->run};
	LLVMValueRef call = LLVMBuildCall2(b, type, code, args, 2, "");

	LLVMSetTailCallKind(call,
			    jit_is_main(unit) ? LLVMTailCallKindMustTail : LLVMTailCallKindTail);
	LLVMBuildRet(b, call);
}

void jit_tail_call(struct jit_unit *unit)
{
	LLVMBuilderRef b = unit->builder;
	LLVMBasicBlockRef out = LLVMAppendBasicBlockInContext(unit->context, unit->function, "");
	LLVMValueRef map = LLVMBuildIntToPtr(b, jit_get(unit, BPF_REG_2), unit->pointer, "");
	LLVMValueRef index =
		LLVMBuildAnd(b, jit_get(unit, BPF_REG_3), jit_const(unit, UINT32_MAX), "");
	LLVMValueRef max, calls, base, entry, counter;

	max = load(unit, unit->i32, map, offsetof(struct region_map, max_entries));
	require(unit, LLVMBuildICmp(b, LLVMIntULT, index, max, ""), out);
	calls = load(unit, unit->i32, unit->run, offsetof(struct rt_run, tail_calls));
	require(unit, LLVMBuildICmp(b, LLVMIntULT, calls, jit_const(unit, TAIL_CALLS_MAX), ""),
		out);
	if (!jit_is_main(unit))
		require(unit, has_stack(unit), out);
	base = load(unit, unit->i64, unit->run, offsetof(struct rt_run, base));
	entry = read_entry(unit, base, map, index);
	require(unit, LLVMBuildICmp(b, LLVMIntNE, entry, jit_const(unit, 0), ""), out);
	require(unit, is_mapped(unit, base, entry), out);
	entry = LLVMBuildAnd(b, entry, jit_const(unit, UINT32_MAX), "");
	calls = LLVMBuildTrunc(b, LLVMBuildAdd(b, calls, jit_const(unit, 1), ""), unit->i32, "");
	counter = at_offset(unit, unit->run, offsetof(struct rt_run, tail_calls));
	LLVMBuildStore(b, calls, counter);
	leave(unit, base, entry);
	LLVMPositionBuilderAtEnd(b, out);
	jit_set(unit, BPF_REG_0, jit_const(unit, 0));
}
