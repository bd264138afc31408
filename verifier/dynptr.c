/* SPDX-License-Identifier: MIT */
/*
 * See dynptr.h.
 */
#include "verifier/dynptr.h"

#include <errno.h>
#include <string.h>

#define SLOT 8

static bool is_dynptr(const struct slot *slot)
{
	return slot->bytes[0] == BYTE_DYNPTR;
}

static const char *kind_name(enum dynptr_kind kind)
{
	return kind == DYNPTR_RECORD ? "ringbuf" : "local";
}

int dynptr_find(const struct walk *walk, uint32_t frame, int off, unsigned int size)
{
	for (int i = off; i < off + (int)size; i++)
		if (is_dynptr(frame_peek(state_frame(&walk->state, frame), i)))
			return i;
	return 0;
}

static bool is_slice_of(const struct reg *reg, const void *key)
{
	return (reg->type == REG_SLICE || reg->type == REG_SLICE_OR_NULL) &&
	       reg->dynptr == *(const uint32_t *)key;
}

static void drop(struct reg *reg, void *data)
{
	(void)data;
	reg_set_unknown(reg);
}

/* For the log. */
static void note_touched(struct walk *walk, uint32_t frame, int off)
{
	if (frame == walk->state.caller_cnt)
		walk->slots_touched |= 3ull << (-off - DYNPTR_SIZE) / SLOT;
}

/* Whoever has an address from it has a number now. @off: of its lower half */
static int destroy(struct walk *walk, uint32_t index, int off)
{
	struct frame *frame = state_own(&walk->state, index);
	uint32_t id;

	if (!frame)
		return -ENOMEM;
	note_touched(walk, index, off);
	id = frame_peek(frame, off)->spilled.id;
	for (int i = off; i < off + DYNPTR_SIZE; i += SLOT) {
		struct slot *slot = frame_slot(frame, i);

		if (!slot)
			return -ENOMEM;
		memset(slot->bytes, BYTE_NONE, sizeof(slot->bytes));
		reg_set_none(&slot->spilled);
	}
	return state_each_if(&walk->state, is_slice_of, &id, drop, NULL);
}

