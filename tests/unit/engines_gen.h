/* SPDX-License-Identifier: MIT */
/*
 * Random programs that are valid by how they are made and whose outcome is the same wherever they
 * run: no address gets into a number, nothing depends on the order in which a hash is walked. They
 * use maps of all kinds, callbacks, functions, loops and atomic operations. From a number, so that
 * every machine tries the same.
 *
 * A frame: r6 to r8 are numbers, r9 points to DATA's value, r0 to r5 are free between two pieces.
 * The stack has eight numbers, a key, a pointer into the caller's stack, a counter and a dynptr.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"

#define MIX_INSNS   1024
#define MIX_CTX	    12 /* numbers in the context, of 64 bits */
#define MIX_NUMBERS 8  /* on the stack */
#define MIX_KEY	    (-88)
#define MIX_CALLER  (-96)
#define MIX_COUNTER (-104)
#define MIX_DYNPTR  (-120)

enum {
	MIX_DATA, /* the two whose value needs no lookup */
	MIX_OUT,
	MIX_TABLE,
	MIX_PERCPU,
	MIX_HASH,
	MIX_HASH_LATE,
	MIX_PERCPU_HASH,
	MIX_LRU,
	MIX_LRU_PERCPU,
	MIX_LPM,
	MIX_INNER_A, /* named by no program, but found in the last two */
	MIX_INNER_B,
	MIX_QUEUE,
	MIX_STACK,
	MIX_BLOOM,
	MIX_RING,
	MIX_OUTER,
	MIX_OUTER_HASH,
	MIX_MAPS
};

struct mix_map {
	uint32_t type, key_size, value_size, max_entries, flags;
};

/* Where who goes first is chance, there is room for all keys: no LRU map evicts, and the filter is
 * so large that it hardly ever errs. */
static const struct mix_map mix_maps[MIX_MAPS] = {
	[MIX_DATA] = {BPF_MAP_TYPE_ARRAY, 4, 64, 1, BPF_F_MMAPABLE},
	[MIX_OUT] = {BPF_MAP_TYPE_ARRAY, 4, 96, 1, BPF_F_MMAPABLE},
	[MIX_TABLE] = {BPF_MAP_TYPE_ARRAY, 4, 24, 8, 0},
	[MIX_PERCPU] = {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 4, 0},
	[MIX_HASH] = {BPF_MAP_TYPE_HASH, 8, 16, 12, 0},
	[MIX_HASH_LATE] = {BPF_MAP_TYPE_HASH, 4, 20, 6, BPF_F_NO_PREALLOC},
	[MIX_PERCPU_HASH] = {BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 8, 0},
	[MIX_LRU] = {BPF_MAP_TYPE_LRU_HASH, 4, 16, 4096, 0},
	[MIX_LRU_PERCPU] = {BPF_MAP_TYPE_LRU_PERCPU_HASH, 16, 8, 4096, 0},
	[MIX_LPM] = {BPF_MAP_TYPE_LPM_TRIE, 8, 8, 10, BPF_F_NO_PREALLOC},
	[MIX_INNER_A] = {BPF_MAP_TYPE_HASH, 8, 16, 6, 0},
	[MIX_INNER_B] = {BPF_MAP_TYPE_HASH, 8, 16, 6, 0},
	[MIX_QUEUE] = {BPF_MAP_TYPE_QUEUE, 0, 8, 5, 0},
	[MIX_STACK] = {BPF_MAP_TYPE_STACK, 0, 12, 4, 0},
	[MIX_BLOOM] = {BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 200000, 0},
	[MIX_RING] = {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
	[MIX_OUTER] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 4, 0},
	[MIX_OUTER_HASH] = {BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 8, 0},
};

/* What is in the two of maps from the beginning: the map under each key, 0 for none. */
static const uint8_t mix_inner[] = {MIX_INNER_A, MIX_INNER_B, 0, MIX_INNER_A};

static inline bool mix_is_outer(uint32_t map)
{
	return map == MIX_OUTER || map == MIX_OUTER_HASH;
}

/* Functions call only those behind them. */
enum { MIX_CALLED, MIX_TURN, MIX_ELEMENT, MIX_ENTRY, MIX_FUNCS };

/**
 * struct mix - one program
 * @user: address of memory that helpers may be told to read, MIX_USER bytes and no more
 * @wants: jumps to a place that is not there yet: @left pieces on
 * @calls: of functions that are not there yet, by call or by address
 * @func: the function at hand, or -1
 */
struct mix {
	uint64_t seed, user;
	struct bpf_insn insns[MIX_INSNS];
	uint32_t cnt;
	struct {
		uint32_t at, left;
	} wants[8];
	uint32_t want_cnt;
	struct {
		uint32_t at;
		int func;
	} calls[24];
	uint32_t call_cnt;
	int func;
	bool in_loop;
};
#define MIX_USER 64u

