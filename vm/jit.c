/* SPDX-License-Identifier: MIT */
/*
 * Drives LLVM: a module per program, a short list of passes, an object, our own linker. Runs in the
 * worker and in tests only. LLVM's state is per call except for the target's description, which is
 * made once; callers do not call this from two threads at once.
 */
#include "vm/jit.h"

#include <errno.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <string.h>

#include "vm/jit_unit.h"
#include "vm/link.h"

/*
 * One tier: registers and stack slots become values, what cancels out goes. Loop passes are left
 * out, and with them everything that would like to call memset().
 */
#define PASSES "function(sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>)"
#define TRIPLE "x86_64-unknown-linux-gnu"
/* What every x86-64 has: the region of one machine's tenant holds one version of the code. */
#define CPU	 "x86-64"
#define FEATURES "-x87,-mmx,-sse,-sse2,+soft-float"
/* The promise of jit.h, less what the compiler does not count: return address, saved registers. */
#define FRAME_MAX "960"

struct compiler {
	struct jit_unit unit;
	LLVMTargetMachineRef machine;
	LLVMMemoryBufferRef object;
	bool complained; /* LLVM had something to say; the first is in unit.reason */
};

static LLVMTargetMachineRef target_machine(struct reason *reason)
{
	static LLVMTargetMachineRef machine;
	LLVMTargetRef target;
	char *error = NULL;

	if (machine)
		return machine;
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	if (LLVMGetTargetFromTriple(TRIPLE, &target, &error)) {
		reason_set(reason, -EOPNOTSUPP, "LLVM has no x86-64: %s", error);
		LLVMDisposeMessage(error);
		return NULL;
	}
	machine = LLVMCreateTargetMachine(target, TRIPLE, CPU, FEATURES, LLVMCodeGenLevelLess,
					  LLVMRelocPIC, LLVMCodeModelSmall);
	return machine;
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
	LLVMErrorRef error = LLVMRunPasses(c->unit.module, PASSES, c->machine, options);
	char *text;
	int r = 0;

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

/* "map.N" is map N's record, "data.N" its memory; the rest are runtime functions. */
static uint64_t resolve_symbol(const char *name, void *data)
{
	const struct jit_unit *unit = data;
	unsigned index;

	if (sscanf(name, "map.%u", &index) == 1)
		return index < unit->prog->map_cnt ? unit->prog->maps[index].offset : 0;
	if (sscanf(name, "data.%u", &index) == 1)
		return index < unit->prog->map_cnt ? unit->prog->maps[index].map.data : 0;
	return unit->resolve(name, unit->data);
}

static int link_program(struct compiler *c, void **ret_code, size_t *ret_len)
{
	const struct link_request request = {
		.object = LLVMGetBufferStart(c->object),
		.size = LLVMGetBufferSize(c->object),
		.entry = "prog",
		.place = c->unit.prog->code_offset,
		.resolve = resolve_symbol,
		.data = &c->unit,
	};

	return link_object(&request, ret_code, ret_len, c->unit.reason);
}

static int compile(struct compiler *c, void **ret_code, size_t *ret_len)
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
	return r < 0 ? r : link_program(c, ret_code, ret_len);
}

int jit_compile_for(const struct jit_prog *prog, const struct jit_runtime *runtime, void **ret_code,
		    size_t *ret_len, struct reason *reason)
{
	struct compiler c = {.unit = {.prog = prog,
				      .resolve = runtime->resolve,
				      .data = runtime->data,
				      .reason = reason}};
	LLVMTargetDataRef layout;
	int r;

	reason_clear(reason);
	c.machine = target_machine(reason);
	if (!c.machine)
		return -EOPNOTSUPP;
	unit_init(&c.unit);
	LLVMContextSetDiagnosticHandler(c.unit.context, diagnostic, &c);
	LLVMSetTarget(c.unit.module, TRIPLE);
	layout = LLVMCreateTargetDataLayout(c.machine);
	LLVMSetModuleDataLayout(c.unit.module, layout);
	LLVMDisposeTargetData(layout);
	r = compile(&c, ret_code, ret_len);
	if (c.object)
		LLVMDisposeMemoryBuffer(c.object);
	unit_deinit(&c.unit);
	return r;
}
