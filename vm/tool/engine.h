/* SPDX-License-Identifier: MIT */
/*
 * The engines that bpfshim-vm has, each in a process of its own: a program that was never verified
 * may do anything there, but nothing outside of it.
 */
#pragma once

#include <linux/bpf.h>
#include <stdint.h>

#include "base/reason.h"

#define ENGINE_INSNS_MAX  (1u << 16)
#define ENGINE_MEMORY_MAX (1u << 15) /* bytes */

/**
 * struct engine_input - what to run
 * @memory, @memory_len: r1 is its address and r2 its length in bytes, both 0 when there is none;
 *	the program works on a copy
 */
struct engine_input {
	const struct bpf_insn *insns;
	uint32_t cnt;
	const unsigned char *memory;
	uint32_t memory_len;
};

struct engine {
	const char *name;
	/* In the child. Return: 0 and @ret_r0, or -errno with a reason. */
	int (*run)(const struct engine_input *input, uint64_t *ret_r0, struct reason *reason);
};

/** engine_by_name() - interp, jit, orc or kernel; NULL for any other */
const struct engine *engine_by_name(const char *name);

/**
 * engine_run() - run a program to its end
 *
 * Errors: -EFAULT it died of a signal (bad memory, mostly), -ETIMEDOUT it did not end, -EAGAIN no
 * process could be made, and the engine's own; all with a reason.
 */
int engine_run(const struct engine *engine, const struct engine_input *input, uint64_t *ret_r0,
	       struct reason *reason);
