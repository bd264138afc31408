/* SPDX-License-Identifier: MIT */
/*
 * Editing eBPF programs before they are loaded: instructions are inserted or replaced, and
 * whatever names an instruction by its position (jumps, calls, BTF records) follows.
 *
 * Everything here is pure and takes hostile input: a program that cannot be followed is refused
 * with a reason, all else that is wrong with it is left to the kernel's verifier.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"

/* Longest program the kernel loads, before and after editing (instructions).
 * Source: include/linux/bpf.h BPF_COMPLEXITY_LIMIT_INSNS, Linux 6.18. */
#define INSNS_MAX 1000000u

/**
 * struct insns_records - one array of BTF records belonging to a program
 * @data: @cnt records of @rec_size bytes; each starts with a u32 position, the rest is opaque
 * @cnt: number of records
 * @rec_size: bytes per record, at least 4 and a multiple of 4 when @cnt is not 0
 */
struct insns_records {
	void *data;
	uint32_t cnt;
	uint32_t rec_size;
};

/**
 * struct insns_prog - a program as BPF_PROG_LOAD receives it
 * @insns: @cnt instructions
 * @func_info: struct bpf_func_info records, positions in instructions
 * @line_info: struct bpf_line_info records, positions in instructions
 * @core_relos: struct bpf_core_relo records, positions in *bytes*
 *
 * Owns: nothing by itself; as an input it borrows, as an output see insns_prog_deinit().
 * Source: kernel/bpf/verifier.c check_btf_func(), check_btf_line(), check_core_relo(), 6.18.
 */
struct insns_prog {
	struct bpf_insn *insns;
	uint32_t cnt;
	struct insns_records func_info;
	struct insns_records line_info;
	struct insns_records core_relos;
};

/** insns_prog_deinit() - free the arrays of a program that insns_apply() made; idempotent */
void insns_prog_deinit(struct insns_prog *prog);

/**
 * enum insns_edit_kind - what an edit does at an instruction
 * @INSNS_PROLOGUE: insert before it; runs on entry and on fall-through, jumps to it skip it
 * @INSNS_INSERT: insert before it; jumps to the instruction run the inserted ones too
 * @INSNS_REPLACE: put a sequence in its place; jumps land on the sequence's first instruction
 *
 * Calls, BPF_PSEUDO_FUNC references, func_info and line_info always name the first instruction
 * of everything emitted; core_relos stay with the original instruction (or its replacement).
 */
enum insns_edit_kind {
	INSNS_PROLOGUE,
	INSNS_INSERT,
	INSNS_REPLACE,
};

struct insns_edit {
	uint32_t at;
	enum insns_edit_kind kind;
	uint32_t start; /* first instruction in the pool */
	uint32_t cnt;
};

/**
 * struct insns_edits - a list of edits; all-zero is an empty list
 *
 * Owns: copies of the sequences; free with insns_edits_deinit().
 */
struct insns_edits {
	struct insns_edit *edits;
	uint32_t cnt;
	uint32_t cap;
	struct bpf_insn *pool;
	uint32_t pool_cnt;
	uint32_t pool_cap;
};

/**
 * insns_edits_add() - append an edit
 * @at: instruction index in the original program
 * @seq: copied; jumps inside it are kept as they are and must stay within it or reach its end
 * @cnt: instructions in @seq, at least 1
 *
 * Edits come in ascending order of (@at, @kind); only one INSNS_REPLACE per instruction.
 *
 * Errors: -EINVAL out of order or empty, -E2BIG past INSNS_MAX inserted instructions, -ENOMEM.
 */
int insns_edits_add(struct insns_edits *edits, uint32_t at, enum insns_edit_kind kind,
		    const struct bpf_insn *seq, uint32_t cnt);

/** insns_edits_deinit() - free the list; leaves an empty one */
void insns_edits_deinit(struct insns_edits *edits);

/**
 * insns_apply() - carry out all edits at once
 * @prog: the original, only read
 * @edits: may be empty: then the result is a validated copy
 * @ret_prog: the edited program, owned by the caller (insns_prog_deinit()); untouched on failure
 * @reason: may be NULL
 *
 * Time and memory are linear in the program, its records and the edits.
 *
 * Errors: -EINVAL malformed program or records (jump or call outside of the program, half an
 * ld_imm64, a position past the end), -E2BIG a jump no longer fits its 16 bits or the result is
 * longer than INSNS_MAX, -ENOMEM.
 */
int insns_apply(const struct insns_prog *prog, const struct insns_edits *edits,
		struct insns_prog *ret_prog, struct reason *reason);

/**
 * insns_subprogs() - where the subprograms start
 * @ret_starts: ascending, the first is 0; owned by the caller (free)
 * @ret_cnt: number of starts, at least 1
 * @reason: may be NULL
 *
 * Errors: -EINVAL a call or reference outside of the program, -ENOMEM.
 * Source: kernel/bpf/verifier.c add_subprog_and_kfunc(), Linux 6.18.
 */
int insns_subprogs(const struct bpf_insn *insns, uint32_t cnt, uint32_t **ret_starts,
		   uint32_t *ret_cnt, struct reason *reason);

static inline bool insn_is_ld_imm64(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

/** insn_is_helper_call() - a call of a kernel helper; its id is @insn->imm */
static inline bool insn_is_helper_call(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == 0;
}

/** enum insn_ref - how an instruction names another one */
enum insn_ref {
	INSN_REF_NONE,
	INSN_REF_OFF,	/* jump by off */
	INSN_REF_IMM,	/* gotol: jump by imm */
	INSN_REF_CALL,	/* bpf-to-bpf call by imm */
	INSN_REF_FUNC,	/* ld_imm64 of a function's address, by imm */
	INSN_REF_TABLE, /* computed jump (gotox): cannot be followed */
};

/** insn_ref() - classify; the distance counts from the following instruction in every case */
enum insn_ref insn_ref(const struct bpf_insn *insn);

/** insn_target() - index that @insn at @idx names; may lie outside of the program */
int64_t insn_target(const struct bpf_insn *insn, uint32_t idx);
