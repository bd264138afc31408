/* SPDX-License-Identifier: MIT */
/*
 * eBPF to x86-64 through LLVM, laid out for one place in the region. Only the worker links this.
 */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "shim/region.h"
#include "vm/link.h"

/**
 * enum jit_tier - how much is done for the code
 * @JIT_FAST: what a tool waits for
 * @JIT_FULL: what runs from then on; several times the time, less stack and time of each hit
 */
enum jit_tier {
	JIT_FAST,
	JIT_FULL,
};

/**
 * struct jit_prog - an accepted program; borrowed
 * @insns: as in struct verifier_prog: maps by index
 * @maps: their records; where they and their memory stand is not looked at
 * @zero_stack: so many bytes of each function's stack are zero at first; what is read of the others
 *	before it was written is undefined
 */
struct jit_prog {
	const struct bpf_insn *insns;
	uint32_t cnt;
	const struct region_map *maps;
	uint32_t map_cnt;
	uint32_t zero_stack;
	enum jit_tier tier;
};

/**
 * jit_compile() - machine code and constants for @prog, to be placed by code_place()
 * @ret_result: owned by the caller (link_result_deinit()); the entry point is the first byte of the code
 *
 * The code calls runtime functions and reaches maps relative to its own place, uses no vector or
 * x87 register, no symbol outside of the runtime, and at most 1 KiB of stack for each function of the
 * program. All of that holds for either tier; where the fast one would need more stack, because it
 * keeps most values there, it takes more time instead.
 *
 * Errors: -EOPNOTSUPP with a reason for an instruction, helper or relocation it does not know,
 * -EINVAL malformed, -ENOMEM.
 */
int jit_compile(const struct jit_prog *prog, struct link_result *ret_result, struct reason *reason);
