/* SPDX-License-Identifier: MIT */
/*
 * Range arithmetic, exhaustively at small widths: for every pair of sets and every pair of their
 * members the outcome lies in the computed set, and no branch that some pair takes is said to be
 * dead.
 */
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "verifier/range.h"

#define W    4u
#define SIZE (1u << W)
#define SETS 4096

static struct range sets[SETS];
static uint32_t members[SETS]; /* bit N: N is in the set */
static unsigned int set_cnt;

static int64_t as_signed(uint64_t v)
{
	return v & SIZE / 2 ? (int64_t)v - (int64_t)SIZE : (int64_t)v;
}

static uint32_t list_members(const struct range *range)
{
	uint32_t found = 0;

	for (uint64_t v = 0; v < SIZE; v++)
		if (range_has(range, v, W))
			found |= 1u << v;
	return found;
}

static void add_set(struct range range)
{
	uint32_t list = list_members(&range);
	struct range synced = range;

	if (!list)
		return;
	/* Narrowing loses no member and does not contradict itself. */
	assert_true(range_sync(&synced, W));
	assert_int_equal(list_members(&synced), list);
	for (unsigned int i = 0; i < set_cnt; i++)
		if (members[i] == list)
			return;
	assert_true(set_cnt < SETS);
	sets[set_cnt] = synced;
	members[set_cnt++] = list;
}

/* All combinations of bits and unsigned bounds, and of signed bounds. */
static int make_sets(void **state)
{
	for (uint64_t mask = 0; mask < SIZE; mask++)
		for (uint64_t value = 0; value < SIZE; value++)
			for (uint64_t a = 0; a < SIZE && !(value & mask); a += 3) {
				for (uint64_t b = a; b < SIZE; b += 2) {
					struct range r = range_unknown(W);

					r.t = (struct tnum){value, mask};
					r.umin = a;
					r.umax = b;
					add_set(r);
				}
			}
	for (int64_t a = -(int64_t)SIZE / 2; a < (int64_t)SIZE / 2; a++)
		for (int64_t b = a; b < (int64_t)SIZE / 2; b++) {
			struct range r = range_unknown(W);

			r.smin = a;
			r.smax = b;
			add_set(r);
		}
	return 0;
}

static uint64_t concrete(uint8_t op, uint64_t a, uint64_t b)
{
	switch (op) {
	case BPF_ADD:
		return (a + b) % SIZE;
	case BPF_SUB:
		return (a - b) % SIZE;
	case BPF_MUL:
		return a * b % SIZE;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b % W) & (SIZE - 1);
	case BPF_RSH:
		return a >> (b % W);
	case BPF_ARSH:
		return (uint64_t)(as_signed(a) >> (b % W)) & (SIZE - 1);
	case BPF_DIV:
		return b ? a / b : 0;
	case BPF_MOD:
		return b ? a % b : a;
	default:
		return -a & (SIZE - 1);
	}
}

static void check_alu(uint8_t op, unsigned int i, unsigned int k)
{
	struct range out = range_alu(op, &sets[i], &sets[k], W, false);

	for (uint64_t a = 0; a < SIZE; a++)
		for (uint64_t b = 0; b < SIZE; b++)
			if (members[i] >> a & 1 && members[k] >> b & 1 &&
			    !range_has(&out, concrete(op, a, b), W))
				fail_msg("op %#x: %lu, %lu", op, a, b);
}

static void test_alu(void **state)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL,  BPF_AND, BPF_OR,  BPF_XOR,
				      BPF_LSH, BPF_RSH, BPF_ARSH, BPF_DIV, BPF_MOD, BPF_NEG};

	for (size_t op = 0; op < ARRAY_SIZE(ops); op++)
		for (unsigned int i = 0; i < set_cnt; i++)
			for (unsigned int k = 0; k < set_cnt; k++)
				check_alu(ops[op], i, k);
}

static bool compare(uint8_t op, uint64_t a, uint64_t b)
{
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
		return as_signed(a) > as_signed(b);
	case BPF_JSGE:
		return as_signed(a) >= as_signed(b);
	case BPF_JSLT:
		return as_signed(a) < as_signed(b);
	case BPF_JSLE:
		return as_signed(a) <= as_signed(b);
	default:
		return a & b;
	}
}

static void check_branch(uint8_t op, bool holds, unsigned int i, unsigned int k)
{
	struct range a = sets[i], b = sets[k];
	bool alive = range_branch(op, holds, &a, &b, W);

	for (uint64_t x = 0; x < SIZE; x++)
		for (uint64_t y = 0; y < SIZE; y++) {
			if (!(members[i] >> x & 1) || !(members[k] >> y & 1) ||
			    compare(op, x, y) != holds)
				continue;
			if (!alive || !range_has(&a, x, W) || !range_has(&b, y, W))
				fail_msg("op %#x %d: %lu, %lu", op, holds, x, y);
		}
}

static void test_branches(void **state)
{
	static const uint8_t ops[] = {BPF_JEQ,	BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				      BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};

	for (size_t op = 0; op < ARRAY_SIZE(ops); op++)
		for (unsigned int i = 0; i < set_cnt; i++)
			for (unsigned int k = 0; k < set_cnt; k++) {
				check_branch(ops[op], true, i, k);
				check_branch(ops[op], false, i, k);
			}
}

static void test_widths(void **state)
{
	for (unsigned int i = 0; i < set_cnt; i++) {
		struct range low = range_truncate(&sets[i], W, 2), high = range_extend(&sets[i], 7);
		struct range sign = range_extend_signed(&sets[i], W, 7);

		for (uint64_t v = 0; v < SIZE; v++) {
			if (!(members[i] >> v & 1))
				continue;
			assert_true(range_has(&low, v & 3, 2));
			assert_true(range_has(&high, v, 7));
			assert_true(range_has(&sign, (uint64_t)as_signed(v) & 127, 7));
		}
	}
}

static void test_sets(void **state)
{
	for (unsigned int i = 0; i < set_cnt; i++)
		for (unsigned int k = 0; k < set_cnt; k++) {
			struct range both = sets[i];
			bool some = range_meet(&both, &sets[k], W);

			if (range_covers(&sets[i], &sets[k]))
				assert_int_equal(members[k] & ~members[i], 0);
			assert_true(some || !(members[i] & members[k]));
			if (some)
				assert_int_equal(members[i] & members[k] & ~list_members(&both), 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alu),
		cmocka_unit_test(test_branches),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_sets),
	};

	return cmocka_run_group_tests(tests, make_sets, NULL);
}
