/* SPDX-License-Identifier: MIT */
/*
 * Range arithmetic at the widths the verifier uses, with random sets: whatever two members give
 * lies in the computed set, and no branch that they take is said to be dead. test_range.c is
 * exhaustive at a small width; this is for what only breaks at 32 and 64 bits: overflow of the
 * bounds' own arithmetic.
 */
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "verifier/range.h"
#include "verifier/state.h"

#define ROUNDS	400000
#define MEMBERS 3

struct set {
	uint64_t members[MEMBERS];
	struct range range;
};

static uint64_t any(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static uint64_t any_number(void)
{
	uint64_t edge = (1ull << (any() >> 32) % 64) + (any() >> 32) % 5 - 2;

	switch ((any() >> 32) % 4) {
	case 0:
		return any();
	case 1:
		return edge;
	case 2:
		return 0 - edge;
	default:
		return (any() >> 32) % 130;
	}
}

static int64_t as_signed(uint64_t value, unsigned int width)
{
	return width == 64 ? (int64_t)value : (int32_t)value;
}

/* The smallest of each part that holds the members; some parts say nothing. */
static struct set make_set(unsigned int width)
{
	const bool single = any() >> 62 == 0;
	struct range *r;
	struct set set;
	uint64_t ones = UINT64_MAX, some = 0, parts = any() >> 61;

	for (int i = 0; i < MEMBERS; i++) {
		set.members[i] = i && single ? set.members[0] : any_number() & width_mask(width);
		ones &= set.members[i];
		some |= set.members[i];
	}
	set.range = range_unknown(width);
	r = &set.range;
	if (parts & 1)
		r->t = (struct tnum){.value = ones, .mask = some & ~ones};
	for (int i = 0; i < MEMBERS; i++) {
		uint64_t u = set.members[i];
		int64_t s = as_signed(u, width);

		if (parts & 2) {
			r->umin = i == 0 || u < r->umin ? u : r->umin;
			r->umax = i == 0 || u > r->umax ? u : r->umax;
		}
		if (parts & 4) {
			r->smin = i == 0 || s < r->smin ? s : r->smin;
			r->smax = i == 0 || s > r->smax ? s : r->smax;
		}
	}
	assert_true(range_sync(r, width));
	return set;
}

static uint64_t shifted(uint8_t op, uint64_t a, unsigned int by, unsigned int width)
{
	if (op == BPF_LSH)
		return a << by;
	return op == BPF_RSH ? a >> by : (uint64_t)(as_signed(a, width) >> by);
}

static uint64_t concrete(uint8_t op, uint64_t a, uint64_t b, unsigned int width)
{
	switch (op) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_DIV:
		return b ? a / b : 0;
	case BPF_MOD:
		return b ? a % b : a;
	case BPF_NEG:
		return 0 - a;
	default:
		return shifted(op, a, (unsigned int)(b & (width - 1)), width);
	}
}

static void test_alu(void **state)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_AND, BPF_OR,  BPF_XOR,
				      BPF_LSH, BPF_RSH, BPF_ARSH, BPF_DIV, BPF_MOD, BPF_NEG};

	(void)state;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		unsigned int width = round % 2 ? 32 : 64;
		uint8_t op = ops[(any() >> 32) % ARRAY_SIZE(ops)];
		struct set a = make_set(width), b = make_set(width);
		struct range out = range_alu(op, &a.range, &b.range, width, false);

		for (int i = 0; i < MEMBERS * MEMBERS; i++) {
			uint64_t x = a.members[i / MEMBERS], y = b.members[i % MEMBERS];
			uint64_t z = concrete(op, x, y, width) & width_mask(width);

			if (!range_has(&out, z, width))
				fail_msg("op %#x, %u bits: %#lx, %#lx", op, width, x, y);
		}
	}
}

static bool compare(uint8_t op, uint64_t a, uint64_t b, unsigned int width)
{
	int64_t x = as_signed(a, width), y = as_signed(b, width);

	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSGT:
		return x > y;
	case BPF_JSGE:
		return x >= y;
	case BPF_JSLT:
		return x < y;
	case BPF_JSLE:
		return x <= y;
	default:
		return a & b;
	}
}

/* A register with its halves, of which one was told more than the other. */
static void make_reg(struct set *set, struct reg *reg)
{
	struct range low;

	*set = make_set(64);
	reg_set_r64(reg, &set->range);
	if (any() >> 63)
		return;
	low = range_const(set->members[0], 32);
	for (int i = 1; i < MEMBERS; i++)
		set->members[i] =
			(set->members[i] & ~(uint64_t)UINT32_MAX) | (set->members[0] & UINT32_MAX);
	*set = (struct set){.members = {set->members[0], set->members[1], set->members[2]},
			    .range = range_unknown(64)};
	reg_set_unknown(reg);
	reg->r32 = low;
	assert_true(reg_narrow(reg));
}

static bool has(const struct reg *reg, uint64_t value)
{
	return range_has(&reg->r64, value, 64) && range_has(&reg->r32, value & UINT32_MAX, 32);
}

static void check_branch(uint8_t op, unsigned int width, bool holds)
{
	struct set a, b;
	struct reg x, y;
	bool alive;

	make_reg(&a, &x);
	make_reg(&b, &y);
	alive = width == 64 ? range_branch(op, holds, &x.r64, &y.r64, 64)
			    : range_branch(op, holds, &x.r32, &y.r32, 32);
	alive = alive && reg_narrow(&x) && reg_narrow(&y);
	for (int i = 0; i < MEMBERS * MEMBERS; i++) {
		uint64_t u = a.members[i / MEMBERS], v = b.members[i % MEMBERS];

		if (compare(op, u & width_mask(width), v & width_mask(width), width) == holds &&
		    (!alive || !has(&x, u) || !has(&y, v)))
			fail_msg("op %#x, %u bits, %d: %#lx, %#lx", op, width, holds, u, v);
	}
}

static void test_branches(void **state)
{
	static const uint8_t ops[] = {BPF_JEQ,	BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				      BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};

	(void)state;
	for (uint32_t round = 0; round < ROUNDS; round++)
		check_branch(ops[(any() >> 32) % ARRAY_SIZE(ops)], round % 2 ? 32 : 64, round & 2);
}

static void test_widths(void **state)
{
	static const unsigned int bits[] = {8, 16, 32};

	(void)state;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		unsigned int from = bits[round % 3];
		struct set set = make_set(64);
		struct range low = range_truncate(&set.range, 64, from);
		struct range high = range_extend(&low, 64);
		struct range sign = range_extend_signed(&low, from, 64);

		for (int i = 0; i < MEMBERS; i++) {
			uint64_t value = set.members[i] & width_mask(from);
			uint64_t extended =
				(uint64_t)((int64_t)(value << (64 - from)) >> (64 - from));

			assert_true(range_has(&low, value, from));
			assert_true(range_has(&high, value, 64));
			assert_true(range_has(&sign, extended, 64));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alu),
		cmocka_unit_test(test_branches),
		cmocka_unit_test(test_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
