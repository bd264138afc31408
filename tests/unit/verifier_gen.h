/* SPDX-License-Identifier: MIT */
/*
 * Random programs that look like real ones: a few pieces (a lookup with its null check, bounded
 * arithmetic on a pointer into a value, spills, helper calls, random arithmetic, jumps forward,
 * loops, calls of functions) with now and then a mistake in one. Half or so are accepted. From a
 * seed, so that every machine tries the same.
 */
#pragma once

#include "tests/unit/verifier_cases.h"

#define GEN_INSNS 160
#define GEN_BODY  (GEN_INSNS - 8)
#define GEN_FUNCS 2u
#define GEN_CALLS 4u

/**
 * struct gen - one program
 * @wants: instructions that jump to a place that is not there yet: @left pieces on
 * @calls: of functions that are not there yet
 * @dynptr: where the last one was made, 0 for none yet
 * @scalars, @values: bit N: register N should hold a number, a pointer into a value of @map[N]
 */
struct gen {
	uint64_t seed;
	struct bpf_insn insns[GEN_INSNS];
	uint32_t cnt;
	struct {
		uint32_t at, left;
	} wants[8];
	uint32_t want_cnt;
	uint32_t scalars, values;
	uint8_t map[11];
	uint32_t spilled; /* bit N: the slot at -8 * (N + 1) was written */
	struct {
		uint32_t at, func;
	} calls[GEN_CALLS];
	uint32_t call_cnt;
	uint8_t func_map[GEN_FUNCS]; /* of the value it is given in r2 */
	bool in_loop, in_func;
	int32_t dynptr;
};

