/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores on the stack.
 */
#include <errno.h>
#include <string.h>

#include "verifier/dynptr.h"
#include "verifier/internal.h"

/**
 * struct place - bytes of a stack: those from @min to below @max + the size of the access
 * @min, @max: offsets from the top, negative; the same unless the offset varies
 */
struct place {
	uint32_t frame;
	int min, max;
};

static void note_depth(struct walk *walk, const struct place *place)
{
	const struct frame *frame = state_frame(&walk->state, place->frame);
	struct subprog *subprog = &walk->subprogs[cfg_subprog(walk, frame->start)];

	if ((uint32_t)-place->min > subprog->depth)
		subprog->depth = (uint32_t)-place->min;
}

/* Source of the messages: check_stack_access_within_bounds(), Linux 6.12. */
static int locate(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
		  uint64_t size, bool write, struct place *ret)
{
	const char *what = write ? " write to" : " read from";
	int64_t off = (int64_t)at->off + insn_off, min, max;

	if (at->r64.smin <= -VAR_OFF_MAX || at->r64.smax >= VAR_OFF_MAX)
		return walk_fail(walk, -EACCES, "invalid unbounded variable-offset%s stack R%u\n",
				 what, regno);
	min = off + at->r64.smin;
	max = off + at->r64.smax;
	if (min < -STACK_MAX || max >= 0 || max + (int64_t)size > 0) {
		int error = min < -STACK_MAX || min >= 0 ? -EACCES : -EINVAL;

		if (min == max)
			return walk_fail(walk, error, "invalid%s stack R%u off=%lld size=%llu\n",
					 what, regno, (long long)min, (unsigned long long)size);
		return walk_fail(walk, error,
				 "invalid variable-offset%s stack R%u off=%lld..%lld size=%llu\n",
				 what, regno, (long long)min, (long long)max,
				 (unsigned long long)size);
	}
	*ret = (struct place){.frame = at->frame, .min = (int)min, .max = (int)max};
	note_depth(walk, ret);
	return 0;
}

/* The same for an instruction: a slot's bytes are looked at in their natural groups. */
static int locate_aligned(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
			  unsigned int size, bool write, struct place *ret)
{
	struct tnum off =
		tnum_add(at->r64.t, tnum_const((uint64_t)((int64_t)at->off + insn_off)), 64);

	if ((off.value | off.mask) & (size - 1))
		return walk_fail(walk, -EACCES, "misaligned stack access off %d size %u\n",
				 at->off + insn_off, size);
	return locate(walk, at, regno, insn_off, size, write, ret);
}

static uint32_t slot_of(int off)
{
	return (uint32_t)(-off - 1) / 8;
}

/* Slot N holds the bytes from -8 * (N + 1) up. */
static unsigned int byte_of(int off)
{
	return 7 - (unsigned int)(-off - 1) % 8;
}

/*
 * Bytes of a spilled register are just bytes when some of them were replaced, and so are those
 * above a part of one, as in the kernel.
 */
static void break_spill(struct slot *slot)
{
	bool any = slot->bytes[0] == BYTE_SPILL;

	for (int i = 0; any && i < 8; i++)
		if (slot->bytes[i] != BYTE_NONE)
			slot->bytes[i] = BYTE_MISC;
}

static int set_bytes(struct walk *walk, uint32_t index, int off, unsigned int size, uint8_t type)
{
	struct frame *frame;
	int r = dynptr_take_place(walk, index, off, size);

	if (r < 0)
		return r;
	frame = state_own(&walk->state, index);
	for (int i = off; frame && i < off + (int)size; i++) {
		struct slot *slot = frame_slot(frame, i);

		if (!slot)
			return -ENOMEM;
		break_spill(slot);
		slot->bytes[byte_of(i)] = type;
	}
	return frame ? 0 : -ENOMEM;
}

/* Slots of which every byte is replaced: who reads them later does not read what was there. */
static void note_written(struct walk *walk, uint32_t frame, int off, unsigned int size)
{
	for (int i = off; i + 8 <= off + (int)size; i++)
		if (i % 8 == 0)
			walk->state.written[frame] |= 1ull << slot_of(i);
}

static void note_read(struct walk *walk, uint32_t frame, int off, unsigned int size)
{
	for (int i = off; i < off + (int)size; i++)
		if (i == off || i % 8 == 0)
			explored_read(walk, frame, slot_of(i));
}