static inline uint64_t mix_random(struct mix *mix)
{
	mix->seed ^= mix->seed >> 12;
	mix->seed ^= mix->seed << 25;
	mix->seed ^= mix->seed >> 27;
	return mix->seed * 0x2545f4914f6cdd1dull;
}

static inline uint32_t mix_below(struct mix *mix, uint32_t limit)
{
	return (uint32_t)(mix_random(mix) >> 33) % limit;
}

static inline bool mix_chance(struct mix *mix, uint32_t percent)
{
	return mix_below(mix, 100) < percent;
}

static inline void mix_put(struct mix *mix, struct bpf_insn insn)
{
	if (mix->cnt < MIX_INSNS)
		mix->insns[mix->cnt++] = insn;
}

#define MIX_PUT(mix, ...) mix_put(mix, (struct bpf_insn)__VA_ARGS__)
#define MIX_PUT2(mix, ...)                                                                         \
	do {                                                                                       \
		const struct bpf_insn mix_two[] = {__VA_ARGS__};                                   \
		mix_put(mix, mix_two[0]);                                                          \
		mix_put(mix, mix_two[1]);                                                          \
	} while (0)

/* r6, r7 or r8 */
static inline uint8_t mix_reg(struct mix *mix)
{
	return (uint8_t)(6 + mix_below(mix, 3));
}

static inline int32_t mix_number(struct mix *mix)
{
	static const int32_t edges[] = {0,  1,	 -1,	2,	   7,	      8,     31,  32,
					63, 255, 65535, INT32_MAX, INT32_MIN, -4096, 100, 12345};

	return mix_chance(mix, 60) ? edges[mix_below(mix, ARRAY_SIZE(edges))]
				   : (int32_t)mix_random(mix);
}

/* What a helper returned becomes part of a number. */
static inline void mix_take(struct mix *mix)
{
	const uint8_t reg = mix_reg(mix);

	MIX_PUT(mix, INSN_ALU64_IMM(BPF_MUL, reg, 31));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_XOR, reg, 0));
}

static inline void mix_alu(struct mix *mix)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV,  BPF_OR,  BPF_AND,
				      BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR,  BPF_MOV, BPF_ARSH,
				      BPF_NEG, BPF_END, BPF_MUL, BPF_ARSH, BPF_DIV};
	static const int16_t widths[] = {0, 8, 16, 32};
	const uint8_t op = ops[mix_below(mix, ARRAY_SIZE(ops))], dst = mix_reg(mix);
	const bool wide = mix_chance(mix, 60);
	const uint8_t class = wide ? BPF_ALU64 : BPF_ALU;
	const bool shift = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
	const int16_t off = (op == BPF_DIV || op == BPF_MOD) && mix_chance(mix, 40);
	int32_t imm = mix_number(mix);

	if (op == BPF_NEG)
		MIX_PUT(mix, INSN_RAW(class | op, dst, 0, 0, 0));
	else if (op == BPF_END)
		MIX_PUT(mix, INSN_RAW(class | op | (!wide && mix_chance(mix, 50) ? BPF_TO_BE : 0),
				      dst, 0, 0, 16 << mix_below(mix, 3)));
	else if (op == BPF_MOV && mix_chance(mix, 70))
		MIX_PUT(mix, INSN_RAW(class | op | BPF_X, dst, mix_reg(mix),
				      widths[mix_below(mix, wide ? 4 : 3)], 0));
	else if (mix_chance(mix, 60))
		MIX_PUT(mix, INSN_RAW(class | op | BPF_X, dst, mix_reg(mix), off, 0));
	else if (shift)
		MIX_PUT(mix, INSN_RAW(class | op | BPF_K, dst, 0, 0, imm & (wide ? 63 : 31)));
	else
		MIX_PUT(mix, INSN_RAW(class | op | BPF_K, dst, 0, off, imm ? imm : 3));
}