static inline uint32_t gen_random(struct gen *gen, uint32_t below)
{
	gen->seed ^= gen->seed >> 12;
	gen->seed ^= gen->seed << 25;
	gen->seed ^= gen->seed >> 27;
	return (uint32_t)((gen->seed * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static inline bool gen_chance(struct gen *gen, uint32_t percent)
{
	return gen_random(gen, 100) < percent;
}

static inline void gen_put(struct gen *gen, struct bpf_insn insn)
{
	if (gen->cnt < GEN_BODY)
		gen->insns[gen->cnt++] = insn;
}

/* A register of the set; mostly one that is in it. */
static inline uint8_t gen_pick(struct gen *gen, uint32_t set)
{
	uint8_t reg;

	if (!set || gen_chance(gen, 1))
		return (uint8_t)gen_random(gen, 10);
	do
		reg = (uint8_t)gen_random(gen, 10);
	while (!(set >> reg & 1));
	return reg;
}

static inline void gen_becomes(struct gen *gen, uint8_t reg, bool value, uint8_t map)
{
	gen->scalars &= ~(1u << reg);
	gen->values &= ~(1u << reg);
	*(value ? &gen->values : &gen->scalars) |= 1u << reg;
	gen->map[reg] = map;
}

static inline uint32_t gen_value_size(const struct gen *gen, uint8_t reg)
{
	const struct verifier_map *map = &case_maps[gen->map[reg]];

	return map->inner.type ? map->inner.value_size : map->value_size;
}

/* Numbers near the places where bounds are decided. */
static inline int32_t gen_number(struct gen *gen)
{
	static const int32_t edges[] = {0,    1,   -1,	 2,	    7,	       8,    15,  16,
					24,   31,  32,	 48,	    56,	       63,   64,  127,
					128,  255, 256,	 -8,	    -2,	       40,   511, 512,
					4095, -64, -128, INT32_MAX, INT32_MIN, 65535};

	if (gen_chance(gen, 70))
		return edges[gen_random(gen, ARRAY_SIZE(edges))];
	return (int32_t)gen_random(gen, UINT32_MAX);
}

/* A map was looked up in a map of maps: something is in it. It may go through another register. */
static inline void gen_lookup_in(struct gen *gen, uint8_t keep)
{
	uint8_t from = gen_chance(gen, 30) ? keep : 0;

	if (from)
		gen_put(gen, INSN_MOV64_REG(keep, 0));
	if (gen_chance(gen, 96)) {
		gen_put(gen, INSN_JMP_IMM(BPF_JNE, gen_chance(gen, 50) ? 0 : from, 0, 2));
		gen_put(gen, INSN_MOV64_IMM(0, 0));
		gen_put(gen, INSN_EXIT());
	}
	gen_put(gen, INSN_MOV64_REG(1, from));
	gen_put(gen, INSN_MOV64_REG(2, 10));
	gen_put(gen, INSN_ALU64_IMM(BPF_ADD, 2, gen_chance(gen, 97) ? -16 : -4));
	gen_put(gen, INSN_CALL(BPF_FUNC_map_lookup_elem));
}

static inline void gen_lookup(struct gen *gen)
{
	static const uint8_t maps[] = {DATA,  HASH,  PERCPU,	 PERCPU_HASH, TABLE,
				       OUTER, OUTER_HASH, OUTER_FIXED, OUTER_PERCPU};
	uint8_t map = maps[gen_random(gen, ARRAY_SIZE(maps))],
		keep = (uint8_t)(6 + gen_random(gen, 4));
	const struct bpf_insn load[] = {LD_MAP(1, map)};

	gen_put(gen, INSN_ST(BPF_DW, 10, -8, gen_number(gen)));
	gen_put(gen, INSN_ST(BPF_DW, 10, -16, 0));
	gen->spilled |= 3;
	gen_put(gen, INSN_MOV64_REG(2, 10));
	gen_put(gen, INSN_ALU64_IMM(BPF_ADD, 2, -16));
	gen_put(gen, load[0]);
	gen_put(gen, load[1]);
	gen_put(gen, INSN_CALL(BPF_FUNC_map_lookup_elem));
	if (case_maps[map].inner.type)
		gen_lookup_in(gen, keep);
	gen->scalars &= ~0x3fu;
	gen->values &= ~0x3fu;
	gen_put(gen, INSN_MOV64_REG(keep, 0));
	gen_becomes(gen, keep, true, map);
	if (gen_chance(gen, 96)) {
		gen_put(gen, INSN_JMP_IMM(BPF_JNE, gen_chance(gen, 50) ? 0 : keep, 0, 2));
		gen_put(gen, INSN_MOV64_IMM(0, 0));
		gen_put(gen, INSN_EXIT());
	}
	gen_becomes(gen, 0, true, map);
}

static inline void gen_value(struct gen *gen)
{
	uint8_t map = gen_chance(gen, 85) ? DATA : gen_chance(gen, 50) ? FIXED : SINK;
	uint8_t reg = (uint8_t)gen_random(gen, 10);
	const struct bpf_insn load[] = {LD_VALUE(reg, map, gen_random(gen, 40))};

	gen_put(gen, load[0]);
	gen_put(gen, load[1]);
	gen_becomes(gen, reg, true, map);
}

static inline void gen_scalar(struct gen *gen)
{
	uint8_t reg = (uint8_t)gen_random(gen, 10);
	uint64_t number = (uint64_t)gen_random(gen, UINT32_MAX) << 32 | (uint32_t)gen_number(gen);
	const struct bpf_insn load[] = {INSN_LD_IMM64(reg, number)};

	switch (gen_random(gen, 4)) {
	case 0:
		gen_put(gen, INSN_MOV64_IMM(reg, gen_number(gen)));
		break;
	case 1:
		gen_put(gen, INSN_ALU32_IMM(BPF_MOV, reg, gen_number(gen)));
		break;
	case 2:
		gen_put(gen, load[0]);
		gen_put(gen, load[1]);
		break;
	default:
		if (!gen->values)
			return;
		gen_put(gen,
			INSN_RAW(BPF_LDX | (gen_chance(gen, 20) ? MEMSX | BPF_B : BPF_MEM | BPF_DW),
				 reg, gen_pick(gen, gen->values), 0, 0));
	}
	gen_becomes(gen, reg, false, 0);
}

static inline void gen_alu(struct gen *gen)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB,	 BPF_MUL, BPF_DIV, BPF_OR,
				      BPF_AND, BPF_LSH,	 BPF_RSH, BPF_MOD, BPF_XOR,
				      BPF_MOV, BPF_ARSH, BPF_AND, BPF_NEG};
	uint8_t op = ops[gen_random(gen, ARRAY_SIZE(ops))], dst = gen_pick(gen, gen->scalars);
	uint8_t class = gen_chance(gen, 60) ? BPF_ALU64 : BPF_ALU;
	int16_t off = (op == BPF_DIV || op == BPF_MOD) && gen_chance(gen, 20) ? 1 : 0;
	bool shift = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
	int32_t imm =
		shift ? (int32_t)gen_random(gen, class == BPF_ALU64 ? 64 : 32) : gen_number(gen);

	if (op == BPF_NEG)
		gen_put(gen, INSN_RAW(class | op, dst, 0, 0, 0));
	else if (gen_chance(gen, 45))
		gen_put(gen,
			INSN_RAW(class | op | BPF_X, dst, gen_pick(gen, gen->scalars), off, 0));
	else
		gen_put(gen, INSN_RAW(class | op | BPF_K, dst, 0, off, imm ? imm : 1));
}

static inline void gen_extend(struct gen *gen)
{
	static const int16_t bits[] = {8, 16, 32};
	uint8_t dst = gen_pick(gen, gen->scalars), src = gen_pick(gen, gen->scalars);

	if (gen_chance(gen, 30))
		gen_put(gen, INSN_RAW(BPF_ALU | BPF_END | (gen_chance(gen, 50) ? BPF_TO_BE : 0),
				      dst, 0, 0, 16 << gen_random(gen, 3)));
	else if (gen_chance(gen, 50))
		gen_put(gen, INSN_RAW(BPF_ALU64 | BPF_MOV | BPF_X, dst, src,
				      bits[gen_random(gen, 3)], 0));
	else
		gen_put(gen,
			INSN_RAW(BPF_ALU | BPF_MOV | BPF_X, dst, src, bits[gen_random(gen, 2)], 0));
	gen_becomes(gen, dst, false, 0);
}

static inline struct bpf_insn gen_compare(struct gen *gen, uint8_t reg, int32_t imm, int16_t off)
{
	static const uint8_t ops[] = {BPF_JEQ,	BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	uint8_t op = ops[gen_random(gen, ARRAY_SIZE(ops))];
	uint8_t class = gen_chance(gen, 70) ? BPF_JMP : BPF_JMP32;

	if (gen_chance(gen, 30))
		return INSN_RAW(class | op | BPF_X, reg, gen_pick(gen, gen->scalars), off, 0);
	return INSN_RAW(class | op | BPF_K, reg, 0, off, imm);
}

/* A pointer into a value moves by a number that is usually bounded before. */
static inline void gen_move(struct gen *gen)
{
	uint8_t value = gen_pick(gen, gen->values), number = gen_pick(gen, gen->scalars);
	uint32_t size = gen_value_size(gen, value);
	int32_t room = (int32_t)gen_random(gen, size) - 1;

	switch (gen_random(gen, 5)) {
	case 0:
		gen_put(gen, INSN_ALU64_IMM(BPF_AND, number, room < 0 ? 7 : room));
		break;
	case 1: /* leave when it is too large */
		gen_put(gen,
			INSN_JMP_IMM(gen_chance(gen, 90) ? BPF_JLT : BPF_JSLT, number, room, 2));
		gen_put(gen, INSN_MOV64_IMM(0, 1));
		gen_put(gen, INSN_EXIT());
		break;
	case 2:
		gen_put(gen, INSN_JMP_IMM(BPF_JSGT, number, room, 1));
		gen_put(gen, INSN_JMP_IMM(BPF_JSGT, number, -(int32_t)gen_random(gen, 9), 2));
		gen_put(gen, INSN_MOV64_IMM(0, 1));
		gen_put(gen, INSN_EXIT());
		break;
	case 3:
		gen_put(gen, INSN_ALU32_IMM(BPF_AND, number, room < 0 ? 7 : room));
		break;
	default:
		gen_put(gen, INSN_ALU64_IMM(BPF_RSH, number, 56 + (int32_t)gen_random(gen, 8)));
	}
	if (gen_chance(gen, 50))
		gen_alu(gen);
	gen_put(gen, INSN_ALU64_REG(gen_chance(gen, 75) ? BPF_ADD : BPF_SUB, value, number));
	if (gen_chance(gen, 30))
		gen_put(gen, INSN_ALU64_IMM(BPF_ADD, value, (int32_t)gen_random(gen, 32) - 16));
}

static inline void gen_access(struct gen *gen)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	static const int32_t atomics[] = {BPF_ADD,  BPF_OR | BPF_FETCH, BPF_XOR,
					  BPF_XCHG, BPF_CMPXCHG,	BPF_AND | BPF_FETCH};
	uint8_t value = gen_pick(gen, gen->values), number = gen_pick(gen, gen->scalars);
	uint8_t size = sizes[gen_random(gen, 4)], loaded = (uint8_t)gen_random(gen, 10);
	int16_t off = (int16_t)gen_random(gen, gen_value_size(gen, value) / 2);

	if (gen_chance(gen, 10))
		off = (int16_t)(off - 8);
	switch (gen_random(gen, 6)) {
	case 0:
		gen_put(gen, INSN_STX(size, value, number, off));
		break;
	case 1:
		gen_put(gen, INSN_ST(size, value, off, gen_number(gen)));
		break;
	case 2:
		gen_put(gen, ATOMIC(gen_chance(gen, 60) ? BPF_DW : BPF_W,
				    atomics[gen_random(gen, ARRAY_SIZE(atomics))], value, number,
				    (int16_t)(off & ~7)));
		break;
	case 3:
		if (size == BPF_DW)
			size = BPF_W;
		gen_put(gen, INSN_RAW(BPF_LDX | MEMSX | size, loaded, value, off, 0));
		gen_becomes(gen, loaded, false, 0);
		break;
	default:
		gen_put(gen, INSN_LDX(size, loaded, value, off));
		gen_becomes(gen, loaded, false, 0);
	}
}

static inline void gen_stack(struct gen *gen)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint32_t slot = gen_random(gen, 12), part = gen_random(gen, 4), bytes = 1u << part;
	uint8_t reg = gen_pick(gen, gen->scalars | gen->values),
		loaded = (uint8_t)gen_random(gen, 10);
	int16_t top = (int16_t)(-8 * ((int)slot + 1));
	int16_t at = (int16_t)(top + (int)(gen_random(gen, 8 / bytes) * bytes));

	if (gen_chance(gen, 50)) {
		gen_put(gen, INSN_STX(BPF_DW, 10, reg, top));
		gen->spilled |= 1u << slot;
	} else if (gen_chance(gen, 30)) {
		gen_put(gen, INSN_ST(sizes[part], 10, at, gen_number(gen)));
	}
	if (!(gen->spilled >> slot & 1) && gen_chance(gen, 95))
		return;
	if (gen_chance(gen, 40))
		gen_put(gen, INSN_STX(sizes[part], 10, gen_pick(gen, gen->scalars), at));
	if (gen_chance(gen, 70)) {
		gen_put(gen, INSN_LDX(BPF_DW, loaded, 10, top));
		gen_becomes(gen, loaded, gen->values >> reg & 1, gen->map[reg]);
	} else {
		gen_put(gen, INSN_LDX(sizes[part], loaded, 10, at));
		gen_becomes(gen, loaded, false, 0);
	}
}