static bool has_only(const struct walk *walk, const struct place *place, unsigned int size,
		     uint8_t type)
{
	const struct frame *frame = state_frame(&walk->state, place->frame);

	for (int i = place->min; i < place->max + (int)size; i++)
		if (frame_peek(frame, i)->bytes[byte_of(i)] != type)
			return false;
	return true;
}

/* Bytes that were not written, or not for sure, are read or may be from here on. */
static void note_unwritten(struct walk *walk, const struct place *place, unsigned int size)
{
	const struct frame *frame = state_frame(&walk->state, place->frame);

	for (int i = place->min; i < place->max + (int)size; i++)
		if (frame_peek(frame, i)->bytes[byte_of(i)] == BYTE_NONE)
			walk->facts->reads_unwritten = true;
}

/* Nobody but helpers looks into dynptrs. */
static int check_no_dynptr(struct walk *walk, const struct place *place, uint32_t regno,
			   unsigned int size)
{
	unsigned int len = (unsigned int)(place->max - place->min) + size;
	int off = dynptr_find(walk, place->frame, place->min, len);

	if (!off)
		return 0;
	return walk_fail(walk, -EACCES, "invalid read from stack R%u off %d+%d size %u\n", regno,
			 place->min, off - place->min, size);
}

static bool is_zero(const struct reg *value)
{
	return value && reg_is_const(value) && !value->r64.umin;
}

/* A slot from which zeroes are read wherever it is read. */
static bool is_zero_spill(const struct slot *slot)
{
	return slot_spilled(slot) == 8 && is_zero(&slot->spilled);
}

/* Somewhere in a range: what was zero there stays zero if that is what is written. */
static int set_varying(struct walk *walk, const struct place *place, unsigned int size,
		       const struct reg *value)
{
	const bool zero = is_zero(value);
	const unsigned int len = (unsigned int)(place->max - place->min) + size;
	struct frame *frame;
	int r = dynptr_take_place(walk, place->frame, place->min, len);

	if (r < 0)
		return r;
	if (zero)
		need_value(walk, value);
	frame = state_own(&walk->state, place->frame);
	for (int i = place->min; frame && i < place->min + (int)len; i++) {
		struct slot *slot = frame_slot(frame, i);

		if (!slot)
			return -ENOMEM;
		if (zero && (is_zero_spill(slot) || slot->bytes[byte_of(i)] == BYTE_ZERO))
			continue;
		break_spill(slot);
		slot->bytes[byte_of(i)] = BYTE_MISC;
	}
	return frame ? 0 : -ENOMEM;
}

static int spill(struct walk *walk, const struct place *place, unsigned int size, struct reg *value)
{
	const bool fits = reg_is_pointer(value) || link_fits(value, size, false);
	struct frame *frame;
	struct slot *slot;
	int r = dynptr_take_place(walk, place->frame, place->min, size);

	if (r < 0)
		return r;
	frame = state_own(&walk->state, place->frame);
	slot = frame ? frame_slot(frame, place->min) : NULL;
	if (!slot)
		return -ENOMEM;
	for (unsigned int i = size; i < 8; i++)
		if (slot->bytes[i] == BYTE_SPILL)
			slot->bytes[i] = BYTE_MISC;
	memset(slot->bytes, BYTE_SPILL, size);
	if (fits)
		link_copy(walk, value);
	slot->spilled = *value;
	/* Part of it is another number. */
	if (!fits)
		link_drop(&slot->spilled);
	return 0;
}

int stack_store(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
		unsigned int size, struct reg *value)
{
	bool zero = is_zero(value);
	struct place place;
	int r = locate_aligned(walk, at, regno, insn_off, size, true, &place);

	if (r < 0)
		return r;
	if (size != 8 && value && reg_is_pointer(value))
		return walk_fail(walk, -EACCES, "invalid size of register spill\n");
	if (value && value->type == REG_STACK && place.frame != walk->state.caller_cnt)
		return walk_fail(walk, -EINVAL,
				 "cannot spill pointers to stack into stack frame of the caller\n");
	if (place.min != place.max) {
		note_unwritten(walk, &place, size);
		return set_varying(walk, &place, size, value);
	}
	if (value && place.min % 8 == 0) {
		r = spill(walk, &place, size, value);
	} else {
		/* That it is zero is remembered without the number. */
		if (zero)
			need_value(walk, value);
		r = set_bytes(walk, place.frame, place.min, size, zero ? BYTE_ZERO : BYTE_MISC);
	}
	note_written(walk, place.frame, place.min, size);
	return r;
}

