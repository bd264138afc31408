/* SPDX-License-Identifier: MIT */
/*
 * LLVM's own linker and loader (ORC's LLJIT) for programs that run in the process that compiled
 * them, which is nobody's target. The object is the one that link.h lays out for regions, so that
 * the two linkers check one another.
 */
#pragma once

#include "base/reason.h"
#include "vm/jit.h"

/** struct jit_orc_symbol - function @name of the runtime stands at address @at here */
struct jit_orc_symbol {
	const char *name;
	const void *at;
};

struct jit_orc;

/**
 * jit_orc_load() - compile @prog and load it for this process
 * @symbols: @symbol_cnt, borrowed for the call; all that the program may refer to. Maps have no
 *place here: who uses one is refused.
 * @ret_orc: owned by the caller, jit_orc_unload()
 * @ret_entry: the program, code until then; takes its context and a struct rt_run
 *
 * Errors: as jit_compile(), and -EOPNOTSUPP with LLVM's words for what it does not load.
 */
int jit_orc_load(const struct jit_prog *prog, const struct jit_orc_symbol *symbols,
		 size_t symbol_cnt, struct jit_orc **ret_orc, void **ret_entry,
		 struct reason *reason);
void jit_orc_unload(struct jit_orc *orc);
