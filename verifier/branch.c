/* SPDX-License-Identifier: MIT */
/*
 * Conditional jumps: what each way tells about the registers.
 */
#include <errno.h>
#include <stdlib.h>

#include "verifier/internal.h"

int walk_push(struct walk *walk, const struct state *state, uint32_t at)
{
	struct pending *grown;
	int r;

	if (walk->pending_cnt == JUMPS_MAX)
		return walk_fail(walk, -E2BIG, "The sequence of %u jumps is too complex.\n",
				 JUMPS_MAX);
	if (walk->pending_cnt == walk->pending_cap) {
		uint32_t cap = walk->pending_cap ? walk->pending_cap * 2 : 32;

		grown = realloc(walk->pending, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		walk->pending = grown;
		walk->pending_cap = cap;
	}
	r = state_copy(&walk->pending[walk->pending_cnt].state, state);
	if (r < 0)
		return r;
	walk->pending[walk->pending_cnt++].at = at;
	return 0;
}

/* All that came from lookup @id is null, or is not. */
static void settle_null(struct state *state, uint32_t id, bool null)
{
	struct reg *reg;

	for (uint32_t i = 0; i < REGS + state->slot_cnt; i++) {
		if (i >= REGS && state->slots[i - REGS].bytes[0] != BYTE_SPILL)
			continue;
		reg = i < REGS ? &state->regs[i] : &state->slots[i - REGS].spilled;
		if (reg->type != REG_VALUE_OR_NULL || reg->id != id)
			continue;
		if (null) {
			reg_set_const(reg, 0);
		} else {
			reg->type = REG_VALUE;
			reg->id = 0;
		}
	}
}

/* One way of a comparison of scalars. Return: false when nothing goes that way. */
static bool narrow(uint8_t op, bool holds, bool wide, struct reg *a, struct reg *b)
{
	if (!range_branch(op, holds, wide ? &a->r64 : &a->r32, wide ? &b->r64 : &b->r32,
			  wide ? 64 : 32))
		return false;
	return reg_narrow(a) && reg_narrow(b);
}

struct way {
	bool open;
	struct reg dst, src;
};

static void try_way(struct way *way, const struct bpf_insn *insn, bool holds, const struct reg *dst,
		    const struct reg *src)
{
	way->dst = *dst;
	way->src = *src;
	way->open = narrow(BPF_OP(insn->code), holds, BPF_CLASS(insn->code) == BPF_JMP, &way->dst,
			   &way->src);
}

static void enter_way(struct state *state, const struct bpf_insn *insn, const struct way *way)
{
	state->regs[insn->dst_reg] = way->dst;
	if (BPF_SRC(insn->code) == BPF_X && insn->src_reg != insn->dst_reg)
		state->regs[insn->src_reg] = way->src;
}

/* Addresses: nothing is learnt, both ways are open. */
static int branch_unknown(struct walk *walk, uint32_t taken, uint32_t *ret_next)
{
	*ret_next = walk->at + 1;
	return walk_push(walk, &walk->state, taken);
}

static int branch_scalars(struct walk *walk, const struct bpf_insn *insn, const struct reg *src,
			  uint32_t taken, uint32_t *ret_next)
{
	const struct reg dst = walk->state.regs[insn->dst_reg];
	struct way jump, fall;
	int r;

	try_way(&jump, insn, true, &dst, src);
	try_way(&fall, insn, false, &dst, src);
	/*
	 * Some number in it goes one way or the other. When there is none this path is one that
	 * cannot be, which showed only now; nothing is made of that.
	 */
	if (!jump.open && !fall.open)
		return branch_unknown(walk, taken, ret_next);
	if (jump.open && fall.open) {
		struct state other;

		r = state_copy(&other, &walk->state);
		if (r < 0)
			return r;
		enter_way(&other, insn, &jump);
		r = walk_push(walk, &other, taken);
		state_deinit(&other);
		if (r < 0)
			return r;
	}
	enter_way(&walk->state, insn, fall.open ? &fall : &jump);
	*ret_next = fall.open ? walk->at + 1 : taken;
	return 0;
}

/* Only the number 0 itself will do, not a register that holds it. Source:
 * check_cond_jmp_op(), 6.12. */
static bool is_null_check(const struct bpf_insn *insn)
{
	return (insn->code == (BPF_JMP | BPF_JEQ | BPF_K) ||
		insn->code == (BPF_JMP | BPF_JNE | BPF_K)) &&
	       insn->imm == 0;
}

static int branch_null(struct walk *walk, const struct bpf_insn *insn, uint32_t taken,
		       uint32_t *ret_next)
{
	const struct reg reg = walk->state.regs[insn->dst_reg];
	bool jump_if_null = BPF_OP(insn->code) == BPF_JEQ;
	struct state other;
	int r = state_copy(&other, &walk->state);

	if (r < 0)
		return r;
	settle_null(&other, reg.id, jump_if_null);
	r = walk_push(walk, &other, taken);
	state_deinit(&other);
	settle_null(&walk->state, reg.id, !jump_if_null);
	*ret_next = walk->at + 1;
	return r;
}

static int get_operands(struct walk *walk, const struct bpf_insn *insn, struct reg *ret_src)
{
	int r = read_reg(walk, insn->dst_reg);

	if (BPF_SRC(insn->code) == BPF_K) {
		if (insn->src_reg)
			return walk_fail(walk, -EINVAL, "BPF_JMP/JMP32 uses reserved fields\n");
		reg_set_const(ret_src, (uint64_t)(int64_t)insn->imm);
		return r;
	}
	if (insn->imm)
		return walk_fail(walk, -EINVAL, "BPF_JMP/JMP32 uses reserved fields\n");
	if (r == 0)
		r = read_reg(walk, insn->src_reg);
	*ret_src = walk->state.regs[insn->src_reg];
	return r;
}

int branch_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next)
{
	const struct reg *dst = &walk->state.regs[insn->dst_reg];
	uint32_t taken = (uint32_t)((int64_t)walk->at + 1 + insn->off);
	struct reg src;
	int r = get_operands(walk, insn, &src);

	if (r < 0)
		return r;
	if (dst->type == REG_SCALAR && src.type == REG_SCALAR)
		return branch_scalars(walk, insn, &src, taken, ret_next);
	if (BPF_CLASS(insn->code) == BPF_JMP32)
		return walk_fail(walk, -EACCES, "R%d pointer comparison prohibited\n",
				 insn->dst_reg);
	if (dst->type == REG_VALUE_OR_NULL && is_null_check(insn))
		return branch_null(walk, insn, taken, ret_next);
	return branch_unknown(walk, taken, ret_next);
}