/* The lowest @size bytes of a register, of which the slot holds as many. */
static int fill(struct walk *walk, const struct place *place, unsigned int size, bool is_signed,
		struct reg *ret)
{
	struct frame *frame = state_own(&walk->state, place->frame);
	struct slot *slot = frame ? frame_slot(frame, place->min) : NULL;
	struct reg *spilled;
	struct range part;
	struct reg whole;

	if (!slot)
		return -ENOMEM;
	spilled = &slot->spilled;
	if (size == 8 || (size == 4 && slot_spilled(slot) == 4 && link_fits(spilled, 4, false)))
		link_copy(walk, spilled);
	whole = *spilled;
	/* A number that fits is still the same number. */
	if (size == 8 || link_fits(&whole, size, is_signed)) {
		*ret = whole;
		return 0;
	}
	part = size == 4 ? whole.r32 : range_truncate(&whole.r64, 64, size * 8);
	part = is_signed ? range_extend_signed(&part, size * 8, 64) : range_extend(&part, 64);
	reg_set_r64(ret, &part);
	ret->origin = whole.origin;
	return 0;
}

int stack_load(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
	       unsigned int size, bool is_signed, struct reg *ret)
{
	const struct slot *slot;
	unsigned int spilled;
	struct place place;
	int r = locate_aligned(walk, at, regno, insn_off, size, false, &place);

	if (r < 0)
		return r;
	r = check_no_dynptr(walk, &place, regno, size);
	if (r < 0)
		return r;
	note_read(walk, place.frame, place.min, (unsigned int)(place.max - place.min) + size);
	slot = frame_peek(state_frame(&walk->state, place.frame), place.min);
	spilled = place.min == place.max ? slot_spilled(slot) : 0;
	if (spilled && reg_is_pointer(&slot->spilled) && size != 8)
		return walk_fail(walk, -EACCES, "invalid size of register fill\n");
	if (!byte_of(place.min) && size <= spilled)
		return fill(walk, &place, size, is_signed, ret);
	note_unwritten(walk, &place, size);
	if (has_only(walk, &place, size, BYTE_ZERO)) {
		reg_set_const(ret, 0);
	} else if (is_zero(&slot->spilled) && byte_of(place.min) + size <= spilled) {
		/* Any part of nothing. */
		uint32_t origin = slot->spilled.origin;

		reg_set_const(ret, 0);
		ret->origin = origin;
	} else {
		reg_set_bounded(ret, size, is_signed);
	}
	return 0;
}

bool stack_number(struct walk *walk, const struct reg *at, unsigned int size, uint64_t *ret_number)
{
	const int off = at->off + (int)at->r64.smin;
	const struct place place = {.frame = at->frame, .min = off, .max = off};
	const struct slot *slot;

	if (!range_is_const(&at->r64))
		return false;
	*ret_number = 0;
	if (has_only(walk, &place, size, BYTE_ZERO))
		return true;
	slot = frame_peek(state_frame(&walk->state, at->frame), off);
	if (off % 8 || size != slot_spilled(slot) || !reg_is_const(&slot->spilled))
		return false;
	need_value(walk, &slot->spilled);
	*ret_number = slot->spilled.r64.umin;
	return true;
}

int stack_range(struct walk *walk, const struct reg *at, uint32_t regno, uint64_t min, uint64_t max,
		bool write)
{
	struct place place;
	unsigned int size = (unsigned int)max;
	int r;

	r = locate(walk, at, regno, 0, max, write, &place);
	if (r < 0 || !max)
		return r;
	if (write && place.min == place.max && dynptr_find(walk, place.frame, place.min, size))
		return walk_fail(walk, -EACCES, "potential write to dynptr at off=%d disallowed\n",
				 dynptr_find(walk, place.frame, place.min, size));
	r = check_no_dynptr(walk, &place, regno, size);
	if (r < 0)
		return r;
	if (!write || place.min != place.max || min != max)
		note_unwritten(walk, &place, size);
	size += (unsigned int)(place.max - place.min);
	if (!write) {
		note_read(walk, place.frame, place.min, size);
		return 0;
	}
	if (place.min == place.max && min == max)
		note_written(walk, place.frame, place.min, size);
	return set_bytes(walk, place.frame, place.min, size, BYTE_MISC);
}
