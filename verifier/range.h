/* SPDX-License-Identifier: MIT */
/*
 * Sets of integers that a register may hold: bits, unsigned and signed bounds, kept in step.
 * Written once for any width of 1 to 64 bits, so that every operation is tested exhaustively at
 * small ones; the verifier uses 64 and 32.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "verifier/tnum.h"

/** struct range - @umin..@umax unsigned, @smin..@smax signed (sign-extended from the width) */
struct range {
	struct tnum t;
	uint64_t umin, umax;
	int64_t smin, smax;
};

struct range range_unknown(unsigned int width);
struct range range_const(uint64_t value, unsigned int width);
/** range_bounded() - from 0 to @max */
struct range range_bounded(uint64_t max, unsigned int width);

/** range_sync() - let each part tell the others. Return: false when nothing is left in the set. */
bool range_sync(struct range *range, unsigned int width);

bool range_has(const struct range *range, uint64_t value, unsigned int width);
/** range_covers() - every member of @b is one of @a, as far as their parts tell */
bool range_covers(const struct range *a, const struct range *b);
/** range_meet() - Return: false when the sets have nothing in common (@a is then undefined) */
bool range_meet(struct range *a, const struct range *b, unsigned int width);
static inline bool range_is_const(const struct range *range)
{
	return range->umin == range->umax;
}

/** range_truncate() - the low @to bits of a value of @from bits */
struct range range_truncate(const struct range *range, unsigned int from, unsigned int to);
/** range_extend() - zero-extend to @to bits */
struct range range_extend(const struct range *range, unsigned int to);
/** range_extend_signed() - sign-extend @from bits to @to */
struct range range_extend_signed(const struct range *range, unsigned int from, unsigned int to);

/**
 * range_alu() - outcome of an operation, as eBPF defines it
 * @op: BPF_ADD and so on, without source and class bits; operations it does not know give anything
 * @is_signed: BPF_DIV and BPF_MOD of signed numbers
 */
struct range range_alu(uint8_t op, const struct range *a, const struct range *b, unsigned int width,
		       bool is_signed);

/**
 * range_branch() - narrow two sets to the members for which a comparison holds
 * @op: BPF_JEQ and so on
 * @holds: false: for which it does not hold
 *
 * Return: false when there are none.
 */
bool range_branch(uint8_t op, bool holds, struct range *a, struct range *b, unsigned int width);