/* The program ends unless the number is between two. */
static inline void gen_bound(struct gen *gen, uint8_t number, int32_t low, int32_t high)
{
	uint8_t class = gen_chance(gen, 85) ? BPF_JMP : BPF_JMP32;

	if (gen_chance(gen, 50))
		low = -0x7fff;
	if (low > -0x7fff)
		gen_put(gen, INSN_RAW(class | (gen_chance(gen, 50) ? BPF_JLT : BPF_JSLT) | BPF_K,
				      number, 0, 1, low));
	gen_put(gen, INSN_RAW(class | (gen_chance(gen, 70) ? BPF_JLT : BPF_JSLT) | BPF_K, number, 0,
			      2, high));
	gen_put(gen, INSN_MOV64_IMM(0, 1));
	gen_put(gen, INSN_EXIT());
}

/* What was learnt of one number is used of another. */
static inline void gen_offset(struct gen *gen, uint8_t number)
{
	uint8_t value = gen_pick(gen, gen->values);

	gen_put(gen, INSN_ALU64_REG(BPF_ADD, value, number));
	if (gen_chance(gen, 70))
		gen_put(gen, INSN_LDX(BPF_B, number, value, 0));
}

/* A copy to which a constant is added, or the number it was copied from is. */
static inline void gen_linked(struct gen *gen)
{
	uint8_t number = gen_pick(gen, gen->scalars), copy = (uint8_t)gen_random(gen, 10);
	uint8_t moved = gen_chance(gen, 70) ? copy : number;
	uint8_t known = gen_chance(gen, 60) ? number : copy;
	uint8_t class = gen_chance(gen, 65) ? BPF_ALU64 : BPF_ALU;
	uint8_t op = gen_chance(gen, 70) ? BPF_ADD : BPF_SUB;
	int32_t added = gen_chance(gen, 85) ? (int32_t)gen_random(gen, 24) - 4 : gen_number(gen);

	if (gen_chance(gen, 40))
		gen_put(gen, INSN_ALU64_IMM(BPF_RSH, number, gen_chance(gen, 70) ? 32 : 50));
	gen_put(gen, INSN_RAW((gen_chance(gen, 80) ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_X, copy,
			      number, gen_chance(gen, 90) ? 0 : 16, 0));
	gen_becomes(gen, copy, false, 0);
	if (gen_chance(gen, 20))
		gen_put(gen, INSN_STX(BPF_DW, 10, number, -104));
	if (gen_chance(gen, 25))
		gen_put(gen, gen_compare(gen, gen_pick(gen, gen->scalars), gen_number(gen), 1));
	gen_put(gen, INSN_RAW(class | op | BPF_K, moved, 0, 0, added));
	if (gen_chance(gen, 15))
		gen_put(gen, INSN_ALU64_IMM(BPF_ADD, moved == copy ? number : copy, added / 2));
	gen_bound(gen, known, (int32_t)gen_random(gen, 20), 16 + (int32_t)gen_random(gen, 40));
	if (gen_chance(gen, 20))
		gen_put(gen, INSN_LDX(BPF_DW, copy, 10, -104));
	gen_offset(gen, gen_chance(gen, 70) ? (known == copy ? number : copy) : known);
}

/* Some bytes of a number by way of the stack. */
static inline void gen_narrow(struct gen *gen)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint8_t number = gen_pick(gen, gen->scalars), loaded = (uint8_t)gen_random(gen, 10);
	uint32_t stored = gen_random(gen, 4), filled = gen_random(gen, stored + 1);
	int16_t at = (int16_t)(gen_chance(gen, 90) ? -112 : -108), from = at;
	uint8_t sign = gen_chance(gen, 20) && filled < 3 ? MEMSX : BPF_MEM;

	if (at == -108 && stored == 3)
		stored = 2;
	if (filled > stored)
		filled = stored;
	if (gen_chance(gen, 15))
		gen_put(gen, INSN_ST(BPF_DW, 10, -112, gen_chance(gen, 70) ? 0 : 1));
	if (gen_chance(gen, 60))
		gen_put(gen, INSN_ALU64_IMM(BPF_AND, number, gen_chance(gen, 50) ? 255 : 31));
	if (gen_chance(gen, 80))
		gen_put(gen, INSN_STX(sizes[stored], 10, number, at));
	else
		gen_put(gen, INSN_ST(sizes[stored], 10, at, (int32_t)gen_random(gen, 3)));
	if (gen_chance(gen, 20))
		gen_put(gen, gen_compare(gen, number, gen_number(gen), 1));
	if (gen_chance(gen, 15))
		gen_put(gen, INSN_ST(BPF_B, 10, (int16_t)(-112 + (int)gen_random(gen, 8)), 0));
	if (gen_chance(gen, 15))
		from = (int16_t)(at + (1 << filled) * (int)gen_random(gen, 2));
	if (from + (1 << filled) > -104 + 8)
		from = at;
	gen_put(gen, INSN_RAW(BPF_LDX | sign | sizes[filled], loaded, 10, from, 0));
	gen_becomes(gen, loaded, false, 0);
	if (gen_chance(gen, 60))
		gen_bound(gen, gen_chance(gen, 50) ? loaded : number, 0,
			  8 + (int32_t)gen_random(gen, 48));
	gen_offset(gen, gen_chance(gen, 60) ? loaded : number);
}

