/* SPDX-License-Identifier: MIT */
/*
 * Tracked numbers; see tnum.h.
 */
#include "verifier/tnum.h"

static struct tnum make(uint64_t value, uint64_t mask, unsigned int width)
{
	mask &= width_mask(width);
	return (struct tnum){.value = value & width_mask(width) & ~mask, .mask = mask};
}

struct tnum tnum_unknown(unsigned int width)
{
	return (struct tnum){.mask = width_mask(width)};
}

struct tnum tnum_range(uint64_t min, uint64_t max)
{
	uint64_t differ = min ^ max, mask = 0;

	/* From the highest bit in which the ends differ on, anything occurs. */
	while (mask < differ)
		mask = mask << 1 | 1;
	return (struct tnum){.value = min & ~mask, .mask = mask};
}

bool tnum_meet(struct tnum a, struct tnum b, struct tnum *ret)
{
	uint64_t mask = a.mask & b.mask;

	if ((a.value ^ b.value) & ~a.mask & ~b.mask)
		return false;
	*ret = (struct tnum){.value = (a.value | b.value) & ~mask, .mask = mask};
	return true;
}

struct tnum tnum_add(struct tnum a, struct tnum b, unsigned int width)
{
	/* The smallest and the largest sum; a bit in which their carries differ is not known. */
	uint64_t least = a.value + b.value;
	uint64_t most = least + a.mask + b.mask;

	return make(least, (least ^ most) | a.mask | b.mask, width);
}

struct tnum tnum_sub(struct tnum a, struct tnum b, unsigned int width)
{
	uint64_t middle = a.value - b.value;
	uint64_t most = middle + a.mask, least = middle - b.mask;

	return make(middle, (least ^ most) | a.mask | b.mask, width);
}

struct tnum tnum_mul(struct tnum a, struct tnum b, unsigned int width)
{
	struct tnum sum = tnum_const(0);

	/* Long multiplication; a bit of @a that is not known adds either nothing or @b. */
	for (unsigned int bit = 0; bit < width; bit++) {
		struct tnum part = make(b.value << bit, b.mask << bit, width);

		if (a.value >> bit & 1)
			sum = tnum_add(sum, part, width);
		else if (a.mask >> bit & 1)
			sum = tnum_add(sum, make(0, part.value | part.mask, width), width);
	}
	return sum;
}

struct tnum tnum_and(struct tnum a, struct tnum b)
{
	uint64_t ones = a.value & b.value;
	uint64_t maybe = (a.value | a.mask) & (b.value | b.mask);

	return (struct tnum){.value = ones, .mask = maybe & ~ones};
}

struct tnum tnum_or(struct tnum a, struct tnum b)
{
	uint64_t ones = a.value | b.value;

	return (struct tnum){.value = ones, .mask = (a.mask | b.mask) & ~ones};
}

struct tnum tnum_xor(struct tnum a, struct tnum b)
{
	uint64_t mask = a.mask | b.mask;

	return (struct tnum){.value = (a.value ^ b.value) & ~mask, .mask = mask};
}

struct tnum tnum_lshift(struct tnum a, unsigned int shift, unsigned int width)
{
	return make(a.value << shift, a.mask << shift, width);
}

struct tnum tnum_rshift(struct tnum a, unsigned int shift)
{
	return (struct tnum){.value = a.value >> shift, .mask = a.mask >> shift};
}

struct tnum tnum_arshift(struct tnum a, unsigned int shift, unsigned int width)
{
	const unsigned int up = 64 - width;

	return make((uint64_t)((int64_t)(a.value << up) >> up >> shift),
		    (uint64_t)((int64_t)(a.mask << up) >> up >> shift), width);
}
