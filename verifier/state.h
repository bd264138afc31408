/* SPDX-License-Identifier: MIT */
/*
 * What is known at one point of one path: registers and stack. Shared by the verifier's files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "verifier/range.h"
#include "verifier/verifier.h"

#define REGS	   11u
#define STACK_MAX  512
#define SLOTS	   (STACK_MAX / 8)
#define INSNS_MAX  1000000u /* processed; BPF_COMPLEXITY_LIMIT_INSNS, Linux 6.12 */
#define JUMPS_MAX  8192u    /* BPF_COMPLEXITY_LIMIT_JMP_SEQ */
#define VAR_OFF_MAX (1 << 29) /* BPF_MAX_VAR_OFF */
#define CTX_SIZE   168	      /* struct pt_regs of x86-64 */

enum reg_type {
	REG_NONE, /* never written, or of no use any more */
	REG_SCALAR,
	REG_CTX,
	REG_STACK,
	REG_MAP,	   /* the map itself */
	REG_VALUE,	   /* a map's value */
	REG_VALUE_OR_NULL, /* what a lookup returned; @id tells which lookup */
};

/**
 * struct reg
 * @r64, @r32: scalar: the value and its lower half. Pointers: @r64 is the variable part of the offset
 * @off: pointers: constant part of the offset
 * @map: index of the map, for the last three types
 * @id: REG_VALUE_OR_NULL: which lookup
 */
struct reg {
	enum reg_type type;
	uint32_t map, id;
	int32_t off;
	struct range r64, r32;
};

enum byte_type { BYTE_NONE, BYTE_SPILL, BYTE_MISC, BYTE_ZERO };

/** struct slot - eight bytes of stack; @spilled is valid when all bytes are BYTE_SPILL */
struct slot {
	uint8_t bytes[8];
	struct reg spilled;
};

/** struct state - @slots[N] are the bytes from -8 * (N + 1); @slot_cnt of them are in use, owned */
struct state {
	struct reg regs[REGS];
	struct slot *slots;
	uint32_t slot_cnt;
};

/** state_copy() - Return: 0 or -ENOMEM */
int state_copy(struct state *to, const struct state *from);
void state_deinit(struct state *state);
/** state_slot() - slot of byte offset @off (negative), made if there is none yet; NULL without memory */
struct slot *state_slot(struct state *state, int off);
/** state_covers() - all that @b can be, @a can be: what was proved from @a holds from @b */
bool state_covers(const struct state *a, const struct state *b);

static inline bool reg_is_pointer(const struct reg *reg)
{
	return reg->type > REG_SCALAR;
}

void reg_set_unknown(struct reg *reg);
void reg_set_const(struct reg *reg, uint64_t value);
/** reg_set_bounded() - a value read from memory, of @size bytes */
void reg_set_bounded(struct reg *reg, unsigned int size, bool is_signed);
void reg_set_none(struct reg *reg);
/** reg_set_r64(), reg_set_r32() - a scalar; the other half follows. A 32-bit result is zero-extended. */
void reg_set_r64(struct reg *reg, const struct range *r64);
void reg_set_r32(struct reg *reg, const struct range *r32);
/** reg_narrow() - carry what one half says to the other. Return: false when nothing is left. */
bool reg_narrow(struct reg *reg);
