/* SPDX-License-Identifier: MIT */
/*
 * Conditional jumps: what each way tells about the registers.
 */
#include <errno.h>
#include <stdlib.h>

#include "verifier/internal.h"
#include "verifier/packet.h"

int walk_push(struct walk *walk, struct state *state, uint32_t at)
{
	int r = 0;

	if (walk->pending_cnt == JUMPS_MAX)
		r = walk_fail(walk, -E2BIG, "The sequence of %u jumps is too complex.\n",
			      JUMPS_MAX);
	if (r == 0 && walk->pending_cnt == walk->pending_cap) {
		uint32_t cap = walk->pending_cap ? walk->pending_cap * 2 : 32;
		struct pending *grown = realloc(walk->pending, cap * sizeof(*grown));

		if (grown) {
			walk->pending = grown;
			walk->pending_cap = cap;
		} else {
			r = -ENOMEM;
		}
	}
	if (r < 0) {
		state_deinit(state);
		return r;
	}
	walk->pending[walk->pending_cnt++] =
		(struct pending){.state = *state,
				 .parent = walk->parent,
				 .at = at,
				 .from = walk->at,
				 .said = walk->text.dropped + walk->text.len};
	if (walk->parent) {
		walk->parent->refs++;
		walk->parent->branches++;
	}
	return 0;
}

static int push_copy(struct walk *walk, uint32_t at)
{
	struct state copy;
	int r = state_copy(&copy, &walk->state);

	return r < 0 ? r : walk_push(walk, &copy, at);
}

/** struct settle - a lookup's result that turns out to be nothing, or something */
struct settle {
	const struct walk *walk;
	bool null;
};

static bool may_be_null(const struct reg *reg)
{
	return reg->type == REG_VALUE_OR_NULL || reg->type == REG_RECORD_OR_NULL ||
	       reg->type == REG_SLICE_OR_NULL;
}

static void settle_reg(struct reg *reg, void *data)
{
	const struct settle *settle = data;

	if (!may_be_null(reg))
		return;
	if (settle->null) {
		reg_set_const(reg, 0);
	} else if (reg->type == REG_RECORD_OR_NULL) {
		reg->type = REG_RECORD;
	} else if (reg->type == REG_SLICE_OR_NULL) {
		reg->type = REG_SLICE;
		reg->id = 0;
	} else if (!reg->inner && settle->walk->prog->maps[reg->map].inner.type) {
		*reg = (struct reg){
			.type = REG_MAP, .inner = true, .map = reg->map, .r64 = range_const(0, 64)};
	} else {
		reg->type = REG_VALUE;
		/* Which value's lock it is is told apart by that. */
		if (!settle->walk->prog->maps[reg->map].fields.kinds)
			reg->id = 0;
	}
}