static inline void gen_call(struct gen *gen)
{
	static const int32_t plain[] = {BPF_FUNC_ktime_get_ns, BPF_FUNC_get_prandom_u32,
					BPF_FUNC_get_current_pid_tgid};
	uint8_t value = gen_pick(gen, gen->values & ~6u),
		number = gen_pick(gen, gen->scalars & ~6u);

	switch (gen_random(gen, 4)) {
	case 0: /* into a value, of a size that may be anything */
		gen_put(gen, INSN_MOV64_REG(1, value));
		gen_put(gen, INSN_MOV64_REG(2, number));
		gen_put(gen, INSN_ALU64_IMM(BPF_AND, 2, gen_number(gen)));
		gen_put(gen, INSN_MOV64_IMM(3, 0));
		gen_put(gen, INSN_CALL(BPF_FUNC_probe_read_user));
		break;
	case 1: /* onto the stack */
		gen_put(gen, INSN_MOV64_REG(1, 10));
		gen_put(gen, INSN_ALU64_IMM(BPF_ADD, 1, -8 * (1 + (int32_t)gen_random(gen, 12))));
		gen_put(gen, INSN_MOV64_IMM(2, (int32_t)gen_random(gen, 17)));
		gen_put(gen, INSN_CALL(BPF_FUNC_get_current_comm));
		break;
	default:
		gen_put(gen, INSN_CALL(plain[gen_random(gen, ARRAY_SIZE(plain))]));
	}
	gen->scalars &= ~0x3fu;
	gen->values &= ~0x3fu;
	gen->scalars |= 1;
}