/* [@reg + @off] and a number, either way; atomic operations want @off to be aligned. */
static inline void mix_touch(struct mix *mix, uint8_t reg, int16_t off, uint8_t size)
{
	static const int32_t atomics[] = {BPF_ADD, BPF_OR, BPF_AND, BPF_XOR, BPF_XCHG, BPF_CMPXCHG};
	const uint8_t number = mix_reg(mix);
	/*
	 * Not what fetches from the stack: Linux 6.18 does not see that such a register depends on
	 * what was stored there (backtrack_insn() in kernel/bpf/verifier.c takes it for a store
	 * alone), and leaves out paths, and their code, that programs do take.
	 */
	const bool fetches = reg != BPF_REG_10;
	const uint32_t op = mix_below(mix, fetches ? 6 : 4);
	const int32_t atomic = atomics[op] | (fetches && mix_chance(mix, 50) ? BPF_FETCH : 0);
	const bool may_be_atomic =
		(size == BPF_DW && off % 8 == 0) || (size == BPF_W && off % 4 == 0);

	switch (mix_below(mix, may_be_atomic ? 6 : 4)) {
	case 0:
		MIX_PUT(mix, INSN_LDX(size, number, reg, off));
		break;
	case 1:
		if (size == BPF_DW)
			size = BPF_W;
		MIX_PUT(mix, INSN_RAW(BPF_LDX | 0x80 /* BPF_MEMSX */ | size, number, reg, off, 0));
		break;
	case 2:
		MIX_PUT(mix, INSN_STX(size, reg, number, off));
		break;
	case 3:
		MIX_PUT(mix, INSN_ST(size, reg, off, mix_number(mix)));
		break;
	default: /* compares with r0, which may be the address */
		MIX_PUT(mix, INSN_MOV64_REG(1, reg));
		MIX_PUT(mix, INSN_MOV64_REG(0, mix_reg(mix)));
		MIX_PUT(mix, INSN_RAW(BPF_STX | BPF_ATOMIC | size, 1, number, off, atomic));
		if (op == 5)
			mix_take(mix);
	}
}

static inline void mix_touch_any(struct mix *mix, uint8_t reg, int from, uint32_t len)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint32_t log = mix_below(mix, 4), at;

	while ((1u << log) > len)
		log--;
	at = mix_below(mix, len - (1u << log) + 1);
	if (reg == BPF_REG_10 || mix_chance(mix, 80))
		at &= ~((1u << log) - 1);
	mix_touch(mix, reg, (int16_t)(from + (int)at), sizes[log]);
}

/* A place in DATA that only the machine knows. */
static inline void mix_indexed(struct mix *mix)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	MIX_PUT(mix, INSN_MOV64_REG(2, mix_reg(mix)));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 2, 56));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_ADD, 2, 9));
	mix_touch(mix, 2, 0, sizes[mix_below(mix, 4)]);
}

/* Keys are few, so that they are met again; some are behind the last. */
static inline void mix_key(struct mix *mix, uint32_t map)
{
	MIX_PUT(mix, INSN_ST(BPF_DW, 10, MIX_KEY, 0));
	MIX_PUT(mix, INSN_ST(BPF_DW, 10, MIX_KEY + 8, 0));
	MIX_PUT(mix, INSN_MOV64_REG(0, mix_reg(mix)));
	if (map == MIX_LPM) {
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 0, mix_chance(mix, 90) ? 31 : 63));
		MIX_PUT(mix, INSN_STX(BPF_W, 10, 0, MIX_KEY));
		MIX_PUT(mix, INSN_MOV64_REG(0, mix_reg(mix)));
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 0, 0x010381c0));
		MIX_PUT(mix, INSN_STX(BPF_W, 10, 0, MIX_KEY + 4));
		return;
	}
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 0, mix_chance(mix, 60) ? 7 : 15));
	MIX_PUT(mix, INSN_STX(BPF_W, 10, 0, MIX_KEY));
}

static inline void mix_stack_address(struct mix *mix, uint8_t reg, int32_t at)
{
	MIX_PUT(mix, INSN_MOV64_REG(reg, 10));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_ADD, reg, at));
}

static inline void mix_load_map(struct mix *mix, uint8_t reg, uint32_t map)
{
	MIX_PUT2(mix, INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, map));
}

static inline void mix_keyed(struct mix *mix)
{
	static const uint8_t flags[] = {BPF_ANY, BPF_ANY, BPF_ANY, BPF_NOEXIST, BPF_EXIST, 3};
	static const uint8_t maps[] = {MIX_TABLE, MIX_PERCPU,	   MIX_HASH, MIX_HASH_LATE,
				       MIX_LRU,	  MIX_PERCPU_HASH, MIX_LPM,  MIX_LRU_PERCPU};
	static const uint8_t percpu[] = {MIX_PERCPU, MIX_PERCPU_HASH, MIX_LRU_PERCPU};
	const uint32_t what = mix_below(mix, 8);
	const uint32_t map = what < 7 ? maps[mix_below(mix, ARRAY_SIZE(maps))]
				      : percpu[mix_below(mix, ARRAY_SIZE(percpu))];
	uint32_t jump;

	mix_key(mix, map);
	mix_load_map(mix, 1, map);
	mix_stack_address(mix, 2, MIX_KEY);
	switch (what) {
	case 0:
	case 1:
	case 2:
		mix_stack_address(mix, 3, -8 * MIX_NUMBERS);
		MIX_PUT(mix, INSN_MOV64_IMM(4, flags[mix_below(mix, ARRAY_SIZE(flags))]));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_update_elem));
		mix_take(mix);
		return;
	case 3:
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_delete_elem));
		mix_take(mix);
		return;
	case 7:
		MIX_PUT(mix, INSN_MOV64_IMM(3, (int32_t)mix_below(mix, 3) * 1000));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_lookup_percpu_elem));
		break;
	default:
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_lookup_elem));
	}
	jump = mix->cnt;
	MIX_PUT(mix, INSN_JMP_IMM(BPF_JEQ, 0, 0, 0));
	mix_touch_any(mix, 0, 0, mix_maps[map].value_size);
	mix->insns[jump].off = (int16_t)(mix->cnt - jump - 1);
}

