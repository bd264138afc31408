/* SPDX-License-Identifier: MIT */
/*
 * Drives LLVM: a module per program, a short list of passes, an object, our own linker. (jit_orc.c
 * has LLVM's linker for the same object.) Runs in the worker and in tests only. LLVM's state is per
 * call except for the target's description, which is made once; callers do not call this from two
 * threads at once.
 */
#include "vm/jit.h"

#include <errno.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/jit_unit.h"
#include "vm/link.h"

/*
 * Either tier turns registers and stack slots into values. The fast one does little more, and lets
 * code be made instruction by instruction; values that live longer than a block are on the stack
 * then. The last is between the two, for what one of them gives too large a stack.
 */
#define FRUGAL (JIT_FULL + 1)
static const struct recipe {
	const char *passes;
	LLVMCodeGenOptLevel level;
} recipes[] = {
	[JIT_FAST] = {"function(dce,sroa,early-cse,simplifycfg)", LLVMCodeGenLevelNone},
	[JIT_FULL] = {"default<O2>", LLVMCodeGenLevelDefault},
	[FRUGAL] = {"function(sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>)",
		    LLVMCodeGenLevelLess},
};

#define TRIPLE "x86_64-unknown-linux-gnu"
/* What every x86-64 has: the region of one machine's tenant holds one version of the code. */
#define CPU	 "x86-64"
#define FEATURES "-x87,-mmx,-sse,-sse2,+soft-float"
/* The promise of jit.h, less what the compiler does not count: return address, saved registers. */
#define FRAME_MAX "960"

struct compiler {
	struct jit_unit unit;
	const struct recipe *recipe;
	LLVMTargetMachineRef machine;
	LLVMMemoryBufferRef object;
	bool complained; /* LLVM had something to say; the first is in unit.reason */
};

static LLVMTargetMachineRef target_machine(const struct recipe *recipe, struct reason *reason)
{
	static LLVMTargetMachineRef machines[ARRAY_SIZE(recipes)];
	LLVMTargetMachineRef *machine = &machines[recipe - recipes];
	LLVMTargetRef target;
	char *error = NULL;

	if (*machine)
		return *machine;
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	if (LLVMGetTargetFromTriple(TRIPLE, &target, &error)) {
		reason_set(reason, -EOPNOTSUPP, "LLVM has no x86-64: %s", error);
		LLVMDisposeMessage(error);
		return NULL;
	}
	*machine = LLVMCreateTargetMachine(target, TRIPLE, CPU, FEATURES, recipe->level,
					   LLVMRelocPIC, LLVMCodeModelSmall);
	return *machine;
}

/* Warnings count too: the one we ask for is about the size of the frame. */
static void diagnostic(LLVMDiagnosticInfoRef info, void *data)
{
	struct compiler *c = data;
	LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
	char *text;

	if (c->complained || (severity != LLVMDSError && severity != LLVMDSWarning))
		return;
	text = LLVMGetDiagInfoDescription(info);
	reason_set(c->unit.reason, -EOPNOTSUPP, "the compiler says: %s", text);
	LLVMDisposeMessage(text);
	c->complained = true;
}

static void add_attribute(struct jit_unit *unit, LLVMValueRef function, const char *name,
			  const char *value)
{
	LLVMAttributeRef attribute =
		LLVMCreateStringAttribute(unit->context, name, strlen(name), value, strlen(value));

	LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

static void add_flag(struct jit_unit *unit, LLVMValueRef function, const char *name)
{
	const unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));

	LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
				LLVMCreateEnumAttribute(unit->context, kind, 0));
}

static void add_attributes(struct jit_unit *unit, LLVMValueRef function)
{
	/* Nothing throws, so there is nothing to unwind and no table for it. */
	add_flag(unit, function, "nounwind");
	/* All of the stack is below the pointer, where the limit counts it. */
	add_flag(unit, function, "noredzone");
	/* Each has a stack of its own, and the limit is for one. */
	add_flag(unit, function, "noinline");
	add_attribute(unit, function, "no-builtins", "");
	add_attribute(unit, function, "frame-pointer", "none");
	add_attribute(unit, function, "warn-stack-size", FRAME_MAX);
}

static void unit_init(struct jit_unit *unit)
{
	unit->context = LLVMContextCreate();
	unit->module = LLVMModuleCreateWithNameInContext("prog", unit->context);
	unit->builder = LLVMCreateBuilderInContext(unit->context);
	unit->i8 = LLVMInt8TypeInContext(unit->context);
	unit->i32 = LLVMInt32TypeInContext(unit->context);
	unit->i64 = LLVMInt64TypeInContext(unit->context);
	unit->pointer = LLVMPointerTypeInContext(unit->context, 0);
}

static void unit_deinit(struct jit_unit *unit)
{
	LLVMDisposeBuilder(unit->builder);
	LLVMDisposeModule(unit->module);
	LLVMContextDispose(unit->context);
}

