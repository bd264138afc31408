/* SPDX-License-Identifier: MIT */
/*
 * What an instruction is and where it leads; see internal.h.
 */
#include "verifier/internal.h"

#define JCOND 0xe0 /* BPF_JCOND, include/uapi/linux/bpf.h, Linux 6.12 */

bool insn_is_ld_imm64(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_jump_class(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_JMP || BPF_CLASS(insn->code) == BPF_JMP32;
}

bool insn_is_call(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_CALL;
}

bool insn_calls(const struct bpf_insn *insn)
{
	return insn_is_call(insn) && insn->src_reg == BPF_PSEUDO_CALL;
}

bool insn_is_func(const struct bpf_insn *insn)
{
	return insn_is_ld_imm64(insn) && insn->src_reg == BPF_PSEUDO_FUNC;
}

bool insn_is_tail_call(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && !insn->src_reg &&
	       insn->imm == BPF_FUNC_tail_call;
}

bool insn_is_may_goto(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | JCOND);
}

static bool is_exit(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_EXIT;
}

static bool is_ja(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_JA;
}

int64_t insn_target(const struct bpf_insn *insn, uint32_t at)
{
	if (insn_calls(insn) || insn_is_func(insn) ||
	    (BPF_CLASS(insn->code) == BPF_JMP32 && is_ja(insn)))
		return (int64_t)at + 1 + insn->imm;
	return (int64_t)at + 1 + insn->off;
}

uint32_t insn_next(const struct bpf_insn *insn, uint32_t at, int64_t *ret)
{
	if (is_exit(insn))
		return 0;
	ret[0] = (int64_t)at + (insn_is_ld_imm64(insn) ? 2 : 1);
	if (!is_jump_class(insn) || insn_is_call(insn))
		return 1;
	if (is_ja(insn)) {
		ret[0] = insn_target(insn, at);
		return 1;
	}
	ret[1] = insn_target(insn, at);
	return 2;
}

static uint16_t bit(uint32_t reg)
{
	return (uint16_t)(1u << reg);
}

static uint16_t jump_reads(const struct bpf_insn *insn)
{
	if (is_exit(insn))
		return bit(0);
	if (insn_is_call(insn))
		return 0x3e;
	if (is_ja(insn) || insn_is_may_goto(insn))
		return 0;
	return BPF_SRC(insn->code) == BPF_X ? bit(insn->dst_reg) | bit(insn->src_reg)
					    : bit(insn->dst_reg);
}

void insn_uses(const struct bpf_insn *insn, uint16_t *ret_reads, uint16_t *ret_writes)
{
	uint16_t dst = bit(insn->dst_reg), src = bit(insn->src_reg);

	*ret_reads = *ret_writes = 0;
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		*ret_writes = dst;
		*ret_reads = BPF_OP(insn->code) == BPF_MOV ? 0 : dst;
		if (BPF_SRC(insn->code) == BPF_X)
			*ret_reads |= src;
		break;
	case BPF_LD:
		*ret_writes = dst;
		if (!insn_is_ld_imm64(insn)) { /* of a packet */
			*ret_writes = 0x3f;
			*ret_reads = bit(6) | src;
		}
		break;
	case BPF_LDX:
		*ret_writes = dst;
		*ret_reads = src;
		break;
	case BPF_ST:
		*ret_reads = dst;
		break;
	case BPF_STX:
		*ret_reads = dst | src;
		if (BPF_MODE(insn->code) == BPF_ATOMIC)
			*ret_reads |= bit(0);
		break;
	default:
		*ret_reads = jump_reads(insn);
		*ret_writes = insn_is_call(insn) ? 0x3f : 0;
	}
}