/* A map in a map, if there is one. */
static inline void mix_nested(struct mix *mix)
{
	const uint32_t map = mix_chance(mix, 50) ? MIX_OUTER : MIX_OUTER_HASH;
	const bool update = mix_chance(mix, 50);
	uint32_t jumps[2], jump_cnt = 0;

	mix_key(mix, map);
	mix_load_map(mix, 1, map);
	mix_stack_address(mix, 2, MIX_KEY);
	MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_lookup_elem));
	jumps[jump_cnt++] = mix->cnt;
	MIX_PUT(mix, INSN_JMP_IMM(BPF_JEQ, 0, 0, 0));
	MIX_PUT(mix, INSN_MOV64_REG(1, 0));
	mix_stack_address(mix, 2, MIX_KEY);
	if (update) {
		mix_stack_address(mix, 3, -8 * MIX_NUMBERS);
		MIX_PUT(mix, INSN_MOV64_IMM(4, (int32_t)mix_below(mix, 3)));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_update_elem));
		mix_take(mix);
	} else if (mix_chance(mix, 30)) {
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_delete_elem));
		mix_take(mix);
	} else {
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_lookup_elem));
		jumps[jump_cnt++] = mix->cnt;
		MIX_PUT(mix, INSN_JMP_IMM(BPF_JEQ, 0, 0, 0));
		mix_touch_any(mix, 0, 0, mix_maps[MIX_INNER_A].value_size);
	}
	for (uint32_t i = 0; i < jump_cnt; i++)
		mix->insns[jumps[i]].off = (int16_t)(mix->cnt - jumps[i] - 1);
}

static inline void mix_keyless(struct mix *mix)
{
	static const uint8_t maps[] = {MIX_QUEUE, MIX_STACK, MIX_BLOOM};
	static const uint8_t flags[] = {BPF_ANY, BPF_ANY, BPF_EXIST, BPF_NOEXIST};
	const uint32_t map = maps[mix_below(mix, 3)];
	const uint32_t what = mix_below(mix, map == MIX_BLOOM ? 2 : 4);
	const uint8_t number = mix_reg(mix);

	if (map == MIX_BLOOM) {
		MIX_PUT(mix, INSN_MOV64_REG(0, number));
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 0, 31));
		MIX_PUT(mix, INSN_STX(BPF_DW, 10, 0, -64));
	}
	mix_load_map(mix, 1, map);
	mix_stack_address(mix, 2, -64 + (map == MIX_BLOOM ? 0 : 8 * (int)mix_below(mix, 6)));
	if (what == 0) {
		MIX_PUT(mix, INSN_MOV64_IMM(3, flags[mix_below(mix, ARRAY_SIZE(flags))]));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_push_elem));
	} else if (what < 3) {
		MIX_PUT(mix, INSN_CALL(what == 1 ? BPF_FUNC_map_peek_elem : BPF_FUNC_map_pop_elem));
	} else {
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_map_pop_elem));
	}
	mix_take(mix);
}

static inline void mix_ring(struct mix *mix)
{
	const uint32_t size = 8 * (1 + mix_below(mix, 8));
	uint32_t jump;

	mix_load_map(mix, 1, MIX_RING);
	switch (mix_below(mix, 4)) {
	case 0:
		MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)mix_below(mix, 5)));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_ringbuf_query));
		mix_take(mix);
		return;
	case 1:
		mix_stack_address(mix, 2, -64);
		MIX_PUT(mix, INSN_MOV64_IMM(3, 1 + (int32_t)mix_below(mix, 64)));
		MIX_PUT(mix, INSN_MOV64_IMM(4, (int32_t)mix_below(mix, 5)));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_ringbuf_output));
		mix_take(mix);
		return;
	default:
		break;
	}
	MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)size));
	MIX_PUT(mix, INSN_MOV64_IMM(3, 0));
	MIX_PUT(mix, INSN_CALL(BPF_FUNC_ringbuf_reserve));
	jump = mix->cnt;
	MIX_PUT(mix, INSN_JMP_IMM(BPF_JEQ, 0, 0, 0));
	for (uint32_t i = 0; i < size; i += 8)
		MIX_PUT(mix, INSN_STX(BPF_DW, 0, mix_reg(mix), (int16_t)i));
	MIX_PUT(mix, INSN_MOV64_REG(1, 0));
	MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)mix_below(mix, 3)));
	MIX_PUT(mix, INSN_CALL(mix_chance(mix, 70) ? BPF_FUNC_ringbuf_submit
						   : BPF_FUNC_ringbuf_discard));
	mix->insns[jump].off = (int16_t)(mix->cnt - jump - 1);
}

