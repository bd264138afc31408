/* SPDX-License-Identifier: MIT */
/*
 * Registers; see state.h.
 */
#include "verifier/state.h"

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
