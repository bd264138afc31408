/* SPDX-License-Identifier: MIT */
/*
 * Tracked numbers: what is known of each bit of a value. Every operation is exact to the bits of
 * @width (1 to 64) and sound: the result contains the outcome for every pair of members. Tested
 * exhaustively at small widths.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** struct tnum - bits set in @mask are unknown, the others are those of @value; disjoint */
struct tnum {
	uint64_t value, mask;
};

static inline uint64_t width_mask(unsigned int width)
{
	return width == 64 ? UINT64_MAX : (1ull << width) - 1;
}

static inline struct tnum tnum_const(uint64_t value)
{
	return (struct tnum){.value = value};
}

static inline bool tnum_is_const(struct tnum t)
{
	return !t.mask;
}

static inline bool tnum_has(struct tnum t, uint64_t value)
{
	return (value & ~t.mask) == t.value;
}

/** tnum_covers() - every member of @b is one of @a */
static inline bool tnum_covers(struct tnum a, struct tnum b)
{
	return !(b.mask & ~a.mask) && (b.value & ~a.mask) == a.value;
}

struct tnum tnum_unknown(unsigned int width);
/** tnum_range() - smallest that holds every value from @min to @max */
struct tnum tnum_range(uint64_t min, uint64_t max);
/** tnum_meet() - what both say. Return: false when they contradict each other. */
bool tnum_meet(struct tnum a, struct tnum b, struct tnum *ret);

struct tnum tnum_add(struct tnum a, struct tnum b, unsigned int width);
struct tnum tnum_sub(struct tnum a, struct tnum b, unsigned int width);
struct tnum tnum_mul(struct tnum a, struct tnum b, unsigned int width);
struct tnum tnum_and(struct tnum a, struct tnum b);
struct tnum tnum_or(struct tnum a, struct tnum b);
struct tnum tnum_xor(struct tnum a, struct tnum b);
/* @shift: below @width */
struct tnum tnum_lshift(struct tnum a, unsigned int shift, unsigned int width);
struct tnum tnum_rshift(struct tnum a, unsigned int shift);
struct tnum tnum_arshift(struct tnum a, unsigned int shift, unsigned int width);
