/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic: scalars, and pointers with an offset.
 */
#include <errno.h>

#include "verifier/internal.h"
#include "verifier/packet.h"

static const char *op_name(uint8_t op)
{
	static const char *const names[] = {"+=",  "-=",  "*=", "/=", "|=", "&=",   "<<=",
					    ">>=", "neg", "%=", "^=", "=",  "s>>=", "end"};

	return op >> 4 < sizeof(names) / sizeof(names[0]) ? names[op >> 4] : "?";
}

/* The second operand as a scalar. */
static int operand(struct walk *walk, const struct bpf_insn *insn, struct reg *ret)
{
	int r;

	if (BPF_SRC(insn->code) == BPF_K) {
		reg_set_const(ret, (uint64_t)(int64_t)insn->imm);
		return 0;
	}
	r = read_reg(walk, insn->src_reg);
	if (r == 0)
		*ret = *walk_reg(walk, insn->src_reg);
	return r;
}

/* How far down it may lead; how far up is asked where it is used. Source:
 * check_reg_sane_offset(), 6.12. */
static bool is_sane(const struct range *range)
{
	return range->smin > -VAR_OFF_MAX && range->smin < VAR_OFF_MAX;
}

static int pointer_add(struct walk *walk, uint32_t regno, struct reg pointer,
		       const struct reg *scalar, bool subtract)
{
	struct reg *dst = walk_reg(walk, regno);
	int64_t off;

	if (pointer.type == REG_VALUE_OR_NULL || pointer.type == REG_RECORD_OR_NULL ||
	    pointer.type == REG_SLICE_OR_NULL)
		return walk_fail(walk, -EACCES,
				 "R%u pointer arithmetic on %s prohibited, null-check it first\n",
				 regno, reg_type_name(pointer.type));
	if ((pointer.type == REG_MAP || pointer.type == REG_FUNC ||
	     pointer.type == REG_PACKET_END) &&
	    (subtract || !reg_is_const(scalar) || scalar->r64.umin))
		return walk_fail(walk, -EACCES, "R%u pointer arithmetic on %s prohibited\n", regno,
				 reg_type_name(pointer.type));
	need_value(walk, scalar);
	if (range_is_const(&scalar->r64)) {
		/* The number first: from one of any size it could not be computed. */
		off = scalar->r64.smin;
		if (off <= -VAR_OFF_MAX || off >= VAR_OFF_MAX)
			return walk_fail(walk, -EINVAL,
					 "math between %s pointer and %lld is not allowed\n",
					 reg_type_name(pointer.type), (long long)off);
		off = pointer.off + (subtract ? -off : off);
		if (off <= -VAR_OFF_MAX || off >= VAR_OFF_MAX)
			return walk_fail(walk, -EACCES,
					 "value %lld makes %s pointer be out of bounds\n",
					 (long long)scalar->r64.smin, reg_type_name(pointer.type));
		/* Further down it need not be behind the end. */
		if (reg_is_packet(&pointer) && packet_has_ended(&pointer) && off < pointer.off)
			pointer.size = 0;
		pointer.off = (int32_t)off;
		*dst = pointer;
		return 0;
	}
	if (pointer.type == REG_CTX)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: R%u variable offset from %s\n",
				 regno, reg_type_name(pointer.type));
	if (!is_sane(&scalar->r64))
		return walk_fail(walk, -EINVAL,
				 "math between %s pointer and register with unbounded min value is "
				 "not allowed\n",
				 reg_type_name(pointer.type));
	pointer.r64 =
		range_alu(subtract ? BPF_SUB : BPF_ADD, &pointer.r64, &scalar->r64, 64, false);
	if (!is_sane(&pointer.r64))
		return walk_fail(walk, -EINVAL, "%s pointer offset is out of bounds\n",
				 reg_type_name(pointer.type));
	/* What was compared with the end was another place. */
	if (reg_is_packet(&pointer)) {
		pointer.id = ++walk->last_id;
		pointer.size = 0;
	}
	*dst = pointer;
	return 0;
}

static int pointer_alu(struct walk *walk, const struct bpf_insn *insn, const struct reg *dst,
		       const struct reg *src)
{
	uint8_t op = BPF_OP(insn->code);

	/* Source: check_alu_op(), adjust_ptr_min_max_vals(), Linux 6.12, of who may know addresses.
	 */
	if (op == BPF_NEG) {
		reg_set_unknown(walk_reg(walk, insn->dst_reg));
		return 0;
	}
	if (BPF_CLASS(insn->code) == BPF_ALU && op == BPF_SUB) {
		reg_set_unknown(walk_reg(walk, insn->dst_reg));
		return 0;
	}
	if (BPF_CLASS(insn->code) == BPF_ALU)
		return walk_fail(walk, -EACCES, "R%d 32-bit pointer arithmetic prohibited\n",
				 insn->dst_reg);
	if (op == BPF_SUB && reg_is_pointer(dst) && reg_is_pointer(src)) {
		reg_set_unknown(walk_reg(walk, insn->dst_reg));
		return 0;
	}
	if (op == BPF_ADD && reg_is_pointer(dst) && reg_is_pointer(src))
		return walk_fail(walk, -EACCES, "R%d pointer += pointer prohibited\n",
				 insn->dst_reg);
	if (op == BPF_SUB && dst->type == REG_STACK)
		return walk_fail(walk, -EACCES, "R%d subtraction from stack pointer prohibited\n",
				 insn->dst_reg);
	if (op == BPF_ADD || (op == BPF_SUB && reg_is_pointer(dst)))
		return pointer_add(walk, insn->dst_reg, reg_is_pointer(dst) ? *dst : *src,
				   reg_is_pointer(dst) ? src : dst, op == BPF_SUB);
	if (op == BPF_SUB)
		return walk_fail(walk, -EACCES, "R%d tried to subtract pointer from scalar\n",
				 insn->dst_reg);
	return walk_fail(walk, -EACCES, "R%d pointer arithmetic with %s operator prohibited\n",
			 insn->dst_reg, op_name(op));
}

