/* SPDX-License-Identifier: MIT */
/*
 * Representation of ranges and conversions between widths; arithmetic is in range_alu.c,
 * comparisons in range_branch.c.
 */
#include "verifier/range.h"

static int64_t sign_extend(uint64_t value, unsigned int width)
{
	const unsigned int up = 64 - width;

	return (int64_t)(value << up) >> up;
}

static int64_t signed_max(unsigned int width)
{
	return (int64_t)(width_mask(width) >> 1);
}

static int64_t signed_min(unsigned int width)
{
	return -signed_max(width) - 1;
}

struct range range_unknown(unsigned int width)
{
	return (struct range){.t = tnum_unknown(width),
			      .umax = width_mask(width),
			      .smin = signed_min(width),
			      .smax = signed_max(width)};
}

struct range range_const(uint64_t value, unsigned int width)
{
	value &= width_mask(width);
	return (struct range){.t = tnum_const(value),
			      .umin = value,
			      .umax = value,
			      .smin = sign_extend(value, width),
			      .smax = sign_extend(value, width)};
}

struct range range_bounded(uint64_t max, unsigned int width)
{
	struct range range = range_unknown(width);

	range.umax = max;
	range_sync(&range, width);
	return range;
}

static void tighten_unsigned(struct range *r, uint64_t min, uint64_t max)
{
	if (min > r->umin)
		r->umin = min;
	if (max < r->umax)
		r->umax = max;
}

static void tighten_signed(struct range *r, int64_t min, int64_t max)
{
	if (min > r->smin)
		r->smin = min;
	if (max < r->smax)
		r->smax = max;
}

/* One round of what the parts say about each other. */
static bool sync_once(struct range *r, unsigned int width)
{
	const uint64_t sign = 1ull << (width - 1);

	tighten_unsigned(r, r->t.value, r->t.value | r->t.mask);
	/* Unsigned bounds on one side of the sign are signed bounds as well, and the other way. */
	if ((r->umin & sign) == (r->umax & sign) && r->umin <= r->umax)
		tighten_signed(r, sign_extend(r->umin, width), sign_extend(r->umax, width));
	if ((r->smin < 0) == (r->smax < 0) && r->smin <= r->smax)
		tighten_unsigned(r, (uint64_t)r->smin & width_mask(width),
				 (uint64_t)r->smax & width_mask(width));
	if (r->umin > r->umax || r->smin > r->smax)
		return false;
	/*
	 * Signed bounds on both sides of zero are two unsigned stretches, one at either end. Where
	 * the unsigned bounds reach only one of them, that is it.
	 */
	if (r->smin < 0 && r->smax >= 0) {
		uint64_t below_zero = (uint64_t)r->smin & width_mask(width);

		if (r->umin > (uint64_t)r->smax)
			tighten_unsigned(r, below_zero, width_mask(width));
		else if (r->umax < below_zero)
			tighten_unsigned(r, 0, (uint64_t)r->smax);
		if (r->umin > r->umax)
			return false;
	}
	return tnum_meet(r->t, tnum_range(r->umin, r->umax), &r->t);
}

bool range_sync(struct range *range, unsigned int width)
{
	/* Each round can only narrow; three carry everything from any part to any other. */
	for (int i = 0; i < 3; i++)
		if (!sync_once(range, width))
			return false;
	return true;
}

bool range_has(const struct range *range, uint64_t value, unsigned int width)
{
	return tnum_has(range->t, value) && value >= range->umin && value <= range->umax &&
	       sign_extend(value, width) >= range->smin && sign_extend(value, width) <= range->smax;
}

bool range_covers(const struct range *a, const struct range *b)
{
	return tnum_covers(a->t, b->t) && a->umin <= b->umin && a->umax >= b->umax &&
	       a->smin <= b->smin && a->smax >= b->smax;
}

bool range_meet(struct range *a, const struct range *b, unsigned int width)
{
	if (!tnum_meet(a->t, b->t, &a->t))
		return false;
	tighten_unsigned(a, b->umin, b->umax);
	tighten_signed(a, b->smin, b->smax);
	if (a->umin > a->umax || a->smin > a->smax)
		return false;
	return range_sync(a, width);
}

struct range range_truncate(const struct range *range, unsigned int from, unsigned int to)
{
	const uint64_t low = width_mask(to);
	struct range out = range_unknown(to);

	out.t = (struct tnum){.value = range->t.value & low, .mask = range->t.mask & low};
	/* Where the dropped bits are the same all along, the order of the rest is kept. */
	if ((range->umin & ~low) == (range->umax & ~low))
		tighten_unsigned(&out, range->umin & low, range->umax & low);
	if (range->smin >= signed_min(to) && range->smax <= signed_max(to))
		tighten_signed(&out, range->smin, range->smax);
	range_sync(&out, to);
	return out;
}

struct range range_extend(const struct range *range, unsigned int to)
{
	struct range out = range_unknown(to);

	out.t = range->t;
	tighten_unsigned(&out, range->umin, range->umax);
	range_sync(&out, to);
	return out;
}

struct range range_extend_signed(const struct range *range, unsigned int from, unsigned int to)
{
	struct range out = range_unknown(to);
	const uint64_t high = width_mask(to) & ~width_mask(from), sign = 1ull << (from - 1);

	out.t = range->t;
	if (range->t.mask & sign)
		out.t.mask |= high;
	else if (range->t.value & sign)
		out.t.value |= high;
	tighten_signed(&out, range->smin, range->smax);
	range_sync(&out, to);
	return out;
}