/* Bytes of the dynptr or of where they come from: some are behind its end. */
static inline void mix_dynptr_bytes(struct mix *mix)
{
	const uint32_t size = mix_below(mix, 17), what = mix_below(mix, 6);
	const int32_t flags = mix_chance(mix, 5);

	MIX_PUT(mix, INSN_MOV64_REG(0, mix_reg(mix)));
	if (mix_chance(mix, 90))
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 0, mix_chance(mix, 70) ? 31 : 63));
	if (what < 2) {
		mix_stack_address(mix, 1, -64 + (int32_t)mix_below(mix, 48));
		MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)size));
		mix_stack_address(mix, 3, MIX_DYNPTR);
		MIX_PUT(mix, INSN_MOV64_REG(4, 0));
		MIX_PUT(mix, INSN_MOV64_IMM(5, flags));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_dynptr_read));
		mix_take(mix);
		return;
	}
	mix_stack_address(mix, 1, MIX_DYNPTR);
	MIX_PUT(mix, INSN_MOV64_REG(2, 0));
	if (what < 4) {
		MIX_PUT(mix, INSN_MOV64_REG(3, what == 2 ? 9 : 10));
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_ADD, 3,
					    (what == 2 ? 0 : -64) + (int32_t)mix_below(mix, 48)));
		MIX_PUT(mix, INSN_MOV64_IMM(4, (int32_t)size));
		MIX_PUT(mix, INSN_MOV64_IMM(5, flags));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_dynptr_write));
		mix_take(mix);
		return;
	}
	MIX_PUT(mix, INSN_MOV64_IMM(3, 8));
	MIX_PUT(mix, INSN_CALL(BPF_FUNC_dynptr_data));
	MIX_PUT(mix, INSN_JMP_IMM(BPF_JEQ, 0, 0, 2));
	MIX_PUT(mix, INSN_STX(BPF_W, 0, mix_reg(mix), (int16_t)mix_below(mix, 5)));
	MIX_PUT(mix, INSN_LDX(BPF_H, mix_reg(mix), 0, (int16_t)mix_below(mix, 7)));
}

/* Of DATA's value, or of a record as long as only the machine knows. */
static inline void mix_dynptr(struct mix *mix)
{
	const bool record = mix_chance(mix, 60);
	/* More than there is room for, and more than there may be. */
	const int32_t more = mix_chance(mix, 90) ? 0 : mix_chance(mix, 50) ? 1 << 12 : 1 << 24;

	MIX_PUT(mix, INSN_MOV64_REG(2, mix_reg(mix)));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 2, record ? 56 : 63));
	MIX_PUT(mix, INSN_STX(BPF_DW, 10, 2, MIX_KEY));
	if (record) {
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_OR, 2, more));
		mix_load_map(mix, 1, MIX_RING);
	} else {
		MIX_PUT(mix, INSN_MOV64_REG(1, 9));
	}
	MIX_PUT(mix, INSN_MOV64_IMM(3, mix_chance(mix, 5)));
	mix_stack_address(mix, 4, MIX_DYNPTR);
	MIX_PUT(mix,
		INSN_CALL(record ? BPF_FUNC_ringbuf_reserve_dynptr : BPF_FUNC_dynptr_from_mem));
	mix_take(mix);
	if (record) { /* all of it: what a record had before is chance */
		mix_stack_address(mix, 1, MIX_DYNPTR);
		MIX_PUT(mix, INSN_MOV64_IMM(2, 0));
		MIX_PUT(mix, INSN_MOV64_REG(3, 9));
		MIX_PUT(mix, INSN_LDX(BPF_DW, 4, 10, MIX_KEY));
		MIX_PUT(mix, INSN_MOV64_IMM(5, 0));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_dynptr_write));
		mix_take(mix);
	}
	for (uint32_t i = mix_below(mix, 4); i; i--)
		mix_dynptr_bytes(mix);
	if (!record)
		return;
	mix_stack_address(mix, 1, MIX_DYNPTR);
	MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)mix_below(mix, 3)));
	MIX_PUT(mix, INSN_CALL(mix_chance(mix, 70) ? BPF_FUNC_ringbuf_submit_dynptr
						   : BPF_FUNC_ringbuf_discard_dynptr));
}

