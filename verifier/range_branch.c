/* SPDX-License-Identifier: MIT */
/*
 * What a comparison tells about its operands.
 */
#include <linux/bpf.h>

#include "verifier/range.h"

static bool is_equal(struct range *a, struct range *b, unsigned int width)
{
	if (!range_meet(a, b, width))
		return false;
	*b = *a;
	return true;
}

/* @a is not the one member of @b: an end that is goes. */
static bool drop_value(struct range *a, const struct range *b, unsigned int width)
{
	const int64_t value = b->smin;

	if (!range_is_const(b))
		return true;
	if (range_is_const(a))
		return a->umin != b->umin;
	if (a->umin == b->umin)
		a->umin++;
	if (a->umax == b->umin)
		a->umax--;
	if (a->smin == value)
		a->smin++;
	if (a->smax == value)
		a->smax--;
	return a->umin <= a->umax && a->smin <= a->smax && range_sync(a, width);
}

static bool is_different(struct range *a, struct range *b, unsigned int width)
{
	return drop_value(a, b, width) && drop_value(b, a, width);
}

/* @a > @b, or with @equal @a >= @b */
static bool is_above(struct range *a, struct range *b, bool equal, unsigned int width)
{
	const uint64_t step = equal ? 0 : 1;

	if (b->umin > UINT64_MAX - step || a->umax < step)
		return false;
	if (b->umin + step > a->umin)
		a->umin = b->umin + step;
	if (a->umax - step < b->umax)
		b->umax = a->umax - step;
	return a->umin <= a->umax && b->umin <= b->umax && range_sync(a, width) &&
	       range_sync(b, width);
}

static bool is_above_signed(struct range *a, struct range *b, bool equal, unsigned int width)
{
	const int64_t step = equal ? 0 : 1;

	if (b->smin > INT64_MAX - step || a->smax < INT64_MIN + step)
		return false;
	if (b->smin + step > a->smin)
		a->smin = b->smin + step;
	if (a->smax - step < b->smax)
		b->smax = a->smax - step;
	return a->smin <= a->smax && b->smin <= b->smax && range_sync(a, width) &&
	       range_sync(b, width);
}

/* A bit of @a that is set is set in @b as well. */
static bool has_common_bit(struct range *a, struct range *b, unsigned int width)
{
	uint64_t maybe = (a->t.value | a->t.mask) & (b->t.value | b->t.mask);

	if (!maybe)
		return false;
	/* Of a single bit it is known which. */
	if (range_is_const(b) && !(b->umin & (b->umin - 1))) {
		a->t.value |= b->umin;
		a->t.mask &= ~b->umin;
		return range_sync(a, width);
	}
	return true;
}

static bool has_no_common_bit(struct range *a, struct range *b, unsigned int width)
{
	if (a->t.value & b->t.value)
		return false;
	/* What one is known to have the other is known to lack. */
	a->t.mask &= ~b->t.value;
	b->t.mask &= ~a->t.value;
	return range_sync(a, width) && range_sync(b, width);
}

bool range_branch(uint8_t op, bool holds, struct range *a, struct range *b, unsigned int width)
{
	switch (op) {
	case BPF_JEQ:
		return holds ? is_equal(a, b, width) : is_different(a, b, width);
	case BPF_JNE:
		return holds ? is_different(a, b, width) : is_equal(a, b, width);
	case BPF_JGT:
		return holds ? is_above(a, b, false, width) : is_above(b, a, true, width);
	case BPF_JGE:
		return holds ? is_above(a, b, true, width) : is_above(b, a, false, width);
	case BPF_JLT:
		return holds ? is_above(b, a, false, width) : is_above(a, b, true, width);
	case BPF_JLE:
		return holds ? is_above(b, a, true, width) : is_above(a, b, false, width);
	case BPF_JSGT:
		return holds ? is_above_signed(a, b, false, width)
			     : is_above_signed(b, a, true, width);
	case BPF_JSGE:
		return holds ? is_above_signed(a, b, true, width)
			     : is_above_signed(b, a, false, width);
	case BPF_JSLT:
		return holds ? is_above_signed(b, a, false, width)
			     : is_above_signed(a, b, true, width);
	case BPF_JSLE:
		return holds ? is_above_signed(b, a, true, width)
			     : is_above_signed(a, b, false, width);
	case BPF_JSET:
		return holds ? has_common_bit(a, b, width) : has_no_common_bit(a, b, width);
	default:
		return true;
	}
}