static inline void gen_jump(struct gen *gen)
{
	if (gen->want_cnt == ARRAY_SIZE(gen->wants) || gen->cnt >= GEN_BODY - 1)
		return;
	gen->wants[gen->want_cnt].at = gen->cnt;
	gen->wants[gen->want_cnt++].left = 1 + gen_random(gen, 4);
	gen_put(gen, gen_compare(gen, gen_pick(gen, gen->scalars), gen_number(gen), 0));
}

/* Jumps whose place is reached, or all of them. */
static inline void gen_land(struct gen *gen, bool all)
{
	for (uint32_t i = 0; i < gen->want_cnt;) {
		if (!all && --gen->wants[i].left) {
			i++;
			continue;
		}
		gen->insns[gen->wants[i].at].off = (int16_t)(gen->cnt - gen->wants[i].at - 1);
		gen->wants[i] = gen->wants[--gen->want_cnt];
	}
}

/* Somewhere on the stack. */
static inline void gen_vary(struct gen *gen)
{
	uint8_t number = gen_pick(gen, gen->scalars), reg = (uint8_t)gen_random(gen, 10);
	bool load = gen_chance(gen, 50);

	gen_put(gen, INSN_ALU64_IMM(BPF_AND, number, gen_chance(gen, 90) ? 24 : 31));
	gen_put(gen, INSN_MOV64_REG(reg, 10));
	if (reg == number)
		return;
	gen_put(gen, INSN_ALU64_REG(BPF_ADD, reg, number));
	gen_put(gen, load ? INSN_LDX(BPF_DW, reg, reg, -64)
			  : INSN_STX(BPF_DW, reg, gen_pick(gen, gen->scalars | gen->values), -64));
	gen->scalars &= ~(1u << reg);
	gen->values &= ~(1u << reg);
	if (load)
		gen->scalars |= 1u << reg;
}