static inline void mix_helper(struct mix *mix)
{
	static const uint8_t plain[] = {
		BPF_FUNC_get_current_pid_tgid,
		BPF_FUNC_get_current_uid_gid,
		BPF_FUNC_get_smp_processor_id,
		BPF_FUNC_get_numa_node_id,
	};
	const uint32_t size = mix_below(mix, 65);
	const uint64_t place = mix_chance(mix, 90) ? mix->user + mix_below(mix, MIX_USER + 8) : 16;

	switch (mix_below(mix, 4)) {
	case 0:
		MIX_PUT(mix, INSN_CALL(plain[mix_below(mix, ARRAY_SIZE(plain))]));
		break;
	case 1:
		mix_stack_address(mix, 1, -64);
		MIX_PUT(mix, INSN_MOV64_IMM(2, 16 + (int32_t)mix_below(mix, 48)));
		MIX_PUT(mix, INSN_CALL(BPF_FUNC_get_current_comm));
		break;
	default:
		mix_stack_address(mix, 1, -64);
		MIX_PUT(mix, INSN_MOV64_IMM(2, (int32_t)size));
		MIX_PUT2(mix, INSN_LD_IMM64(3, place));
		MIX_PUT(mix, INSN_CALL(mix_chance(mix, 50) ? BPF_FUNC_probe_read_user
							   : BPF_FUNC_probe_read_user_str));
	}
	mix_take(mix);
}

/* A number from text: a sign, digits of some base, and what is no digit. */
static inline void mix_text(struct mix *mix)
{
	static const char *const texts[] = {"12345678", " -0x7fz ", "0777777 ",	   "-9223372",
					    "18446744", "+5      ", "073709551615"};
	static const uint8_t bases[] = {0, 8, 10, 16, 0, 10, 7};
	uint64_t text;

	memcpy(&text, texts[mix_below(mix, ARRAY_SIZE(texts))], sizeof(text));
	MIX_PUT2(mix, INSN_LD_IMM64(0, text));
	MIX_PUT(mix, INSN_STX(BPF_DW, 10, 0, -64));
	if (mix_chance(mix, 60))
		MIX_PUT(mix, INSN_STX(BPF_B, 10, mix_reg(mix),
				      (int16_t)(-64 + (int)mix_below(mix, 16))));
	mix_stack_address(mix, 1, -64);
	MIX_PUT(mix, INSN_MOV64_IMM(2, 1 + (int32_t)mix_below(mix, 40)));
	MIX_PUT(mix, INSN_MOV64_IMM(3, bases[mix_below(mix, ARRAY_SIZE(bases))]));
	mix_stack_address(mix, 4, -8);
	MIX_PUT(mix, INSN_CALL(mix_chance(mix, 50) ? BPF_FUNC_strtol : BPF_FUNC_strtoul));
	mix_take(mix);
}

/* The function at hand may call @func. */
static inline bool mix_may_call(const struct mix *mix, int func)
{
	return func > mix->func && mix->call_cnt < ARRAY_SIZE(mix->calls) &&
	       mix->cnt < MIX_INSNS / 2;
}

static inline void mix_will_call(struct mix *mix, int func)
{
	mix->calls[mix->call_cnt].at = mix->cnt;
	mix->calls[mix->call_cnt++].func = func;
}

static inline void mix_call(struct mix *mix)
{
	static const uint8_t hashes[] = {MIX_HASH, MIX_HASH_LATE, MIX_PERCPU_HASH, MIX_LRU,
					 MIX_LRU_PERCPU};
	const int func = (int)mix_below(mix, MIX_FUNCS);
	const int32_t at = -8 * (1 + (int32_t)mix_below(mix, MIX_NUMBERS));
	uint32_t map = mix_chance(mix, 70) ? MIX_TABLE : MIX_PERCPU;

	if (!mix_may_call(mix, func))
		return;
	if (func == MIX_CALLED) {
		MIX_PUT(mix, INSN_MOV64_REG(1, mix_reg(mix)));
		mix_stack_address(mix, 2, at);
		mix_will_call(mix, func);
		MIX_PUT(mix, INSN_CALL_REL(0));
		mix_take(mix);
		return;
	}
	if (func == MIX_ELEMENT)
		map = hashes[mix_below(mix, ARRAY_SIZE(hashes))];
	if (func == MIX_TURN) {
		MIX_PUT(mix, INSN_MOV64_REG(1, mix_reg(mix)));
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 1, 7));
	} else {
		mix_load_map(mix, 1, map);
	}
	mix_will_call(mix, func);
	MIX_PUT2(mix, INSN_LD_IMM64_SRC(2, BPF_PSEUDO_FUNC, 0));
	mix_stack_address(mix, 3, at);
	MIX_PUT(mix, INSN_MOV64_IMM(4, mix_chance(mix, 2)));
	MIX_PUT(mix, INSN_CALL(func == MIX_TURN ? BPF_FUNC_loop : BPF_FUNC_for_each_map_elem));
	mix_take(mix);
}

