/* SPDX-License-Identifier: MIT */
/*
 * States and registers; see state.h.
 */
#include "verifier/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void reg_set_none(struct reg *reg)
{
	*reg = (struct reg){.type = REG_NONE};
}

void reg_set_unknown(struct reg *reg)
{
	*reg = (struct reg){.type = REG_SCALAR, .r64 = range_unknown(64), .r32 = range_unknown(32)};
}

void reg_set_const(struct reg *reg, uint64_t value)
{
	*reg = (struct reg){
		.type = REG_SCALAR, .r64 = range_const(value, 64), .r32 = range_const(value, 32)};
}

void reg_set_r64(struct reg *reg, const struct range *r64)
{
	*reg = (struct reg){.type = REG_SCALAR, .r64 = *r64, .r32 = range_truncate(r64, 64, 32)};
}

void reg_set_r32(struct reg *reg, const struct range *r32)
{
	*reg = (struct reg){.type = REG_SCALAR, .r64 = range_extend(r32, 64), .r32 = *r32};
}

void reg_set_bounded(struct reg *reg, unsigned int size, bool is_signed)
{
	struct range narrow = range_unknown(size * 8), wide;

	if (size == 8) {
		reg_set_unknown(reg);
		return;
	}
	wide = is_signed ? range_extend_signed(&narrow, size * 8, 64) : range_extend(&narrow, 64);
	reg_set_r64(reg, &wide);
}

bool reg_narrow(struct reg *reg)
{
	struct range low = range_truncate(&reg->r64, 64, 32), wide;

	if (!range_meet(&reg->r32, &low, 32))
		return false;
	/* The upper half is zero: then the halves are the same number. */
	if (reg->r64.umax <= UINT32_MAX) {
		wide = range_extend(&reg->r32, 64);
		return range_meet(&reg->r64, &wide, 64);
	}
	wide = range_unknown(64);
	wide.t = (struct tnum){.value = reg->r32.t.value,
			       .mask = reg->r32.t.mask | ~(uint64_t)UINT32_MAX};
	return range_meet(&reg->r64, &wide, 64);
}

int state_copy(struct state *to, const struct state *from)
{
	struct slot *slots = NULL;

	if (from->slot_cnt) {
		slots = malloc(from->slot_cnt * sizeof(*slots));
		if (!slots)
			return -ENOMEM;
		memcpy(slots, from->slots, from->slot_cnt * sizeof(*slots));
	}
	*to = *from;
	to->slots = slots;
	return 0;
}

void state_deinit(struct state *state)
{
	free(state->slots);
	*state = (struct state){0};
}

struct slot *state_slot(struct state *state, int off)
{
	uint32_t index = (uint32_t)(-off - 1) / 8;
	struct slot *grown;

	if (index < state->slot_cnt)
		return &state->slots[index];
	grown = realloc(state->slots, (index + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	memset(grown + state->slot_cnt, 0, (index + 1 - state->slot_cnt) * sizeof(*grown));
	state->slots = grown;
	state->slot_cnt = index + 1;
	return &state->slots[index];
}

/* Lookups are told apart by number; between two states the numbers only have to correspond. */
struct id_map {
	uint32_t a[REGS + SLOTS], b[REGS + SLOTS];
	uint32_t cnt;
};

static bool ids_match(struct id_map *map, uint32_t a, uint32_t b)
{
	if (!a != !b)
		return false;
	for (uint32_t i = 0; i < map->cnt; i++)
		if (map->a[i] == a || map->b[i] == b)
			return map->a[i] == a && map->b[i] == b;
	if (map->cnt == REGS + SLOTS)
		return false;
	map->a[map->cnt] = a;
	map->b[map->cnt++] = b;
	return true;
}

static bool reg_covers(const struct reg *a, const struct reg *b, struct id_map *ids)
{
	/* What was proved without ever reading it holds whatever it is. */
	if (a->type == REG_NONE)
		return true;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case REG_SCALAR:
		return range_covers(&a->r64, &b->r64) && range_covers(&a->r32, &b->r32);
	case REG_CTX:
	case REG_STACK:
	case REG_MAP:
		return a->map == b->map && a->off == b->off && range_covers(&a->r64, &b->r64);
	case REG_VALUE:
	case REG_VALUE_OR_NULL:
		return a->map == b->map && a->off == b->off && range_covers(&a->r64, &b->r64) &&
		       (a->type == REG_VALUE || ids_match(ids, a->id, b->id));
	default:
		return false;
	}
}

static bool byte_covers(uint8_t a, uint8_t b)
{
	if (a == BYTE_NONE)
		return true;
	/* Any byte that was written will do. */
	if (a == BYTE_MISC)
		return b != BYTE_NONE;
	return a == b;
}

static bool slot_covers(const struct slot *a, const struct slot *b, struct id_map *ids)
{
	for (int i = 0; i < 8; i++)
		if (!byte_covers(a->bytes[i], b->bytes[i]))
			return false;
	/* A whole register was spilled in both, or in neither. */
	if (a->bytes[0] == BYTE_SPILL)
		return reg_covers(&a->spilled, &b->spilled, ids);
	return true;
}

bool state_covers(const struct state *a, const struct state *b)
{
	static const struct slot empty;
	struct id_map ids;

	ids.cnt = 0; /* the rest is written before it is read */
	for (uint32_t i = 0; i < REGS; i++)
		if (!reg_covers(&a->regs[i], &b->regs[i], &ids))
			return false;
	for (uint32_t i = 0; i < a->slot_cnt; i++)
		if (!slot_covers(&a->slots[i], i < b->slot_cnt ? &b->slots[i] : &empty, &ids))
			return false;
	return true;
}