static int run_passes(struct compiler *c)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef error;
	char *text;
	int r = 0;

	/* There are no vectors to make. */
	LLVMPassBuilderOptionsSetLoopVectorization(options, false);
	LLVMPassBuilderOptionsSetSLPVectorization(options, false);
	error = LLVMRunPasses(c->unit.module, c->recipe->passes, c->machine, options);
	if (error) {
		text = LLVMGetErrorMessage(error);
		r = reason_set(c->unit.reason, -EOPNOTSUPP, "the compiler says: %s", text);
		LLVMDisposeErrorMessage(text);
	}
	LLVMDisposePassBuilderOptions(options);
	return r;
}

static int emit_object(struct compiler *c)
{
	char *error = NULL;
	int r = 0;

	if (LLVMTargetMachineEmitToMemoryBuffer(c->machine, c->unit.module, LLVMObjectFile, &error,
						&c->object)) {
		r = reason_set(c->unit.reason, -EOPNOTSUPP, "the compiler says: %s", error);
		LLVMDisposeMessage(error);
	}
	return r;
}

static int compile(struct compiler *c)
{
	int r;

	r = jit_translate(&c->unit);
	if (r < 0)
		return r;
	for (LLVMValueRef function = LLVMGetFirstFunction(c->unit.module); function;
	     function = LLVMGetNextFunction(function))
		if (!LLVMIsDeclaration(function))
			add_attributes(&c->unit, function);
	r = run_passes(c);
	if (r == 0)
		r = emit_object(c);
	if (r == 0 && c->complained)
		return -EOPNOTSUPP;
	return r;
}

static int compile_by(const struct recipe *recipe, const struct jit_prog *prog,
		      const struct jit_runtime *runtime, LLVMMemoryBufferRef *ret_object,
		      bool *ret_complained, struct reason *reason)
{
	struct compiler c = {.unit = {.prog = prog,
				      .resolve = runtime->resolve,
				      .data = runtime->data,
				      .reason = reason},
			     .recipe = recipe};
	LLVMTargetDataRef layout;
	int r;

	*ret_complained = false;
	reason_clear(reason);
	c.machine = target_machine(recipe, reason);
	if (!c.machine)
		return -EOPNOTSUPP;
	unit_init(&c.unit);
	LLVMContextSetDiagnosticHandler(c.unit.context, diagnostic, &c);
	LLVMSetTarget(c.unit.module, TRIPLE);
	layout = LLVMCreateTargetDataLayout(c.machine);
	LLVMSetModuleDataLayout(c.unit.module, layout);
	LLVMDisposeTargetData(layout);
	r = compile(&c);
	*ret_complained = c.complained;
	if (r == 0)
		*ret_object = c.object;
	else if (c.object)
		LLVMDisposeMemoryBuffer(c.object);
	unit_deinit(&c.unit);
	return r;
}

int jit_object_for(const struct jit_prog *prog, const struct jit_runtime *runtime,
		   LLVMMemoryBufferRef *ret_object, struct reason *reason)
{
	bool complained;
	int r;

	/* What it complains of is the size of the frame. */
	r = compile_by(&recipes[prog->tier], prog, runtime, ret_object, &complained, reason);
	if (r < 0 && complained)
		r = compile_by(&recipes[FRUGAL], prog, runtime, ret_object, &complained, reason);
	return r;
}

/* What the linker asks by. */
struct symbols {
	const struct jit_prog *prog;
	const struct jit_runtime *runtime;
};

/* "map.N" is map N's record, "data.N" its memory; the rest are runtime functions. */
static uint32_t symbol_target(const char *name, void *data)
{
	const struct symbols *symbols = data;
	unsigned index;

	if (sscanf(name, "map.%u", &index) == 1 && index < symbols->prog->map_cnt)
		return CODE_MAP_RECORD(index);
	if (sscanf(name, "data.%u", &index) == 1 && index < symbols->prog->map_cnt)
		return CODE_MAP_DATA(index);
	return CODE_RUNTIME;
}

static uint64_t resolve_symbol(const char *name, void *data)
{
	const struct symbols *symbols = data;

	return symbol_target(name, data) == CODE_RUNTIME
		       ? symbols->runtime->resolve(name, symbols->runtime->data)
		       : CODE_PLACE;
}

int jit_compile_for(const struct jit_prog *prog, const struct jit_runtime *runtime,
		    struct link_result *ret_result, struct reason *reason)
{
	struct symbols symbols = {prog, runtime};
	struct link_request request = {.entry = JIT_ENTRY,
				       .place = CODE_PLACE,
				       .resolve = resolve_symbol,
				       .target = symbol_target,
				       .data = &symbols};
	LLVMMemoryBufferRef object;
	int r = jit_object_for(prog, runtime, &object, reason);

	if (r < 0)
		return r;
	request.object = LLVMGetBufferStart(object);
	request.size = LLVMGetBufferSize(object);
	r = link_object(&request, ret_result, reason);
	LLVMDisposeMemoryBuffer(object);
	return r;
}
