/* SPDX-License-Identifier: MIT */
/*
 * One LLJIT a program: it holds one library with the runtime's functions as absolute symbols and
 * the object.
 */
#include "vm/jit_orc.h"

#include <errno.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/jit_unit.h"

/* An opaque name for LLVM's. */
struct jit_orc;

static LLVMOrcLLJITRef lljit(struct jit_orc *orc)
{
	return (LLVMOrcLLJITRef)orc;
}

/* Return: 0 or -EOPNOTSUPP with LLVM's words, which are gone then. */
static int complain(LLVMErrorRef error, struct reason *reason)
{
	char *text;
	int r;

	if (!error)
		return 0;
	text = LLVMGetErrorMessage(error);
	r = reason_set(reason, -EOPNOTSUPP, "the compiler says: %s", text);
	LLVMDisposeErrorMessage(text);
	return r;
}

struct lookup {
	const struct jit_orc_symbol *symbols;
	size_t cnt;
};

/* Where it stands is LLVM's matter; that it exists is the translation's. */
static uint64_t resolve(const char *name, void *data)
{
	const struct lookup *lookup = data;

	for (size_t i = 0; i < lookup->cnt; i++)
		if (strcmp(lookup->symbols[i].name, name) == 0)
			return (uintptr_t)lookup->symbols[i].at;
	return 0;
}

static int define(LLVMOrcLLJITRef jit, const struct lookup *lookup, struct reason *reason)
{
	const LLVMJITSymbolFlags flags = {
		LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0};
	LLVMOrcMaterializationUnitRef unit;
	LLVMOrcCSymbolMapPair *pairs;
	LLVMErrorRef error;

	if (lookup->cnt == 0)
		return 0;
	pairs = calloc(lookup->cnt, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	for (size_t i = 0; i < lookup->cnt; i++) {
		pairs[i].Name = LLVMOrcLLJITMangleAndIntern(jit, lookup->symbols[i].name);
		pairs[i].Sym.Address = (uintptr_t)lookup->symbols[i].at;
		pairs[i].Sym.Flags = flags;
	}
	unit = LLVMOrcAbsoluteSymbols(pairs, lookup->cnt);
	free(pairs);
	error = LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), unit);
	if (error)
		LLVMOrcDisposeMaterializationUnit(unit);
	return complain(error, reason);
}

/* Takes @object. */
static int load(LLVMOrcLLJITRef jit, const struct lookup *lookup, LLVMMemoryBufferRef object,
		LLVMOrcExecutorAddress *ret_entry, struct reason *reason)
{
	int r = define(jit, lookup, reason);

	if (r < 0) {
		LLVMDisposeMemoryBuffer(object);
		return r;
	}
	r = complain(LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), object),
		     reason);
	if (r < 0)
		return r;
	return complain(LLVMOrcLLJITLookup(jit, ret_entry, JIT_ENTRY), reason);
}

int jit_orc_load(const struct jit_prog *prog, const struct jit_orc_symbol *symbols,
		 size_t symbol_cnt, struct jit_orc **ret_orc, void **ret_entry,
		 struct reason *reason)
{
	struct lookup lookup = {symbols, symbol_cnt};
	const struct jit_runtime runtime = {.resolve = resolve, .data = &lookup};
	LLVMOrcExecutorAddress entry = 0;
	LLVMMemoryBufferRef object;
	LLVMOrcLLJITRef jit;
	int r;

	r = jit_object_for(prog, &runtime, &object, reason);
	if (r < 0)
		return r;
	r = complain(LLVMOrcCreateLLJIT(&jit, NULL), reason);
	if (r < 0) {
		LLVMDisposeMemoryBuffer(object);
		return r;
	}
	r = load(jit, &lookup, object, &entry, reason);
	if (r < 0) {
		jit_orc_unload((struct jit_orc *)jit);
		return r;
	}
	*ret_orc = (struct jit_orc *)jit;
	*ret_entry = (void *)(uintptr_t)entry;
	return 0;
}

void jit_orc_unload(struct jit_orc *orc)
{
	LLVMErrorRef error = LLVMOrcDisposeLLJIT(lljit(orc));

	if (error)
		LLVMConsumeError(error);
}