/* r0 = function(number, value) */
static inline void gen_func(struct gen *gen)
{
	uint8_t number = gen_pick(gen, gen->scalars), value = gen_pick(gen, gen->values);
	uint32_t func = gen_random(gen, GEN_FUNCS);

	if (gen->call_cnt == GEN_CALLS || gen->cnt + 4 >= GEN_BODY || gen->in_func || value == 1)
		return;
	gen_put(gen, INSN_MOV64_REG(1, number));
	gen_put(gen, INSN_MOV64_REG(2, value));
	gen->func_map[func] = gen->map[value];
	gen->calls[gen->call_cnt].at = gen->cnt;
	gen->calls[gen->call_cnt++].func = func;
	gen_put(gen, INSN_CALL_REL(0));
	gen->scalars &= ~0x3fu;
	gen->values &= ~0x3fu;
	gen->scalars |= 1;
}

static inline void gen_address(struct gen *gen, uint8_t reg, int32_t at)
{
	gen_put(gen, INSN_MOV64_REG(reg, 10));
	gen_put(gen, INSN_ALU64_IMM(BPF_ADD, reg, at));
}

static inline void gen_called(struct gen *gen, uint32_t helper)
{
	gen_put(gen, INSN_CALL((int32_t)helper));
	gen->scalars &= ~0x3fu;
	gen->values &= ~0x3fu;
	gen->scalars |= 1;
}

