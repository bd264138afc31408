/* SPDX-License-Identifier: MIT */
/*
 * Which opcodes there are. Asked of every instruction before the walk, so that what no path reaches
 * is made of instructions as well. Source: RFC 9669 sections 4 and 5.
 */
#include <errno.h>

#include "verifier/internal.h"

#define MEMSX 0x80
#define JCOND 0xe0

static bool is_alu(uint8_t code)
{
	uint8_t op = BPF_OP(code);

	if (op == BPF_NEG)
		return BPF_SRC(code) == BPF_K;
	if (op == BPF_END)
		return BPF_CLASS(code) == BPF_ALU || BPF_SRC(code) == BPF_K;
	return op < BPF_END;
}

static bool is_jump(uint8_t code)
{
	switch (BPF_OP(code)) {
	case BPF_JA:
		return BPF_SRC(code) == BPF_K;
	case BPF_CALL:
	case BPF_EXIT:
		return BPF_SRC(code) == BPF_K && BPF_CLASS(code) == BPF_JMP;
	case JCOND:
		return code == (BPF_JMP | JCOND);
	default:
		return BPF_OP(code) <= BPF_JSLE;
	}
}

static bool is_known(uint8_t code)
{
	switch (BPF_CLASS(code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return is_alu(code);
	case BPF_JMP:
	case BPF_JMP32:
		return is_jump(code);
	case BPF_LD:
		return code == (BPF_LD | BPF_IMM | BPF_DW) ||
		       ((BPF_MODE(code) == BPF_ABS || BPF_MODE(code) == BPF_IND) &&
			BPF_SIZE(code) != BPF_DW);
	case BPF_LDX:
		return BPF_MODE(code) == BPF_MEM ||
		       (BPF_MODE(code) == MEMSX && BPF_SIZE(code) != BPF_DW);
	case BPF_ST:
		return BPF_MODE(code) == BPF_MEM;
	default: /* BPF_STX; whether there is an atomic of this size is for the walk to say */
		return BPF_MODE(code) == BPF_MEM || BPF_MODE(code) == BPF_ATOMIC;
	}
}

/* Known to the kernel, not here. */
static const char *missing(const struct bpf_insn *insn)
{
	if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
		return "kernel functions";
	return NULL;
}

int opcode_check(struct walk *walk, const struct bpf_insn *insn)
{
	const char *what = missing(insn);

	if (what)
		return walk_fail(walk, -EOPNOTSUPP, "not supported by this verifier: %s\n", what);
	if (!is_known(insn->code))
		return walk_fail(walk, -EINVAL, "unknown opcode %02x\n", insn->code);
	/* Of the fields only this one is looked at where nothing leads, as the kernel does. */
	if (BPF_CLASS(insn->code) == BPF_LDX && insn->imm)
		return walk_fail(walk, -EINVAL, "BPF_LDX uses reserved fields\n");
	return 0;
}
