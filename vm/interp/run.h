/* SPDX-License-Identifier: MIT */
/*
 * What the interpreter's files share: a run under way.
 */
#pragma once

#include "vm/interp/interp.h"

/* Newer than Debian 12's header. Source: include/uapi/linux/bpf.h, Linux 6.18, and RFC 9669. */
#define INTERP_MEMSX	     0x80
#define INTERP_JCOND	     0xe0
#define INTERP_LOAD_ACQUIRE  0x100
#define INTERP_STORE_RELEASE 0x110

/* In the upper half of a function's "address"; the lower half is its first instruction. */
#define INTERP_FUNCTION 0xb9f5419f00000000ull

/**
 * struct interp_frame - one function's
 * @back: instruction behind the call
 * @saved: r6 to r9 of the caller
 * @loops: turns of may_goto left
 */
struct interp_frame {
	uint32_t back;
	uint64_t saved[4];
	uint64_t loops;
};

/**
 * struct interp_run
 * @stack: of all frames; frame N has the bytes from N * INTERP_STACK
 * @failed: error of a callback, which ends the run
 */
struct interp_run {
	const struct interp *interp;
	const struct bpf_insn *insns;
	uint32_t cnt, at, frame, tail_calls;
	uint64_t left;
	uint64_t regs[INTERP_REGS];
	struct interp_frame frames[INTERP_FRAMES];
	_Alignas(16) unsigned char stack[INTERP_FRAMES * INTERP_STACK];
	int failed;
	struct reason *reason;
};

/** interp_fail() - name the instruction at hand, and what is wrong with it. Return: @error. */
int interp_fail(struct interp_run *run, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One instruction each: 0 or -errno with a reason. */

/** interp_alu() - alu.c: BPF_ALU and BPF_ALU64 */
int interp_alu(struct interp_run *run, const struct bpf_insn *insn);
/** interp_holds() - alu.c: condition of a jump: 1, 0, or -EINVAL */
int interp_holds(struct interp_run *run, const struct bpf_insn *insn);
/* memory.c */
int interp_load(struct interp_run *run, const struct bpf_insn *insn);
int interp_store(struct interp_run *run, const struct bpf_insn *insn);
int interp_atomic(struct interp_run *run, const struct bpf_insn *insn);
