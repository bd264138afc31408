/* SPDX-License-Identifier: MIT */
/*
 * Before the walk: every instruction is known, jumps stay inside and form no cycle, all can be
 * reached; and which registers are still of use where.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/internal.h"

static bool is_ld_imm64(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_jump_class(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_JMP || BPF_CLASS(insn->code) == BPF_JMP32;
}

static bool is_plain_call(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_CALL;
}

static bool is_exit(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_EXIT;
}

static bool is_ja(const struct bpf_insn *insn)
{
	return is_jump_class(insn) && BPF_OP(insn->code) == BPF_JA;
}

/* Where an instruction leads: up to two places. */
static uint32_t successors(const struct bpf_insn *insns, uint32_t at, int64_t *ret)
{
	const struct bpf_insn *insn = &insns[at];
	int64_t jump;

	if (is_exit(insn))
		return 0;
	if (is_ld_imm64(insn)) {
		ret[0] = (int64_t)at + 2;
		return 1;
	}
	ret[0] = (int64_t)at + 1;
	if (!is_jump_class(insn) || is_plain_call(insn))
		return 1;
	jump = (int64_t)at + 1 +
	       (BPF_CLASS(insn->code) == BPF_JMP32 && is_ja(insn) ? insn->imm : insn->off);
	if (is_ja(insn)) {
		ret[0] = jump;
		return 1;
	}
	ret[1] = jump;
	return 2;
}

enum colour { WHITE, GREY, BLACK };

static int check_edge(struct walk *walk, uint32_t from, int64_t to, const uint8_t *colour)
{
	const struct bpf_insn *insns = walk->prog->insns;

	if (to < 0 || to >= walk->prog->cnt)
		return walk_fail(walk, -EINVAL, "jump out of range from insn %u to %lld\n", from,
				 (long long)to);
	if (to > 0 && is_ld_imm64(&insns[to - 1]) && colour[to] == BLACK + 1)
		return walk_fail(walk, -EINVAL, "jump into the middle of ldimm64 insn %lld\n",
				 (long long)to);
	if (colour[to] == GREY)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: loops, back-edge from insn %u to "
				 "%lld\n",
				 from, (long long)to);
	return 0;
}

/* Depth first, without recursion: @stack holds the path, @next how many successors were taken. */
static int walk_edges(struct walk *walk, uint8_t *colour, uint32_t *stack, uint8_t *next)
{
	uint32_t depth = 0;

	stack[depth++] = 0;
	colour[0] = GREY;
	while (depth) {
		uint32_t at = stack[depth - 1];
		int64_t to[2];
		uint32_t cnt = successors(walk->prog->insns, at, to);
		int r;

		if (next[at] == cnt) {
			colour[at] = BLACK;
			walk->order[walk->order_cnt++] = at;
			depth--;
			continue;
		}
		r = check_edge(walk, at, to[next[at]], colour);
		if (r < 0)
			return r;
		at = (uint32_t)to[next[at]++];
		if (cnt == 2)
			walk->target[at] = 1;
		if (colour[at] == WHITE) {
			colour[at] = GREY;
			stack[depth++] = at;
		} else {
			walk->target[at] = 1;
		}
	}
	return 0;
}

/* Second halves of ld_imm64 are no instructions. */
static int mark_halves(struct walk *walk, uint8_t *colour)
{
	const struct verifier_prog *prog = walk->prog;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		if (!is_ld_imm64(&prog->insns[i]))
			continue;
		if (i + 1 == prog->cnt || prog->insns[i + 1].code || prog->insns[i + 1].dst_reg ||
		    prog->insns[i + 1].src_reg || prog->insns[i + 1].off)
			return walk_fail(walk, -EINVAL, "invalid bpf_ld_imm64 insn\n");
		colour[++i] = BLACK + 1;
	}
	return 0;
}

static uint16_t bit(uint32_t reg)
{
	return (uint16_t)(1u << reg);
}

