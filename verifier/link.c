/* SPDX-License-Identifier: MIT */
/*
 * Linked scalars: copies of one number, in registers and on the stack, to each of which a constant
 * may have been added since. What a comparison tells of one holds for the others.
 *
 * Source of what is linked and how many: adjust_reg_min_max_vals(), sync_linked_regs(),
 * collect_linked_regs(), kernel/bpf/verifier.c, Linux 6.18 (stable). What was learnt of a number
 * through another is proved from both: their origins are joined.
 */
#include <errno.h>

#include "verifier/internal.h"

#define LINKED_MAX 6u /* LINKED_REGS_MAX, Linux 6.18 */

void link_drop(struct reg *reg)
{
	reg->id = 0;
	reg->off = 0;
	reg->added = ADDED_NONE;
}

void link_copy(struct walk *walk, struct reg *reg)
{
	if (reg->type != REG_SCALAR)
		return;
	/* Nothing is added twice: where it was, the copies are linked to each other alone. */
	if (reg->added)
		link_drop(reg);
	if (!reg->id && !range_is_const(&reg->r64))
		reg->id = ++walk->last_id;
}

bool link_fits(const struct reg *reg, unsigned int bytes, bool is_signed)
{
	unsigned int bits = bytes * 8 - is_signed;

	return bytes == 8 || (reg->type == REG_SCALAR && reg->r64.umax >> bits == 0);
}

void link_add(struct reg *dst, const struct reg *old, const struct reg *added, bool wide,
	      bool subtract)
{
	int64_t off = wide ? added->r64.smin : added->r32.smin;

	if (!old->id || old->added || !range_is_const(wide ? &added->r64 : &added->r32) ||
	    (!wide && !link_fits(old, 4, false)) || off < INT32_MIN || off > INT32_MAX ||
	    (subtract && off == INT32_MIN))
		return;
	dst->id = old->id;
	dst->off = (int32_t)(subtract ? -off : off);
	dst->added = wide ? ADDED_64 : ADDED_32;
}

static void limit(struct reg *reg, uint32_t id, uint32_t *cnt)
{
	if (reg->type != REG_SCALAR || reg->id != id)
		return;
	if (*cnt == LINKED_MAX)
		link_drop(reg);
	else
		(*cnt)++;
}

static bool has_link(const struct frame *frame, uint32_t id)
{
	for (uint32_t i = 0; i < REGS; i++)
		if (frame->regs[i].type == REG_SCALAR && frame->regs[i].id == id)
			return true;
	for (uint32_t i = 0; i < frame->slot_cnt; i++)
		if (frame->slots[i].bytes[0] == BYTE_SPILL && frame->slots[i].spilled.id == id)
			return true;
	return false;
}

/* Innermost frame first, registers before the stack. */
static int limit_all(struct state *state, uint32_t id, uint32_t *cnt)
{
	for (uint32_t i = state->caller_cnt + 1; id && i-- > 0;) {
		struct frame *frame;

		if (!has_link(state_frame(state, i), id))
			continue;
		frame = state_own(state, i);
		if (!frame)
			return -ENOMEM;
		for (uint32_t k = 0; k < REGS; k++)
			limit(&frame->regs[k], id, cnt);
		for (uint32_t k = 0; k < frame->slot_cnt; k++)
			if (frame->slots[k].bytes[0] == BYTE_SPILL)
				limit(&frame->slots[k].spilled, id, cnt);
	}
	return 0;
}

int link_limit(struct walk *walk, uint32_t dst, int src)
{
	uint32_t cnt = 0;
	int r = 0;

	if (src >= 0)
		r = limit_all(&walk->state, walk_reg(walk, (uint32_t)src)->id, &cnt);
	return r < 0 ? r : limit_all(&walk->state, walk_reg(walk, dst)->id, &cnt);
}

/** struct learnt - what is known of @from goes to those that are linked to it */
struct learnt {
	struct origins *origins;
	const struct reg *from;
};

/* @reg is @from and a constant. */
static void set_linked(struct reg *reg, const struct reg *from)
{
	bool wide = reg->added != ADDED_32 && from->added != ADDED_32;
	uint64_t delta = (uint64_t)((int64_t)reg->off - from->off);
	struct range off64 = range_const(delta, 64), off32 = range_const(delta, 32);
	struct reg out;

	out.r32 = range_alu(BPF_ADD, &from->r32, &off32, 32, false);
	out.r64 = wide ? range_alu(BPF_ADD, &from->r64, &off64, 64, false)
		       : range_extend(&out.r32, 64);
	/* On a path that cannot be nothing may be left; then nothing is made of it. */
	if (!reg_narrow(&out))
		return;
	reg->r64 = out.r64;
	reg->r32 = out.r32;
}

static void learn(struct reg *reg, void *data)
{
	const struct learnt *learnt = data;
	const struct reg *from = learnt->from;

	if (reg->added == from->added && reg->off == from->off) {
		reg->r64 = from->r64;
		reg->r32 = from->r32;
	} else if (!reg->added || !from->added || reg->added == from->added) {
		set_linked(reg, from);
	} else {
		return; /* each added as another kind of number; the kernel makes nothing of it */
	}
	reg->origin = origin_join(learnt->origins, reg->origin, from->origin);
}

int link_learn(struct walk *walk, struct state *state, uint32_t regno)
{
	const struct reg from = state->top.regs[regno];
	struct learnt learnt = {&walk->origins, &from};

	if (from.type != REG_SCALAR || !from.id)
		return 0;
	return state_each(state, from.id, learn, &learnt);
}
