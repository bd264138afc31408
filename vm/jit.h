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

/**
 * struct jit_map - a map the program names
 * @map: its record
 * @offset: where that record stands in the region
 */
struct jit_map {
	struct region_map map;
	uint64_t offset;
};

/**
 * struct jit_prog - an accepted program; borrowed
 * @insns: as in struct verifier_prog: maps by index
 * @zero_stack: so many bytes of each function's stack are zero at first; what is read of the others
 *	before it was written is undefined
 * @code_offset: where in the region the code will stand (64-byte aligned)
 */
struct jit_prog {
	const struct bpf_insn *insns;
	uint32_t cnt;
	const struct jit_map *maps;
	uint32_t map_cnt;
	uint32_t zero_stack;
	uint64_t code_offset;
};

/**
 * jit_compile() - machine code and constants for @prog, position resolved
 * @ret_code: owned by the caller (free); the entry point is its first byte
 *
 * The code calls runtime functions and reaches maps relative to its own place, uses no vector or
 * x87 register, no symbol outside of the runtime, and at most 1 KiB of stack for each function of the
 * program.
 *
 * Errors: -EOPNOTSUPP with a reason for an instruction, helper or relocation it does not know,
 * -EINVAL malformed, -ENOMEM.
 */
int jit_compile(const struct jit_prog *prog, void **ret_code, size_t *ret_len,
		struct reason *reason);