/* 16 bytes of a dynptr, which are there as long as it is. */
static inline void gen_slice(struct gen *gen, int32_t at)
{
	const uint8_t keep = (uint8_t)(6 + gen_random(gen, 4));

	gen_address(gen, 1, at);
	gen_put(gen, INSN_MOV64_IMM(2, (int32_t)gen_random(gen, 8)));
	gen_put(gen, INSN_MOV64_IMM(3, 16));
	gen_called(gen, BPF_FUNC_dynptr_data);
	gen_put(gen, INSN_MOV64_REG(keep, 0));
	gen_put(gen, INSN_JMP_IMM(BPF_JNE, gen_chance(gen, 96) ? keep : 3, 0, 2));
	gen_put(gen, INSN_MOV64_IMM(0, 0));
	gen_put(gen, INSN_EXIT());
	gen_becomes(gen, keep, true, SINK); /* as long */
}

static inline void gen_piece(struct gen *gen);

/* A dynptr of a record, and what happens until it is given back. */
static inline void gen_record(struct gen *gen, int32_t at)
{
	const struct bpf_insn map[] = {LD_MAP(1, RECORDS)};

	gen_put(gen, map[0]);
	gen_put(gen, map[1]);
	gen_put(gen, INSN_MOV64_IMM(2, 16));
	gen_put(gen, INSN_MOV64_IMM(3, 0));
	gen_address(gen, 4, at);
	gen_called(gen, BPF_FUNC_ringbuf_reserve_dynptr);
	if (gen_chance(gen, 60))
		gen_slice(gen, at);
	if (gen_chance(gen, 30))
		gen_piece(gen);
	if (gen_chance(gen, 3))
		return;
	gen_address(gen, 1, at);
	gen_put(gen, INSN_MOV64_IMM(2, 0));
	gen_called(gen, gen_chance(gen, 50) ? BPF_FUNC_ringbuf_submit_dynptr
					    : BPF_FUNC_ringbuf_discard_dynptr);
	gen_put(gen, INSN_MOV64_IMM(0, 1));
}

/* In slots that are used for other things, too. */
static inline void gen_dynptr(struct gen *gen)
{
	const struct bpf_insn value[] = {LD_VALUE(1, DATA, 0)};
	int32_t at = gen_chance(gen, 98) ? -16 - 8 * (int32_t)gen_random(gen, 4) : -12;

	uint32_t what = gen_random(gen, 6);

	if (what > 1 && what < 4 && gen_chance(gen, 90)) {
		at = gen->dynptr;
		what = at ? what : 0;
		at = at ? at : -16;
	}
	switch (what) {
	case 0:
	case 1:
		gen->dynptr = at;
		gen_put(gen, value[0]);
		gen_put(gen, value[1]);
		gen_put(gen, INSN_MOV64_IMM(2, (int32_t)gen_random(gen, 65)));
		gen_put(gen, INSN_MOV64_IMM(3, 0));
		gen_address(gen, 4, at);
		gen_called(gen, BPF_FUNC_dynptr_from_mem);
		if (gen_chance(gen, 70))
			gen_slice(gen, at);
		break;
	case 2:
		gen_slice(gen, at);
		break;
	case 3:
		gen_address(gen, 1, -48);
		gen_put(gen, INSN_MOV64_IMM(2, (int32_t)gen_random(gen, 17)));
		gen_address(gen, 3, at);
		gen_put(gen, INSN_MOV64_IMM(4, 0));
		gen_put(gen, INSN_MOV64_IMM(5, 0));
		gen_called(gen, BPF_FUNC_dynptr_read);
		break;
	default:
		gen_record(gen, at);
	}
}

