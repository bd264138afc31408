/* SPDX-License-Identifier: MIT */
/*
 * What the files of the verifier share while a program is walked.
 */
#pragma once

#include "verifier/state.h"
#include "verifier/verifier.h"

/** struct text - a log as it grows; the tail is kept when it is too much */
struct text {
	char *bytes;
	size_t len, cap, dropped;
};

/* A path that is still to be walked. */
struct pending {
	struct state state;
	uint32_t at;
};

/* A state that was walked from, at one instruction. */
struct explored {
	struct explored *next;
	struct state state;
};

enum touched { TOUCHED_NONE, TOUCHED_CTX, TOUCHED_MEMORY };

/**
 * struct walk - one verification
 * @at: instruction at hand; @state: of the path at hand
 * @live: per instruction, registers that may be read later
 * @touched: per instruction, what it accessed on the paths so far
 * @order, @order_cnt: instructions, each behind all that it leads to
 * @remembered: instructions that were processed when a state was last remembered
 * @target: per instruction, jumps or falls of a branch lead here: states are compared
 */
struct walk {
	const struct verifier_prog *prog;
	struct verifier_facts *facts;
	uint32_t level;
	struct text text;
	uint32_t at, last_id;
	struct state state;
	struct pending *pending;
	uint32_t pending_cnt, pending_cap;
	struct explored **explored;
	uint16_t *live;
	uint32_t *order, order_cnt;
	uint8_t *target, *touched;
	uint32_t states, peak, remembered;
};

/** walk_say() - add to the log */
void walk_say(struct walk *walk, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** walk_fail() - say why and return @error */
int walk_fail(struct walk *walk, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** opcode_check() - opcodes.c: that there is such an instruction */
int opcode_check(struct walk *walk, const struct bpf_insn *insn);

/* cfg.c */
int cfg_check(struct walk *walk);

/* memory.c: @size in bytes */
int memory_load(struct walk *walk, const struct bpf_insn *insn);
int memory_store(struct walk *walk, const struct bpf_insn *insn);
int memory_atomic(struct walk *walk, const struct bpf_insn *insn);
/** memory_range() - a helper reads or writes up to @max bytes at what @reg points to */
int memory_range(struct walk *walk, uint32_t regno, uint64_t min, uint64_t max, bool write);
/** read_reg() - that a register holds something */
int read_reg(struct walk *walk, uint32_t regno);
const char *reg_type_name(enum reg_type type);

/* alu.c */
int alu_insn(struct walk *walk, const struct bpf_insn *insn);

/* call.c */
int call_insn(struct walk *walk, const struct bpf_insn *insn);

/* branch.c: Return 0, or -errno; @ret_next is where the path goes on, the other way may be pending
 */
int branch_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next);
/** walk_push() - walk @state from @at later; takes a copy */
int walk_push(struct walk *walk, const struct state *state, uint32_t at);
