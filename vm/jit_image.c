/* SPDX-License-Identifier: MIT */
/*
 * The JIT for the runtime this program was built with: helpers stand where the image has them.
 */
#include "vm/jit.h"

#include "vm/jit_unit.h"
#include "vm/runtime/image.h"

static uint64_t resolve(const char *name, void *data)
{
	return runtime_symbol(name);
}

int jit_compile(const struct jit_prog *prog, struct link_result *ret_result, struct reason *reason)
{
	const struct jit_runtime runtime = {.resolve = resolve};

	return jit_compile_for(prog, &runtime, ret_result, reason);
}