/* All that came from call @id is null, or is not. */
static int settle_null(const struct walk *walk, struct state *state, uint32_t id, bool null)
{
	struct settle settle = {walk, null};

	/* What was not acquired need not be released. */
	for (uint32_t i = 0; null && i < state->ref_cnt; i++)
		if (state->refs[i].id == id)
			state->refs[i--] = state->refs[--state->ref_cnt];
	return state_each(state, id, settle_reg, &settle);
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

static void set_ranges(struct reg *reg, const struct reg *from)
{
	reg->r64 = from->r64;
	reg->r32 = from->r32;
}

/* Both registers of a comparison narrow each other; what needs one needs both. */
static int enter_way(struct walk *walk, struct state *state, const struct bpf_insn *insn,
		     const struct way *way)
{
	struct reg *regs = state->top.regs;
	bool two = BPF_SRC(insn->code) == BPF_X && insn->src_reg != insn->dst_reg;
	int r = 0;

	set_ranges(&regs[insn->dst_reg], &way->dst);
	if (two) {
		set_ranges(&regs[insn->src_reg], &way->src);
		regs[insn->dst_reg].origin = regs[insn->src_reg].origin =
			origin_join(&walk->origins, way->dst.origin, way->src.origin);
		r = link_learn(walk, state, insn->src_reg);
	}
	return r < 0 ? r : link_learn(walk, state, insn->dst_reg);
}

/* Addresses: nothing is learnt, both ways are open. */
static int branch_unknown(struct walk *walk, uint32_t taken, uint32_t *ret_next)
{
	*ret_next = walk->at + 1;
	return push_copy(walk, taken);
}

static int branch_both(struct walk *walk, const struct bpf_insn *insn, const struct way *jump,
		       const struct way *fall, uint32_t taken)
{
	struct state other;
	int r = link_limit(walk, insn->dst_reg, BPF_SRC(insn->code) == BPF_X ? insn->src_reg : -1);

	if (r == 0)
		r = state_copy(&other, &walk->state);
	if (r < 0)
		return r;
	r = enter_way(walk, &other, insn, jump);
	if (r < 0) {
		state_deinit(&other);
		return r;
	}
	r = walk_push(walk, &other, taken);
	return r < 0 ? r : enter_way(walk, &walk->state, insn, fall);
}

static int branch_scalars(struct walk *walk, const struct bpf_insn *insn, const struct reg *src,
			  uint32_t taken, uint32_t *ret_next)
{
	const struct reg dst = *walk_reg(walk, insn->dst_reg);
	struct way jump, fall;

	try_way(&jump, insn, true, &dst, src);
	try_way(&fall, insn, false, &dst, src);
	/*
	 * Some number in it goes one way or the other. When there is none this path is one that
	 * cannot be, which showed only now; nothing is made of that.
	 */
	if (!jump.open && !fall.open)
		return branch_unknown(walk, taken, ret_next);
	*ret_next = fall.open ? walk->at + 1 : taken;
	if (jump.open && fall.open)
		return branch_both(walk, insn, &jump, &fall, taken);
	/* The other way was left out because of what the numbers are. */
	need_value(walk, &dst);
	need_value(walk, src);
	return enter_way(walk, &walk->state, insn, fall.open ? &fall : &jump);
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
	const uint32_t id = walk_reg(walk, insn->dst_reg)->id;
	bool jump_if_null = BPF_OP(insn->code) == BPF_JEQ;
	struct state other;
	int r = state_copy(&other, &walk->state);

	if (r < 0)
		return r;
	r = settle_null(walk, &other, id, jump_if_null);
	if (r < 0) {
		state_deinit(&other);
		return r;
	}
	*ret_next = walk->at + 1;
	r = walk_push(walk, &other, taken);
	return r < 0 ? r : settle_null(walk, &walk->state, id, !jump_if_null);
}

int branch_may_goto(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next)
{
	struct state other;
	int r;

	if (insn->src_reg || insn->dst_reg || insn->imm)
		return walk_fail(walk, -EINVAL, "invalid may_goto imm %d\n", insn->imm);
	*ret_next = (uint32_t)insn_target(insn, walk->at);
	r = state_copy(&other, &walk->state);
	if (r < 0)
		return r;
	other.may_gotos++;
	r = explored_widen(walk, &other, walk->at);
	if (r < 0) {
		state_deinit(&other);
		return r;
	}
	return walk_push(walk, &other, walk->at + 1);
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
	*ret_src = *walk_reg(walk, insn->src_reg);
	return r;
}

/* Addresses that are known to be some. Source: reg_not_null(), 6.18. */
static bool is_not_null(const struct reg *reg)
{
	return reg->type == REG_VALUE || reg->type == REG_RECORD || reg->type == REG_KEY ||
	       reg->type == REG_MAP || reg->type == REG_SLICE;
}

int branch_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next)
{
	const struct reg *dst = walk_reg(walk, insn->dst_reg);
	uint32_t taken = (uint32_t)((int64_t)walk->at + 1 + insn->off);
	struct reg src;
	int r = get_operands(walk, insn, &src);

	if (r < 0)
		return r;
	if (dst->type == REG_SCALAR && src.type == REG_SCALAR)
		return branch_scalars(walk, insn, &src, taken, ret_next);
	if (may_be_null(dst) && is_null_check(insn))
		return branch_null(walk, insn, taken, ret_next);
	if (is_not_null(dst) && is_null_check(insn)) {
		*ret_next = BPF_OP(insn->code) == BPF_JEQ ? walk->at + 1 : taken;
		return 0;
	}
	r = packet_branch(walk, insn, &src, taken, ret_next);
	if (r)
		return r < 0 ? r : 0;
	return branch_unknown(walk, taken, ret_next);
}
