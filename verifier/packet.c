/* SPDX-License-Identifier: MIT */
/*
 * See packet.h.
 */
#include "verifier/packet.h"

#include <errno.h>

#include "verifier/context.h"
#include "verifier/special.h"

#define PACKET_MAX 0xffffu /* MAX_PACKET_OFF */

int packet_access(struct walk *walk, const struct reg *reg, uint32_t regno, int insn_off,
		  uint64_t size, bool write)
{
	int64_t off = (int64_t)reg->off + insn_off;

	if (write && !context_packet_is_writable(walk->prog->type))
		return walk_fail(walk, -EACCES, "cannot write into packet\n");
	/* Of what was added only the constant part counts: @size was compared behind the rest. */
	if (reg->r64.smin < 0)
		return walk_fail(walk, -EACCES,
				 "R%u min value is negative, either use unsigned index or do a if "
				 "(index >=0) check.\n",
				 regno);
	if (packet_has_ended(reg))
		return walk_fail(walk, -EINVAL, "R%u offset is outside of the packet\n", regno);
	if (off >= 0 && (uint64_t)off + size <= reg->size)
		return 0;
	return walk_fail(walk, -EACCES,
			 "invalid access to packet, off=%lld size=%llu, R%u(id=%u,off=%d,r=%u)\n"
			 "R%u offset is outside of the packet\n",
			 (long long)off, (unsigned long long)size, regno, reg->id, reg->off,
			 reg->size, regno);
}

int packet_check_arg(struct walk *walk, const struct reg *reg, bool takes_packets)
{
	if (!reg_is_packet(reg) || takes_packets)
		return 0;
	return walk_fail(walk, -EACCES, "helper access to the packet is not allowed\n");
}

static bool is_of_packet(const struct reg *reg, const void *key)
{
	(void)key;
	return reg_is_packet(reg) || reg->type == REG_PACKET_END;
}

static void drop(struct reg *reg, void *data)
{
	(void)data;
	reg_set_none(reg);
}

int packet_moved(struct state *state)
{
	return state_each_if(state, is_of_packet, NULL, drop, NULL);
}

/* The same packet, from the same variable offset. */
static bool is_sibling(const struct reg *reg, const void *key)
{
	const struct reg *of = key;

	return reg->type == of->type && reg->id == of->id;
}

static void reach(struct reg *reg, void *data)
{
	const uint32_t *size = data;

	if (reg->size < *size || packet_has_ended(reg))
		reg->size = *size;
}

/* @reg is not behind the end, and (@open) not at it. */
static int learn(struct state *state, const struct reg *reg, bool open)
{
	const struct reg of = *reg;
	uint32_t size = (uint32_t)reg->off + open;

	if (of.off < 0 || (open && !of.off) || of.r64.umax > PACKET_MAX ||
	    of.r64.umax + (uint64_t)of.off > PACKET_MAX)
		return 0;
	return state_each_if(state, is_sibling, &of, reach, &size);
}

/* @limit ends what @packet points into. */
static bool is_limit(const struct reg *packet, const struct reg *limit)
{
	if (packet->type == REG_PACKET)
		return limit->type == REG_PACKET_END;
	return packet->type == REG_PACKET_META && limit->type == REG_PACKET && !limit->id &&
	       !limit->off && range_is_const(&limit->r64) && !limit->r64.umin;
}

static uint8_t mirrored(uint8_t op)
{
	switch (op) {
	case BPF_JGT:
		return BPF_JLT;
	case BPF_JLT:
		return BPF_JGT;
	case BPF_JGE:
		return BPF_JLE;
	default:
		return BPF_JGE;
	}
}

/* The other way: @packet is behind the end, or (@at) may be at it. Of itself alone. */
static void note_end(struct state *state, uint32_t regno, bool at)
{
	struct reg *packet = &state->top.regs[regno];

	if (packet->type == REG_PACKET)
		packet->size = at ? PACKET_AT_END : PACKET_BEYOND;
}

/* Whether it is known which way goes on, of a comparison of @packet with the end. */
static bool is_decided(const struct reg *packet, uint8_t op, bool *ret_jumps)
{
	if (packet->type != REG_PACKET || !packet_has_ended(packet))
		return false;
	*ret_jumps = op == BPF_JGT || op == BPF_JGE;
	return packet->size == PACKET_BEYOND || op == BPF_JLT || op == BPF_JGE;
}

int packet_branch(struct walk *walk, const struct bpf_insn *insn, const struct reg *src,
		  uint32_t taken, uint32_t *ret_next)
{
	const struct reg dst = *walk_reg(walk, insn->dst_reg);
	uint8_t op = BPF_OP(insn->code);
	const struct reg *packet = &dst;
	uint32_t regno = insn->dst_reg;
	struct state other;
	bool jumps, open, decided;
	int r;

	if (BPF_CLASS(insn->code) != BPF_JMP || BPF_SRC(insn->code) != BPF_X ||
	    (op != BPF_JGT && op != BPF_JLT && op != BPF_JGE && op != BPF_JLE))
		return 0;
	if (is_limit(src, &dst)) {
		packet = src;
		regno = insn->src_reg;
		op = mirrored(op);
	} else if (!is_limit(&dst, src)) {
		return 0;
	}
	if (is_decided(packet, op, &decided)) {
		*ret_next = decided ? taken : walk->at + 1;
		return 1;
	}
	jumps = op == BPF_JLT || op == BPF_JLE;
	open = op == BPF_JLT || op == BPF_JGE;
	r = state_copy(&other, &walk->state);
	if (r < 0)
		return r;
	r = jumps ? learn(&other, packet, open) : 0;
	if (r < 0) {
		state_deinit(&other);
		return r;
	}
	note_end(jumps ? &walk->state : &other, regno, open);
	*ret_next = walk->at + 1;
	r = walk_push(walk, &other, taken);
	if (r == 0 && !jumps)
		r = learn(&walk->state, packet, open);
	return r < 0 ? r : 1;
}

int packet_load(struct walk *walk, const struct bpf_insn *insn)
{
	static const unsigned int sizes[] = {4, 2, 1};
	bool indirect = BPF_MODE(insn->code) == BPF_IND;
	const struct reg *context = walk_reg(walk, 6);
	int r;

	if (!context_has_packet_loads(walk->prog->type))
		return walk_fail(
			walk, -EINVAL,
			"BPF_LD_[ABS|IND] instructions not allowed for this program type\n");
	if (insn->dst_reg || insn->off || (!indirect && insn->src_reg))
		return walk_fail(walk, -EINVAL, "BPF_LD_[ABS|IND] uses reserved fields\n");
	r = read_reg(walk, 6);
	if (r == 0 && walk->state.ref_cnt)
		r = walk_fail(walk, -EINVAL, "BPF_LD_[ABS|IND] would lead to reference leak\n");
	if (r == 0)
		r = special_check_unlocked(walk, "BPF_LD_[ABS|IND]");
	if (r == 0 && (context->type != REG_CTX || context->off))
		r = walk_fail(walk, -EINVAL,
			      "at the time of BPF_LD_ABS|IND R6 != pointer to skb\n");
	if (r == 0 && indirect)
		r = read_reg(walk, insn->src_reg);
	if (r == 0)
		r = func_packet_end(walk);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i <= 5; i++)
		reg_set_none(walk_reg(walk, i));
	reg_set_bounded(walk_reg(walk, 0), sizes[BPF_SIZE(insn->code) >> 3], false);
	return 0;
}