static inline void mix_jump(struct mix *mix)
{
	static const uint8_t ops[] = {BPF_JEQ,	BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	const uint8_t op = ops[mix_below(mix, ARRAY_SIZE(ops))], reg = mix_reg(mix);
	const uint8_t class = mix_chance(mix, 60) ? BPF_JMP : BPF_JMP32;

	if (mix->want_cnt == ARRAY_SIZE(mix->wants))
		return;
	mix->wants[mix->want_cnt].at = mix->cnt;
	mix->wants[mix->want_cnt++].left = 1 + mix_below(mix, 3);
	if (mix_chance(mix, 40))
		MIX_PUT(mix, INSN_RAW(class | op | BPF_X, reg, mix_reg(mix), 0, 0));
	else
		MIX_PUT(mix, INSN_RAW(class | op | BPF_K, reg, 0, 0, mix_number(mix)));
}

/* Jumps whose place is reached, or all of those behind @first. */
static inline void mix_land(struct mix *mix, uint32_t first, bool all)
{
	for (uint32_t i = first; i < mix->want_cnt;) {
		if (!all && --mix->wants[i].left) {
			i++;
			continue;
		}
		mix->insns[mix->wants[i].at].off = (int16_t)(mix->cnt - mix->wants[i].at - 1);
		mix->wants[i] = mix->wants[--mix->want_cnt];
	}
}

static inline void mix_pieces(struct mix *mix, uint32_t cnt);

/* A few turns, counted on the stack. */
static inline void mix_loop(struct mix *mix)
{
	uint32_t start;

	if (mix->in_loop)
		return;
	mix->in_loop = true;
	MIX_PUT(mix, INSN_ST(BPF_DW, 10, MIX_COUNTER, 0));
	start = mix->cnt;
	mix_pieces(mix, 1 + mix_below(mix, 3));
	MIX_PUT(mix, INSN_LDX(BPF_DW, 0, 10, MIX_COUNTER));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_ADD, 0, 1));
	MIX_PUT(mix, INSN_STX(BPF_DW, 10, 0, MIX_COUNTER));
	MIX_PUT(mix, INSN_JMP_IMM(BPF_JLT, 0, 2 + (int32_t)mix_below(mix, 4),
				  (int16_t)((int)start - (int)mix->cnt - 1)));
	mix->in_loop = false;
}

static inline void mix_piece(struct mix *mix)
{
	const uint32_t kind = mix_below(mix, 100);

	if (kind < 24)
		mix_alu(mix);
	else if (kind < 34)
		mix_touch_any(mix, 10, -8 * MIX_NUMBERS, 8 * MIX_NUMBERS);
	else if (kind < 44)
		mix_touch_any(mix, 9, 0, 64);
	else if (kind < 49)
		mix_indexed(mix);
	else if (kind < 64)
		mix_keyed(mix);
	else if (kind < 68)
		mix_nested(mix);
	else if (kind < 75)
		mix_keyless(mix);
	else if (kind < 78)
		mix_ring(mix);
	else if (kind < 80)
		mix_dynptr(mix);
	else if (kind < 83)
		mix_helper(mix);
	else if (kind < 85)
		mix_text(mix);
	else if (kind < 90)
		mix_call(mix);
	else if (kind < 97)
		mix_jump(mix);
	else
		mix_loop(mix);
}

/* None jumps out of these. */
static inline void mix_pieces(struct mix *mix, uint32_t cnt)
{
	const uint32_t first = mix->want_cnt;

	for (uint32_t i = 0; i < cnt; i++) {
		mix_piece(mix);
		mix_land(mix, first, false);
	}
	mix_land(mix, first, true);
}

static inline void mix_frame(struct mix *mix)
{
	for (int i = 1; i <= MIX_NUMBERS; i++)
		MIX_PUT(mix, INSN_STX(BPF_DW, 10, mix_reg(mix), (int16_t)(-8 * i)));
	MIX_PUT2(mix, INSN_LD_IMM64_SRC(9, BPF_PSEUDO_MAP_VALUE, MIX_DATA));
}

/* r1: what the caller's number is found by; it becomes another one. */
static inline void mix_give_back(struct mix *mix)
{
	MIX_PUT(mix, INSN_LDX(BPF_DW, 2, 1, 0));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_MUL, 2, 31));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_XOR, 2, 6));
	MIX_PUT(mix, INSN_STX(BPF_DW, 1, 2, 0));
}