/* Registers an instruction reads, and writes. Reading too much is safe. */
static void uses(const struct bpf_insn *insn, uint16_t *ret_reads, uint16_t *ret_writes)
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
		break;
	case BPF_LDX:
		*ret_writes = dst;
		*ret_reads = src;
		break;
	case BPF_ST:
		*ret_reads = dst;
		break;
	case BPF_STX:
		*ret_reads = dst | src | bit(0);
		break;
	default:
		if (is_exit(insn)) {
			*ret_reads = bit(0);
		} else if (is_plain_call(insn)) {
			*ret_reads = 0x3e;
			*ret_writes = 0x3f;
		} else if (!is_ja(insn)) {
			*ret_reads = dst;
			if (BPF_SRC(insn->code) == BPF_X)
				*ret_reads |= src;
		}
	}
}

/* There are no cycles: in this order what an instruction leads to is done before it. */
static void find_live(struct walk *walk)
{
	const struct bpf_insn *insns = walk->prog->insns;

	for (uint32_t i = 0; i < walk->order_cnt; i++) {
		uint32_t at = walk->order[i];
		uint16_t reads, writes, live = 0;
		int64_t to[2];
		uint32_t cnt = successors(insns, at, to);

		for (uint32_t k = 0; k < cnt; k++)
			live |= walk->live[to[k]];
		uses(&insns[at], &reads, &writes);
		walk->live[at] = (uint16_t)((live & ~writes) | reads);
	}
}

/* The map that an ld_imm64 names, on whatever path. */
static int check_map(struct walk *walk, const struct bpf_insn *insn)
{
	const struct verifier_map *map;
	uint32_t off = (uint32_t)insn[1].imm;

	if (!insn->src_reg)
		return 0;
	if (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: ld_imm64 of kind %d\n",
				 insn->src_reg);
	if ((uint32_t)insn->imm >= walk->prog->map_cnt ||
	    (insn->src_reg == BPF_PSEUDO_MAP_FD && off))
		return walk_fail(walk, -EINVAL, "unrecognized bpf_ld_imm64 insn\n");
	map = &walk->prog->maps[insn->imm];
	if (insn->src_reg == BPF_PSEUDO_MAP_FD)
		return 0;
	if (map->type != BPF_MAP_TYPE_ARRAY || map->max_entries != 1)
		return walk_fail(walk, -EINVAL,
				 "direct value access on this map is not supported\n");
	if (off >= VAR_OFF_MAX || off >= map->value_size)
		return walk_fail(walk, -EINVAL,
				 "invalid access to map value pointer, value_size=%u off=%u\n",
				 map->value_size, off);
	return 0;
}

static int check_insns(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		const struct bpf_insn *insn = &prog->insns[i];
		int r = opcode_check(walk, insn);

		if (r < 0)
			return r;
		if (insn->dst_reg >= REGS)
			return walk_fail(walk, -EINVAL, "R%d is invalid\n", insn->dst_reg);
		if (insn->src_reg >= REGS && !is_ld_imm64(insn))
			return walk_fail(walk, -EINVAL, "R%d is invalid\n", insn->src_reg);
		if (!is_ld_imm64(insn))
			continue;
		r = check_map(walk, insn);
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

static int check_with(struct walk *walk, uint8_t *colour, uint32_t *stack, uint8_t *next)
{
	int r = mark_halves(walk, colour);

	if (r == 0)
		r = check_insns(walk);
	if (r == 0)
		r = walk_edges(walk, colour, stack, next);
	for (uint32_t i = 0; i < walk->prog->cnt && r == 0; i++)
		if (colour[i] == WHITE)
			r = walk_fail(walk, -EINVAL, "unreachable insn %u\n", i);
	if (r == 0)
		find_live(walk);
	return r;
}

int cfg_check(struct walk *walk)
{
	uint32_t cnt = walk->prog->cnt;
	uint8_t *colour = calloc(cnt, 1), *next = calloc(cnt, 1);
	uint32_t *stack = calloc(cnt, sizeof(*stack));
	int r = -ENOMEM;

	if (colour && next && stack)
		r = check_with(walk, colour, stack, next);
	free(colour);
	free(next);
	free(stack);
	return r;
}