static int mov_insn(struct walk *walk, const struct bpf_insn *insn)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	unsigned int bits = (unsigned int)insn->off;
	struct reg src, *dst = walk_reg(walk, insn->dst_reg);
	int r = operand(walk, insn, &src);
	bool same;

	if ((BPF_SRC(insn->code) == BPF_K ? insn->src_reg || bits : insn->imm) ||
	    (bits && bits != 8 && bits != 16 && !(bits == 32 && wide)))
		return walk_fail(walk, -EINVAL, "BPF_MOV uses reserved fields\n");
	if (r < 0)
		return r;
	same = bits ? src.type == REG_SCALAR && link_fits(&src, bits / 8, true)
		    : wide || link_fits(&src, 4, false);
	if (BPF_SRC(insn->code) == BPF_X && same) {
		link_copy(walk, walk_reg(walk, insn->src_reg));
		src = *walk_reg(walk, insn->src_reg);
	}
	if (reg_is_pointer(&src)) {
		/* Half of an address is a number; who may trace may know it. */
		if (!wide || bits) {
			reg_set_bounded(dst, wide ? 8 : 4, false);
			return 0;
		}
		*dst = src;
		return 0;
	}
	if (same) {
		*dst = src;
	} else if (bits) {
		struct range narrow = range_truncate(&src.r64, 64, bits);
		struct range out = range_extend_signed(&narrow, bits, wide ? 64 : 32);

		if (wide)
			reg_set_r64(dst, &out);
		else
			reg_set_r32(dst, &out);
	} else {
		reg_set_r32(dst, &src.r32);
	}
	dst->origin = src.origin;
	return 0;
}

/* Byte swaps: the bytes are there in another order. */
static int end_insn(struct walk *walk, const struct bpf_insn *insn)
{
	struct reg *dst = walk_reg(walk, insn->dst_reg);
	int r = read_reg(walk, insn->dst_reg);

	if (r < 0)
		return r;
	if (insn->src_reg || insn->off || (insn->imm != 16 && insn->imm != 32 && insn->imm != 64))
		return walk_fail(walk, -EINVAL, "BPF_END uses reserved fields\n");
	/* Of the number that it was nothing is left to depend on; of an address the kernel knows
	 * no size. */
	reg_set_bounded(dst, reg_is_pointer(dst) ? 8 : (unsigned int)insn->imm / 8, false);
	return 0;
}

static int check_fields(struct walk *walk, const struct bpf_insn *insn, bool *ret_signed)
{
	uint8_t op = BPF_OP(insn->code);
	bool x = BPF_SRC(insn->code) == BPF_X, wide = BPF_CLASS(insn->code) == BPF_ALU64;

	*ret_signed = insn->off == 1 && (op == BPF_DIV || op == BPF_MOD);
	if ((x && insn->imm) || (!x && insn->src_reg) || (insn->off && !*ret_signed))
		return walk_fail(walk, -EINVAL, "BPF_ALU uses reserved fields\n");
	if ((op == BPF_DIV || op == BPF_MOD) && !x && insn->imm == 0)
		return walk_fail(walk, -EINVAL, "div by zero\n");
	if ((op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) && !x &&
	    (insn->imm < 0 || insn->imm >= (wide ? 64 : 32)))
		return walk_fail(walk, -EINVAL, "invalid shift %d\n", insn->imm);
	return 0;
}

int alu_insn(struct walk *walk, const struct bpf_insn *insn)
{
	struct reg *dst = walk_reg(walk, insn->dst_reg), left, src;
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64, is_signed;
	uint8_t op = BPF_OP(insn->code);
	struct range out;
	int r;

	if (insn->dst_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	if (op == BPF_END)
		return end_insn(walk, insn);
	if (op == BPF_MOV)
		return mov_insn(walk, insn);
	if (op == BPF_NEG && (insn->src_reg || insn->off || insn->imm))
		return walk_fail(walk, -EINVAL, "BPF_NEG uses reserved fields\n");
	r = check_fields(walk, insn, &is_signed);
	if (r == 0)
		r = read_reg(walk, insn->dst_reg);
	if (r == 0)
		r = operand(walk, insn, &src);
	if (r < 0)
		return r;
	left = *dst;
	if (reg_is_pointer(dst) || reg_is_pointer(&src))
		return pointer_alu(walk, insn, &left, &src);
	out = wide ? range_alu(op, &dst->r64, &src.r64, 64, is_signed)
		   : range_alu(op, &dst->r32, &src.r32, 32, is_signed);
	if (wide)
		reg_set_r64(dst, &out);
	else
		reg_set_r32(dst, &out);
	if (BPF_SRC(insn->code) == BPF_K || insn->src_reg != insn->dst_reg)
		if (op == BPF_ADD || op == BPF_SUB)
			link_add(dst, &left, &src, wide, op == BPF_SUB);
	dst->origin = origin_join(&walk->origins, left.origin, src.origin);
	return 0;
}