/* Of a hash, in whatever order: sums. */
static inline void mix_element(struct mix *mix)
{
	MIX_PUT(mix, INSN_LDX(BPF_W, 6, 2, 0));
	MIX_PUT(mix, INSN_LDX(BPF_DW, 7, 3, 0));
	MIX_PUT(mix, INSN_ALU64_IMM(BPF_MUL, 6, 1000003));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_XOR, 6, 7));
	MIX_PUT(mix, INSN_LDX(BPF_DW, 7, 4, 0));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_ADD, 7, 6));
	MIX_PUT(mix, INSN_STX(BPF_DW, 4, 7, 0));
	MIX_PUT(mix, INSN_MOV64_IMM(0, 0));
	MIX_PUT(mix, INSN_EXIT());
}

static inline void mix_function(struct mix *mix, int func)
{
	mix->func = func;
	if (func == MIX_ELEMENT) {
		mix_element(mix);
		return;
	}
	if (func == MIX_ENTRY) {
		MIX_PUT(mix, INSN_LDX(BPF_W, 6, 2, 0));
		MIX_PUT(mix, INSN_LDX(BPF_DW, 7, 3, 0));
		MIX_PUT(mix, INSN_MOV64_REG(2, 4));
	} else {
		MIX_PUT(mix, INSN_MOV64_REG(6, 1));
		MIX_PUT(mix, INSN_MOV64_IMM(7, mix_number(mix)));
	}
	MIX_PUT(mix, INSN_LDX(BPF_DW, 8, 2, 0));
	MIX_PUT(mix, INSN_STX(BPF_DW, 10, 2, MIX_CALLER));
	mix_frame(mix);
	mix_pieces(mix, 1 + mix_below(mix, 5));
	MIX_PUT(mix, INSN_LDX(BPF_DW, 1, 10, MIX_CALLER));
	mix_give_back(mix);
	if (func == MIX_CALLED) {
		MIX_PUT(mix, INSN_MOV64_REG(0, 7));
		MIX_PUT(mix, INSN_ALU64_REG(BPF_ADD, 0, 8));
	} else { /* seldom the last turn */
		MIX_PUT(mix, INSN_MOV64_IMM(0, 0));
		MIX_PUT(mix, INSN_ALU64_IMM(BPF_AND, 7, 7));
		MIX_PUT(mix, INSN_JMP_IMM(BPF_JNE, 7, 5, 1));
		MIX_PUT(mix, INSN_MOV64_IMM(0, 1));
	}
	MIX_PUT(mix, INSN_EXIT());
}

/* The functions that are called, behind the program; each may call those behind it. */
static inline void mix_functions(struct mix *mix)
{
	for (int func = 0; func < MIX_FUNCS; func++) {
		const uint32_t start = mix->cnt;
		bool is_called = false;

		for (uint32_t i = 0; i < mix->call_cnt; i++) {
			if (mix->calls[i].func != func)
				continue;
			mix->insns[mix->calls[i].at].imm = (int32_t)(start - mix->calls[i].at - 1);
			is_called = true;
		}
		if (is_called)
			mix_function(mix, func);
	}
}

/** mix_program() - program @number. Return: whether there was room for it */
static inline bool mix_program(struct mix *mix, uint64_t number, const void *user)
{
	memset(mix, 0, sizeof(*mix));
	mix->seed = 0x9e3779b97f4a7c15ull * (number + 1);
	mix->user = (uintptr_t)user;
	mix->func = -1;
	for (uint8_t reg = 6; reg < 9; reg++)
		MIX_PUT(mix, INSN_LDX(BPF_DW, reg, 1, (int16_t)(8 * mix_below(mix, MIX_CTX))));
	for (int16_t i = 1; i <= MIX_NUMBERS; i++) {
		MIX_PUT(mix, INSN_LDX(BPF_DW, 0, 1, (int16_t)(8 * mix_below(mix, MIX_CTX))));
		MIX_PUT(mix, INSN_STX(BPF_DW, 10, 0, (int16_t)(-8 * i)));
	}
	MIX_PUT2(mix, INSN_LD_IMM64_SRC(9, BPF_PSEUDO_MAP_VALUE, MIX_DATA));
	mix_pieces(mix, 4 + mix_below(mix, 24));
	MIX_PUT2(mix, INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_VALUE, MIX_OUT));
	for (uint8_t reg = 6; reg < 9; reg++)
		MIX_PUT(mix, INSN_STX(BPF_DW, 1, reg, (int16_t)(8 * (reg - 6))));
	for (int16_t i = 1; i <= MIX_NUMBERS; i++) {
		MIX_PUT(mix, INSN_LDX(BPF_DW, 0, 10, (int16_t)(-8 * i)));
		MIX_PUT(mix, INSN_STX(BPF_DW, 1, 0, (int16_t)(16 + 8 * i)));
	}
	MIX_PUT(mix, INSN_MOV64_REG(0, 6));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_XOR, 0, 7));
	MIX_PUT(mix, INSN_ALU64_REG(BPF_ADD, 0, 8));
	MIX_PUT(mix, INSN_EXIT());
	mix_functions(mix);
	return mix->cnt < MIX_INSNS;
}
