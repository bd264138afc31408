/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic and comparisons. Source: RFC 9669 sections 4.1, 4.2 and 4.3.
 */
#include <errno.h>

#include "vm/interp/run.h"

static bool is_wide(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_ALU64 || BPF_CLASS(insn->code) == BPF_JMP;
}

static uint64_t operand(const struct interp_run *run, const struct bpf_insn *insn)
{
	return BPF_SRC(insn->code) == BPF_X ? run->regs[insn->src_reg]
					    : (uint64_t)(int64_t)insn->imm;
}

/* The low @bits of @value, sign-extended. */
static uint64_t extend(uint64_t value, int bits)
{
	return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* Division by 0 gives 0, and its rest is what was divided. */
static uint64_t divide(uint64_t a, uint64_t b, bool rest)
{
	if (b == 0)
		return rest ? a : 0;
	return rest ? a % b : a / b;
}

static uint64_t divide_signed(int64_t a, int64_t b, bool rest)
{
	if (b == 0)
		return rest ? (uint64_t)a : 0;
	/* The one quotient that does not fit: it wraps, and the rest is 0. */
	if (b == -1)
		return rest ? 0 : 0 - (uint64_t)a;
	return (uint64_t)(rest ? a % b : a / b);
}

static uint64_t quotient(const struct bpf_insn *insn, uint64_t a, uint64_t b)
{
	const bool rest = BPF_OP(insn->code) == BPF_MOD;
	const int bits = is_wide(insn) ? 64 : 32;

	if (insn->off == 1)
		return divide_signed((int64_t)extend(a, bits), (int64_t)extend(b, bits), rest);
	return bits == 64 ? divide(a, b, rest) : divide((uint32_t)a, (uint32_t)b, rest);
}

static uint64_t shift(uint8_t op, uint64_t a, uint64_t by, bool wide)
{
	by &= wide ? 63 : 31;
	if (op == BPF_LSH)
		return a << by;
	if (op == BPF_RSH)
		return (wide ? a : (uint32_t)a) >> by;
	return (uint64_t)((int64_t)extend(a, wide ? 64 : 32) >> by);
}

/* BPF_END: to little or big endian, or (ALU64) swapped. */
static int swap(struct interp_run *run, const struct bpf_insn *insn)
{
	uint64_t *dst = &run->regs[insn->dst_reg];
	bool turn = is_wide(insn) || BPF_SRC(insn->code) == BPF_TO_BE;

	if ((is_wide(insn) && BPF_SRC(insn->code)) ||
	    (insn->imm != 16 && insn->imm != 32 && insn->imm != 64))
		return interp_fail(run, -EINVAL, "no such byte order");
	if (turn)
		*dst = __builtin_bswap64(*dst) >> (64 - insn->imm);
	else if (insn->imm < 64)
		*dst &= (1ull << insn->imm) - 1;
	return 0;
}

static bool knows_off(const struct bpf_insn *insn)
{
	switch (BPF_OP(insn->code)) {
	case BPF_DIV:
	case BPF_MOD:
		return insn->off == 0 || insn->off == 1;
	case BPF_MOV:
		if (insn->off == 0)
			return true;
		return BPF_SRC(insn->code) == BPF_X &&
		       (insn->off == 8 || insn->off == 16 || (insn->off == 32 && is_wide(insn)));
	default:
		return insn->off == 0;
	}
}

static int compute(struct interp_run *run, const struct bpf_insn *insn, uint64_t a, uint64_t b,
		   uint64_t *ret)
{
	const uint8_t op = BPF_OP(insn->code);

	switch (op) {
	case BPF_ADD:
		*ret = a + b;
		return 0;
	case BPF_SUB:
		*ret = a - b;
		return 0;
	case BPF_MUL:
		*ret = a * b;
		return 0;
	case BPF_DIV:
	case BPF_MOD:
		*ret = quotient(insn, a, b);
		return 0;
	case BPF_OR:
		*ret = a | b;
		return 0;
	case BPF_AND:
		*ret = a & b;
		return 0;
	case BPF_XOR:
		*ret = a ^ b;
		return 0;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		*ret = shift(op, a, b, is_wide(insn));
		return 0;
	case BPF_NEG:
		*ret = 0 - a;
		return BPF_SRC(insn->code) == BPF_K ? 0 : -EINVAL;
	case BPF_MOV:
		*ret = insn->off ? extend(b, insn->off) : b;
		return 0;
	default:
		return -EINVAL;
	}
}

int interp_alu(struct interp_run *run, const struct bpf_insn *insn)
{
	uint64_t result = 0;

	if (insn->dst_reg == BPF_REG_10)
		return interp_fail(run, -EINVAL, "the frame pointer is read only");
	if (!knows_off(insn))
		return interp_fail(run, -EINVAL, "no such operation: offset %d", insn->off);
	if (BPF_OP(insn->code) == BPF_END)
		return swap(run, insn);
	if (compute(run, insn, run->regs[insn->dst_reg], operand(run, insn), &result) < 0)
		return interp_fail(run, -EINVAL, "no such operation: code 0x%02x", insn->code);
	run->regs[insn->dst_reg] = is_wide(insn) ? result : (uint32_t)result;
	return 0;
}

static int compare_signed(uint8_t op, int64_t a, int64_t b)
{
	switch (op) {
	case BPF_JSGT:
		return a > b;
	case BPF_JSGE:
		return a >= b;
	case BPF_JSLT:
		return a < b;
	case BPF_JSLE:
		return a <= b;
	default:
		return -EINVAL;
	}
}

static int compare(uint8_t op, uint64_t a, uint64_t b)
{
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSET:
		return (a & b) != 0;
	default:
		return -EINVAL;
	}
}

int interp_holds(struct interp_run *run, const struct bpf_insn *insn)
{
	uint64_t a = run->regs[insn->dst_reg], b = operand(run, insn);
	int r;

	if (!is_wide(insn)) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	r = compare(BPF_OP(insn->code), a, b);
	if (r < 0)
		r = compare_signed(BPF_OP(insn->code), (int64_t)extend(a, is_wide(insn) ? 64 : 32),
				   (int64_t)extend(b, is_wide(insn) ? 64 : 32));
	return r < 0 ? interp_fail(run, -EINVAL, "no such condition: code 0x%02x", insn->code) : r;
}
