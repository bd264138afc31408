/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on ranges. Each operation fills in what it knows; range_sync() spreads it.
 */
#include <linux/bpf.h>

#include "verifier/range.h"

/* Bounds within which the mathematical result must lie so that it does not wrap. */
static bool fits_unsigned(__int128 min, __int128 max, unsigned int width)
{
	return min >= 0 && max <= (__int128)width_mask(width);
}

static bool fits_signed(__int128 min, __int128 max, unsigned int width)
{
	const __int128 top = (__int128)(width_mask(width) >> 1);

	return min >= -top - 1 && max <= top;
}

static struct range from_bounds(struct tnum t, __int128 umin, __int128 umax, __int128 smin,
				__int128 smax, unsigned int width)
{
	struct range out = range_unknown(width);

	out.t = t;
	if (fits_unsigned(umin, umax, width)) {
		out.umin = (uint64_t)umin;
		out.umax = (uint64_t)umax;
	}
	if (fits_signed(smin, smax, width)) {
		out.smin = (int64_t)smin;
		out.smax = (int64_t)smax;
	}
	/* No outcome at all cannot be: the operands have members. */
	if (!range_sync(&out, width))
		return range_unknown(width);
	return out;
}

static struct range alu_add(const struct range *a, const struct range *b, unsigned int width)
{
	return from_bounds(tnum_add(a->t, b->t, width), (__int128)a->umin + b->umin,
			   (__int128)a->umax + b->umax, (__int128)a->smin + b->smin,
			   (__int128)a->smax + b->smax, width);
}

static struct range alu_sub(const struct range *a, const struct range *b, unsigned int width)
{
	return from_bounds(tnum_sub(a->t, b->t, width), (__int128)a->umin - b->umax,
			   (__int128)a->umax - b->umin, (__int128)a->smin - b->smax,
			   (__int128)a->smax - b->smin, width);
}

static struct range alu_mul(const struct range *a, const struct range *b, unsigned int width)
{
	__int128 corners[4] = {(__int128)a->smin * b->smin, (__int128)a->smin * b->smax,
			       (__int128)a->smax * b->smin, (__int128)a->smax * b->smax};
	__int128 smin = corners[0], smax = corners[0];
	unsigned __int128 umax = (unsigned __int128)a->umax * b->umax;
	bool small = umax <= width_mask(width);

	for (int i = 1; i < 4; i++) {
		smin = corners[i] < smin ? corners[i] : smin;
		smax = corners[i] > smax ? corners[i] : smax;
	}
	return from_bounds(tnum_mul(a->t, b->t, width),
			   small ? (__int128)((unsigned __int128)a->umin * b->umin) : -1,
			   small ? (__int128)umax : -1, smin, smax, width);
}

/* Bits alone say enough; the bounds follow from them, and these few do not. */
static struct range alu_bits(struct tnum t, uint64_t umin, uint64_t umax, unsigned int width)
{
	struct range out = range_unknown(width);

	out.t = t;
	out.umin = umin;
	out.umax = umax;
	if (!range_sync(&out, width))
		return range_unknown(width);
	return out;
}

static struct range alu_and(const struct range *a, const struct range *b, unsigned int width)
{
	return alu_bits(tnum_and(a->t, b->t), 0, a->umax < b->umax ? a->umax : b->umax, width);
}

static struct range alu_or(const struct range *a, const struct range *b, unsigned int width)
{
	return alu_bits(tnum_or(a->t, b->t), a->umin > b->umin ? a->umin : b->umin,
			width_mask(width), width);
}

static struct range alu_xor(const struct range *a, const struct range *b, unsigned int width)
{
	return alu_bits(tnum_xor(a->t, b->t), 0, width_mask(width), width);
}

/*
 * Of an amount that is not a single number, or one that eBPF would mask, nothing is said of the
 * outcome. Source: is_safe_to_compute_dst_reg_range(), Linux 6.12.
 */
static bool shift_amount(const struct range *b, unsigned int width, unsigned int *ret_shift)
{
	*ret_shift = (unsigned int)b->umin;
	return range_is_const(b) && b->umin < width;
}

static struct range alu_lsh(const struct range *a, const struct range *b, unsigned int width)
{
	unsigned int shift;

	if (!shift_amount(b, width, &shift))
		return range_unknown(width);
	return from_bounds(tnum_lshift(a->t, shift, width), (__int128)a->umin << shift,
			   (__int128)a->umax << shift, (__int128)a->smin * ((__int128)1 << shift),
			   (__int128)a->smax * ((__int128)1 << shift), width);
}

static struct range alu_rsh(const struct range *a, const struct range *b, unsigned int width)
{
	unsigned int shift;

	if (!shift_amount(b, width, &shift))
		return range_unknown(width);
	return alu_bits(tnum_rshift(a->t, shift), a->umin >> shift, a->umax >> shift, width);
}

static struct range alu_arsh(const struct range *a, const struct range *b, unsigned int width)
{
	struct range out = range_unknown(width);
	unsigned int shift;

	if (!shift_amount(b, width, &shift))
		return out;
	out.t = tnum_arshift(a->t, shift, width);
	out.smin = a->smin >> shift;
	out.smax = a->smax >> shift;
	if (!range_sync(&out, width))
		return range_unknown(width);
	return out;
}

/* x / 0 is 0, x % 0 is x. */
static struct range alu_div(const struct range *a, const struct range *b, unsigned int width)
{
	struct range out = range_unknown(width);

	out.umax = b->umin > 1 ? a->umax / b->umin : a->umax;
	if (b->umin > 0)
		out.umin = a->umin / b->umax;
	range_sync(&out, width);
	return out;
}

static struct range alu_mod(const struct range *a, const struct range *b, unsigned int width)
{
	struct range out = range_unknown(width);

	out.umax = a->umax;
	if (b->umin > 0 && b->umax - 1 < out.umax)
		out.umax = b->umax - 1;
	range_sync(&out, width);
	return out;
}

struct range range_alu(uint8_t op, const struct range *a, const struct range *b, unsigned int width,
		       bool is_signed)
{
	const struct range zero = range_const(0, width);

	switch (op) {
	case BPF_ADD:
		return alu_add(a, b, width);
	case BPF_SUB:
		return alu_sub(a, b, width);
	case BPF_MUL:
		return alu_mul(a, b, width);
	case BPF_AND:
		return alu_and(a, b, width);
	case BPF_OR:
		return alu_or(a, b, width);
	case BPF_XOR:
		return alu_xor(a, b, width);
	case BPF_LSH:
		return alu_lsh(a, b, width);
	case BPF_RSH:
		return alu_rsh(a, b, width);
	case BPF_ARSH:
		return alu_arsh(a, b, width);
	case BPF_DIV:
		return is_signed ? range_unknown(width) : alu_div(a, b, width);
	case BPF_MOD:
		return is_signed ? range_unknown(width) : alu_mod(a, b, width);
	case BPF_NEG:
		return alu_sub(&zero, a, width);
	default:
		return range_unknown(width);
	}
}
