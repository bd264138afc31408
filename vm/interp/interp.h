/* SPDX-License-Identifier: MIT */
/*
 * An interpreter of eBPF: every instruction of RFC 9669 up to -mcpu=v4, and of Linux' newer ones
 * load-acquire, store-release and may_goto. Slow, small, and checked: what the compiler makes of a
 * program is compared with it, and the verifier's claims are tried on it.
 *
 * Takes any bytes for a program. Memory is only touched where the caller says that there is some.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"

#define INTERP_REGS	  11u
#define INTERP_FRAMES	  8u   /* MAX_CALL_FRAMES, include/linux/bpf_verifier.h, Linux 6.18 */
#define INTERP_STACK	  512u /* bytes of a frame */
#define INTERP_TAIL_CALLS 33u  /* MAX_TAIL_CALL_CNT, include/linux/bpf.h */
#define INTERP_HELPERS	  256u

struct interp_run;

/** interp_helper - @args: r1 to r5. Return: r0. */
typedef uint64_t (*interp_helper)(struct interp_run *run, const uint64_t args[5]);

/** struct interp_memory - bytes that the program may read, and write */
struct interp_memory {
	uint64_t start, len;
	bool writable;
};

/**
 * struct interp_step - the program just before an instruction
 * @at: of the program at hand (tail calls change it), @frame: depth of calls
 * @regs: r0 to r10
 */
struct interp_step {
	const struct bpf_insn *insns;
	uint32_t at, frame;
	const uint64_t *regs;
};

/**
 * struct interp - how programs are run; everything borrowed
 * @budget: instructions until the run is given up
 * @helpers: by number; NULL for what there is not
 * @memory, @memory_cnt: besides the stack
 * @constant: value of an ld_imm64 that names a map (@insn is its first half): 0 or -errno;
 *	NULL: there are none
 * @tail_call: the program at @index of the map whose value is @map: 0, or -errno when there is none
 *	and the call goes on; NULL: there are none
 * @step: called before each instruction; anything but 0 ends the run with that error
 * @allows: whether the program may also read (@write: write) these bytes, @len of them and at least
 *	one; NULL: nothing but @memory and the stack
 * @data: for those
 */
struct interp {
	uint64_t budget;
	const interp_helper *helpers;
	const struct interp_memory *memory;
	uint32_t memory_cnt;
	int (*constant)(void *data, const struct bpf_insn *insn, uint64_t *ret_value);
	int (*tail_call)(void *data, uint64_t map, uint64_t index,
			 const struct bpf_insn **ret_insns, uint32_t *ret_cnt);
	int (*step)(void *data, const struct interp_step *step);
	bool (*allows)(void *data, uint64_t address, uint64_t len, bool write);
	void *data;
};

/**
 * interp_run() - run a program to its end
 * @args: r1 to r5 at its start
 * @ret_r0: untouched on failure
 *
 * Errors, all with a reason that names the instruction: -EINVAL no such instruction, a jump or a
 * call out of the program, no such helper; -EFAULT memory that is not the program's; -E2BIG more
 * frames than INTERP_FRAMES; -ETIMEDOUT the budget is used up; what a hook returned.
 */
int interp_run(const struct interp *interp, const struct bpf_insn *insns, uint32_t cnt,
	       const uint64_t args[5], uint64_t *ret_r0, struct reason *reason);

/** interp_data() - @data of the interpreter, for helpers */
void *interp_data(const struct interp_run *run);

/**
 * interp_callback() - for helpers: call a function of the program
 * @function: as ld_imm64 with BPF_PSEUDO_FUNC gave it
 *
 * Return: 0 and @ret_r0, or the error with which the whole run will end.
 */
int interp_callback(struct interp_run *run, uint64_t function, const uint64_t args[5],
		    uint64_t *ret_r0);

/** interp_allows() - for helpers: whether the program may read, or @write, these bytes itself */
bool interp_allows(const struct interp_run *run, uint64_t address, uint64_t len, bool write);

/** interp_refuse() - for helpers: end the run with @error. Return: 0, to be returned. */
uint64_t interp_refuse(struct interp_run *run, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