/* A counter in a register that the pieces may use, too. */
static inline void gen_loop(struct gen *gen)
{
	uint8_t counter = (uint8_t)(6 + gen_random(gen, 4));
	uint32_t pieces = 1 + gen_random(gen, 3), start;

	if (gen->in_loop || gen->cnt + 30 > GEN_BODY)
		return;
	gen->in_loop = true;
	gen_put(gen, INSN_MOV64_IMM(counter, (int32_t)gen_random(gen, 4)));
	gen_becomes(gen, counter, false, 0);
	start = gen->cnt;
	for (uint32_t i = 0; i < pieces; i++) {
		gen_piece(gen);
		gen_land(gen, false);
	}
	gen_put(gen, INSN_ALU64_IMM(BPF_ADD, counter, 1));
	gen_put(gen, INSN_JMP_IMM(gen_chance(gen, 80) ? BPF_JLT : BPF_JNE, counter,
				  4 + (int32_t)gen_random(gen, 12),
				  (int16_t)((int)start - (int)gen->cnt - 1)));
	gen->in_loop = false;
}

static inline void gen_piece(struct gen *gen)
{
	uint32_t kind = gen_random(gen, 126);

	if (kind < 5)
		gen_lookup(gen);
	else if (kind < 10)
		gen_value(gen);
	else if (kind < 20)
		gen_scalar(gen);
	else if (kind < 32)
		gen_alu(gen);
	else if (kind < 37)
		gen_extend(gen);
	else if (kind < 57)
		gen_move(gen);
	else if (kind < 74)
		gen_access(gen);
	else if (kind < 84)
		gen_stack(gen);
	else if (kind < 88)
		gen_call(gen);
	else if (kind < 98)
		gen_jump(gen);
	else if (kind < 100)
		gen_vary(gen);
	else if (kind < 103)
		gen_func(gen);
	else if (kind < 107)
		gen_dynptr(gen);
	else if (kind < 116)
		gen_linked(gen);
	else if (kind < 123)
		gen_narrow(gen);
	else
		gen_loop(gen);
}

static inline void gen_end(struct gen *gen)
{
	gen_land(gen, true);
	gen->insns[gen->cnt++] = INSN_MOV64_IMM(0, 0);
	gen->insns[gen->cnt++] = INSN_EXIT();
}

/* The functions that are called, behind the program. */
static inline void gen_funcs(struct gen *gen)
{
	gen->in_func = true;
	for (uint32_t func = 0; func < GEN_FUNCS; func++) {
		uint32_t start = gen->cnt, pieces = 1 + gen_random(gen, 4);
		bool called = false;

		for (uint32_t i = 0; i < gen->call_cnt; i++) {
			if (gen->calls[i].func != func)
				continue;
			gen->insns[gen->calls[i].at].imm = (int32_t)(start - gen->calls[i].at - 1);
			called = true;
		}
		if (!called)
			continue;
		gen->scalars = 1u << 1;
		gen->values = 1u << 2;
		gen->map[2] = gen->func_map[func];
		gen->spilled = 0;
		gen->dynptr = 0;
		for (uint32_t i = 0; i < pieces; i++) {
			gen_piece(gen);
			gen_land(gen, false);
		}
		gen_land(gen, true);
		if (gen_chance(gen, 50))
			gen->insns[gen->cnt++] = INSN_MOV64_IMM(0, gen_number(gen));
		else
			gen->insns[gen->cnt++] =
				INSN_MOV64_REG(0, gen_pick(gen, gen->scalars | gen->values));
		gen->insns[gen->cnt++] = INSN_EXIT();
	}
}

/** gen_program() - program @number of the fixed sequence */
static inline void gen_program(struct gen *gen, uint64_t number)
{
	uint32_t pieces;

	memset(gen, 0, sizeof(*gen));
	gen->seed = 0x9e3779b97f4a7c15ull * (number + 1);
	pieces = 3 + gen_random(gen, 12);
	gen_put(gen, INSN_LDX(BPF_DW, 6, 1, 8 * (int16_t)gen_random(gen, 21)));
	gen_put(gen, INSN_LDX(BPF_DW, 7, 1, 8 * (int16_t)gen_random(gen, 21)));
	gen_put(gen, INSN_MOV64_IMM(0, 0));
	gen->scalars = 1u << 6 | 1u << 7 | 1;
	if (gen_chance(gen, 50))
		gen_lookup(gen);
	else
		gen_value(gen);
	for (uint32_t i = 0; i < pieces; i++) {
		gen_piece(gen);
		gen_land(gen, false);
	}
	gen_end(gen);
	gen_funcs(gen);
}