int dynptr_take_place(struct walk *walk, uint32_t frame, int off, unsigned int size)
{
	/* One that is found is gone afterwards. */
	while ((off = dynptr_find(walk, frame, off, size))) {
		const struct slot *slot = frame_peek(state_frame(&walk->state, frame), off);
		int low = -SLOT * ((-off - 1) / SLOT + 1) - slot->spilled.off, r;

		if (slot->spilled.dynptr)
			return walk_fail(walk, -EINVAL, "cannot overwrite referenced dynptr\n");
		r = destroy(walk, frame, low);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return: its offset, or 0, and the log says why there is none. */
static int place_of(struct walk *walk, const struct reg *reg)
{
	int64_t off;

	if (!range_is_const(&reg->r64)) {
		walk_say(walk, "dynptr has to be at a constant offset\n");
		return 0;
	}
	off = reg->off + (int64_t)reg->r64.umin;
	if (off % SLOT || off > -DYNPTR_SIZE) {
		walk_say(walk, "cannot pass in dynptr at an offset=%lld\n", (long long)off);
		return 0;
	}
	/* Further down there is no stack, which whoever uses it will find out. */
	return off < INT32_MIN / 2 ? INT32_MIN / 2 : (int)off;
}

int dynptr_new(struct walk *walk, uint32_t regno, enum dynptr_kind kind)
{
	const struct reg at = *walk_reg(walk, regno);
	struct reg made = {.type = REG_DYNPTR, .map = kind, .r64 = range_const(0, 64)};
	struct frame *frame;
	int off = 0, r = 0;

	if (at.type == REG_STACK)
		off = place_of(walk, &at);
	if (!off)
		return walk_fail(walk, -EINVAL, "Dynptr has to be an uninitialized dynptr\n");
	for (int i = 0; i < DYNPTR_SIZE && r == 0; i += SLOT)
		r = stack_store(walk, &at, regno, i, SLOT, NULL);
	if (r < 0)
		return r;
	made.id = ++walk->last_id;
	if (kind == DYNPTR_RECORD) {
		made.dynptr = ++walk->last_id;
		r = ref_acquire(walk, made.dynptr);
	}
	frame = state_own(&walk->state, at.frame);
	note_touched(walk, at.frame, off);
	for (int i = 0; i < DYNPTR_SIZE && frame && r == 0; i += SLOT) {
		struct slot *slot = frame_slot(frame, off + i);

		if (!slot)
			return -ENOMEM;
		memset(slot->bytes, BYTE_DYNPTR, sizeof(slot->bytes));
		slot->spilled = made;
		slot->spilled.off = i;
	}
	return frame ? r : -ENOMEM;
}

/* Half of one that is where @reg points to, or NULL. */
static const struct reg *find_half(struct walk *walk, const struct reg *reg)
{
	const struct slot *slot;
	int off = place_of(walk, reg);

	if (!off || off < -STACK_MAX)
		return NULL;
	slot = frame_peek(state_frame(&walk->state, reg->frame), off);
	return is_dynptr(slot) ? &slot->spilled : NULL;
}

static void note_read(struct walk *walk, const struct reg *reg)
{
	int off = reg->off + (int)reg->r64.umin;

	note_touched(walk, reg->frame, off);
	for (int i = off; i < off + DYNPTR_SIZE; i += SLOT)
		explored_read(walk, reg->frame, (uint32_t)(-i - 1) / SLOT);
}

int dynptr_use(struct walk *walk, uint32_t regno, enum dynptr_kind kind, uint32_t *ret_id)
{
	const struct reg *reg = walk_reg(walk, regno), *found = reg;

	if (reg->type != REG_STACK && reg->type != REG_DYNPTR)
		return walk_fail(walk, -EACCES, "R%u type=%s expected=fp, dynptr_ptr\n", regno,
				 reg_type_name(reg->type));
	if (reg->type == REG_DYNPTR && (reg->off || !range_is_const(&reg->r64) || reg->r64.umin))
		return walk_fail(walk, -EACCES,
				 "dereference of modified dynptr_ptr ptr R%u off=%d disallowed\n",
				 regno, reg->off);
	if (reg->type == REG_STACK)
		found = find_half(walk, reg);
	if (!found || (reg->type == REG_STACK && found->off))
		return walk_fail(walk, -EINVAL, "Expected an initialized dynptr as arg #%u\n",
				 regno - 1);
	if (kind != DYNPTR_ANY && found->map != kind)
		return walk_fail(walk, -EINVAL, "Expected a dynptr of type %s as arg #%u\n",
				 kind_name(kind), regno - 1);
	*ret_id = found->id;
	if (reg->type == REG_STACK)
		note_read(walk, reg);
	return 0;
}

uint32_t dynptr_ref_of(const struct walk *walk, uint32_t id)
{
	for (uint32_t i = 0; i <= walk->state.caller_cnt; i++) {
		const struct frame *frame = state_frame(&walk->state, i);

		for (uint32_t k = 0; k < frame->slot_cnt; k++)
			if (is_dynptr(&frame->slots[k]) && frame->slots[k].spilled.id == id)
				return frame->slots[k].spilled.dynptr;
	}
	return 0;
}

int dynptr_check_release(struct walk *walk, uint32_t regno, uint32_t *ret_ref)
{
	const struct reg *reg = walk_reg(walk, regno), *found;
	uint32_t id;

	if (reg->type == REG_DYNPTR)
		return walk_fail(walk, -EINVAL, "cannot release unowned const bpf_dynptr\n");
	if (reg->type == REG_STACK) {
		found = find_half(walk, reg);
		if (!found || !found->dynptr)
			return walk_fail(walk, -EINVAL, "arg %u is an unacquired reference\n",
					 regno);
		*ret_ref = found->dynptr;
	}
	return dynptr_use(walk, regno, DYNPTR_RECORD, &id);
}

int dynptr_release(struct walk *walk, uint32_t regno)
{
	const struct reg *reg = walk_reg(walk, regno);

	return destroy(walk, reg->frame, reg->off + (int)reg->r64.umin);
}
