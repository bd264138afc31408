/* SPDX-License-Identifier: MIT */
/*
 * Edit engine: every kind of reference, BTF records, malformed programs, and thousands of random
 * programs run on the live kernel before and after random edits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"
#include "kernel-bridge/insns.h"
#include "tests/unit/live.h"

#define R0  BPF_REG_0
#define R10 BPF_REG_10
#define NOP INSN_MOV64_REG(R0, R0)

#define PROG(...)                                                                                  \
	(struct insns_prog)                                                                        \
	{                                                                                          \
		.insns = (struct bpf_insn[]){__VA_ARGS__},                                         \
		.cnt = ARRAY_SIZE(((struct bpf_insn[]){__VA_ARGS__})),                             \
	}

static const struct bpf_insn nops[] = {NOP, NOP, NOP};

static struct insns_prog edit(const struct insns_prog *prog, uint32_t at, enum insns_edit_kind kind,
			      uint32_t cnt)
{
	struct insns_edits edits = {0};
	struct insns_prog out = {0};
	struct reason reason = {0};

	assert_int_equal(insns_edits_add(&edits, at, kind, nops, cnt), 0);
	assert_int_equal(insns_apply(prog, &edits, &out, &reason), 0);
	insns_edits_deinit(&edits);
	return out;
}

static void test_forward_and_back(void **state)
{
	/* 0: jump to 2; 1: jump to 0; 2: jump to 1; 3: exit */
	struct insns_prog prog = PROG(INSN_JMP_IMM(BPF_JEQ, R0, 0, 1), INSN_JA(-2),
				      INSN_JMP32_IMM(BPF_JEQ, R0, 0, -2), INSN_EXIT());
	struct insns_prog out = edit(&prog, 1, INSNS_INSERT, 2);

	assert_int_equal(out.cnt, 6);
	assert_int_equal(out.insns[0].off, 3);	/* to 4 */
	assert_int_equal(out.insns[3].off, -4); /* to 0 */
	assert_int_equal(out.insns[4].off, -4); /* to 1: the inserted ones run again */
	insns_prog_deinit(&out);

	out = edit(&prog, 0, INSNS_PROLOGUE, 3);
	assert_int_equal(out.insns[3].off, 1);
	assert_int_equal(out.insns[4].off, -2); /* to 3: the prologue runs once */
	insns_prog_deinit(&out);

	out = edit(&prog, 0, INSNS_REPLACE, 3);
	assert_int_equal(out.cnt, 6);
	assert_int_equal(out.insns[3].off, -4); /* to 0: first of the replacement */
	insns_prog_deinit(&out);
}

static void test_other_references(void **state)
{
	struct insns_prog prog =
		PROG(INSN_GOTOL(1), INSN_RAW(0xe5, 0, 0, 2, 0), INSN_CALL_REL(2), INSN_CALL(7),
		     INSN_EXIT(), INSN_LD_IMM64_SRC(R0, BPF_PSEUDO_FUNC, -6), INSN_EXIT());
	struct insns_prog out;

	prog.insns[6].imm = 77; /* second halves are copied, not understood */
	out = edit(&prog, 3, INSNS_REPLACE, 3);
	assert_int_equal(out.cnt, 10);
	assert_int_equal(out.insns[0].imm, 1);
	assert_int_equal(out.insns[1].off, 4);	/* to 4 = now 6 */
	assert_int_equal(out.insns[2].imm, 4);	/* to 5 = now 7 */
	assert_int_equal(out.insns[7].imm, -8); /* to 0 */
	assert_int_equal(out.insns[8].imm, 77);
	insns_prog_deinit(&out);

	/* Calls and function addresses of the first instruction do run the prologue. */
	out = edit(&prog, 0, INSNS_PROLOGUE, 3);
	assert_int_equal(out.insns[8].imm, -9);
	insns_prog_deinit(&out);
}

/* A second half that looks like a first one does not hide the instruction after it. */
static void test_second_half(void **state)
{
	struct insns_prog prog = PROG(INSN_RAW(0x18, 0, 0, 0, 0), INSN_RAW(0x18, 0, 0, 0, 9),
				      INSN_JA(0), INSN_EXIT());
	struct insns_prog out = edit(&prog, 2, INSNS_REPLACE, 2);

	assert_int_equal(out.cnt, 5);
	assert_int_equal(out.insns[1].imm, 9);
	assert_int_equal(out.insns[3].code, nops[1].code);
	insns_prog_deinit(&out);
	out = edit(&prog, 3, INSNS_INSERT, 2);
	assert_int_equal(out.insns[2].off, 0);
	insns_prog_deinit(&out);
}

static void test_records(void **state)
{
	uint32_t func[] = {0, 11, 3, 12};
	uint32_t line[] = {0, 1, 2, 1, 1, 2, 2, 1, 2, 3, 1, 2};
	uint32_t relo[] = {0, 5, 5, 5, 16, 5, 5, 5};
	struct insns_prog prog = PROG(NOP, INSN_CALL_REL(1), INSN_EXIT(), INSN_EXIT());
	struct insns_edits edits = {0};
	struct insns_prog out = {0};

	prog.func_info = (struct insns_records){func, 2, 8};
	prog.line_info = (struct insns_records){line, 4, 12};
	prog.core_relos = (struct insns_records){relo, 2, 16};
	assert_int_equal(insns_edits_add(&edits, 0, INSNS_PROLOGUE, nops, 3), 0);
	assert_int_equal(insns_edits_add(&edits, 2, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_edits_add(&edits, 2, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_edits_add(&edits, 2, INSNS_REPLACE, nops, 2), 0);
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), 0);
	insns_edits_deinit(&edits);
	/* 0-2 prologue, 3 nop, 4 call, 5-6 inserted, 7-8 replaced, 9 exit */
	assert_int_equal(out.cnt, 10);
	assert_int_equal(out.insns[4].imm, 4);
	const uint32_t want_func[] = {0, 11, 9, 12};
	const uint32_t want_line[] = {0, 1, 2, 4, 1, 2, 5, 1, 2, 9, 1, 2};
	const uint32_t want_relo[] = {24, 5, 5, 5, 56, 5, 5, 5};

	assert_memory_equal(out.func_info.data, want_func, sizeof(want_func));
	assert_memory_equal(out.line_info.data, want_line, sizeof(want_line));
	assert_memory_equal(out.core_relos.data, want_relo, sizeof(want_relo));
	insns_prog_deinit(&out);
	insns_prog_deinit(&out);
}

static int apply_plain(struct insns_prog prog)
{
	struct insns_edits edits = {0};
	struct insns_prog out = {0};
	struct reason reason = {0};
	int r = insns_apply(&prog, &edits, &out, &reason);

	if (r < 0) {
		assert_null(out.insns);
		assert_true(reason.text[0]);
	}
	insns_prog_deinit(&out);
	return r;
}

static void test_malformed(void **state)
{
	uint32_t rec[] = {1, 0, 0, 0};
	struct insns_prog prog = PROG(INSN_EXIT());

	assert_int_equal(apply_plain(prog), 0);
	assert_int_equal(apply_plain((struct insns_prog){0}), -EINVAL);
	assert_int_equal(apply_plain((struct insns_prog){.cnt = UINT32_MAX}), -E2BIG);
	assert_int_equal(apply_plain(PROG(INSN_JA(0))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_EXIT(), INSN_JA(-3))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_JMP_REG(BPF_JSGT, 0, 0, 32767))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_GOTOL(INT32_MAX))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_GOTOL(INT32_MIN))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_CALL_REL(INT32_MIN))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_RAW(0xe5, 0, 0, 9, 0))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_RAW(0x18, 0, 0, 0, 0))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_LD_IMM64_SRC(0, BPF_PSEUDO_FUNC, 5))), -EINVAL);
	assert_int_equal(apply_plain(PROG(INSN_RAW(0x0d, 0, 0, 0, 0), INSN_EXIT())), -EINVAL);
	/* A helper number, however odd, is no distance. */
	assert_int_equal(apply_plain(PROG(INSN_CALL(INT32_MIN), INSN_EXIT())), 0);

	prog.func_info = (struct insns_records){rec, 1, 8};
	assert_int_equal(apply_plain(prog), -EINVAL);
	prog.func_info = (struct insns_records){rec, 1, 2};
	assert_int_equal(apply_plain(prog), -EINVAL);
	prog.func_info = (struct insns_records){0};
	prog.core_relos = (struct insns_records){rec, 1, 16};
	assert_int_equal(apply_plain(prog), -EINVAL);
}

static void test_edit_list(void **state)
{
	struct insns_edits edits = {0};
	struct insns_prog prog = PROG(INSN_LD_IMM64(0, 5), INSN_EXIT());
	struct insns_prog out = {0};

	assert_int_equal(insns_edits_add(&edits, 1, INSNS_INSERT, nops, 0), -EINVAL);
	assert_int_equal(insns_edits_add(&edits, 1, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_edits_add(&edits, 0, INSNS_INSERT, nops, 1), -EINVAL);
	assert_int_equal(insns_edits_add(&edits, 1, INSNS_PROLOGUE, nops, 1), -EINVAL);
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), -EINVAL); /* inside ld_imm64 */
	insns_edits_deinit(&edits);
	assert_int_equal(insns_edits_add(&edits, 0, INSNS_REPLACE, nops, 1), 0);
	assert_int_equal(insns_edits_add(&edits, 0, INSNS_REPLACE, nops, 1), -EINVAL);
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), -EINVAL); /* half of it */
	insns_edits_deinit(&edits);
	assert_int_equal(insns_edits_add(&edits, 3, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), -EINVAL); /* past the end */
	insns_edits_deinit(&edits);
	assert_int_equal(insns_edits_add(&edits, 0, INSNS_INSERT, nops, UINT32_MAX), -E2BIG);
	insns_edits_deinit(&edits);
}

/* A jump across 32767 instructions is the longest; one more does not fit. */
static void test_overflow(void **state)
{
	const uint32_t cnt = 32770;
	struct bpf_insn *insns = calloc(cnt, sizeof(*insns));
	struct insns_prog prog = {.insns = insns, .cnt = cnt}, out = {0};
	struct insns_edits edits = {0};
	struct reason reason = {0};

	for (uint32_t i = 0; i < cnt; i++)
		insns[i] = NOP;
	insns[0] = INSN_JMP_IMM(BPF_JEQ, 0, 0, 32766);
	insns[1] = INSN_GOTOL((int32_t)cnt - 3);
	assert_int_equal(insns_edits_add(&edits, 5, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), 0);
	assert_int_equal(out.insns[0].off, 32767);
	insns_prog_deinit(&out);
	assert_int_equal(insns_edits_add(&edits, 6, INSNS_INSERT, nops, 1), 0);
	assert_int_equal(insns_apply(&prog, &edits, &out, &reason), -E2BIG);
	assert_non_null(strstr(reason.text, "too long"));
	insns[0] = NOP;
	assert_int_equal(insns_apply(&prog, &edits, &out, NULL), 0);
	assert_int_equal(out.insns[1].imm, cnt - 1); /* gotol has room */
	insns_prog_deinit(&out);
	insns_edits_deinit(&edits);
	free(insns);
}

static void test_subprogs(void **state)
{
	struct insns_prog prog = PROG(INSN_CALL_REL(4), INSN_LD_IMM64_SRC(1, BPF_PSEUDO_FUNC, 1),
				      INSN_EXIT(), INSN_EXIT(), INSN_EXIT());
	uint32_t *starts = NULL, cnt = 0;

	prog.insns[1].imm = 2;
	assert_int_equal(insns_subprogs(prog.insns, prog.cnt, &starts, &cnt, NULL), 0);
	assert_int_equal(cnt, 3);
	assert_int_equal(starts[0], 0);
	assert_int_equal(starts[1], 4);
	assert_int_equal(starts[2], 5);
	free(starts);
	prog.insns[0].imm = 5;
	assert_int_equal(insns_subprogs(prog.insns, prog.cnt, &starts, &cnt, NULL), -EINVAL);
}

/*
 * Random programs are made of items, and jumps go to the start of an item only. r1 to r5 hold
 * values (r1 one the verifier does not know), r9 counts backward jumps, r10-8 is scratch memory.
 */
#define MAX_ITEMS 24
#define MAX_INSNS 256

struct generator {
	struct bpf_insn insns[MAX_INSNS];
	uint32_t cnt;
	uint32_t item[MAX_ITEMS + 1]; /* where each starts; the last is the end */
	uint32_t items;
	struct {
		uint32_t at;   /* the jump or call */
		uint32_t item; /* its target; items + 1 is the subprogram */
	} fix[MAX_ITEMS * 2];
	uint32_t fixes;
	uint32_t calls;
	uint32_t branches;
};

static uint32_t pick(uint32_t n)
{
	return (uint32_t)random() % n;
}

static void put(struct generator *g, struct bpf_insn insn)
{
	g->insns[g->cnt++] = insn;
}

static void put_jump(struct generator *g, struct bpf_insn insn, uint32_t item)
{
	g->fix[g->fixes].at = g->cnt;
	g->fix[g->fixes++].item = item;
	put(g, insn);
}

static void put_item(struct generator *g, uint32_t i)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_OR, BPF_AND, BPF_XOR, BPF_MOV};
	static const uint8_t cmps[] = {BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JLT, BPF_JSGT, BPF_JSET};
	uint32_t dst = 1 + pick(5), src = 1 + pick(5);
	uint32_t forward = i + 1 + pick(g->items - i);
	uint8_t cmp = cmps[pick(ARRAY_SIZE(cmps))], op = ops[pick(ARRAY_SIZE(ops))];

	switch (pick(10)) {
	case 0:
		put(g, INSN_ALU64_REG(op, dst, src));
		break;
	case 1:
		put(g, INSN_ALU32_IMM(op, dst, (int32_t)random()));
		break;
	case 2:
		put(g, INSN_RAW(BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, (int32_t)random()));
		put(g, INSN_RAW(0, 0, 0, 0, (int32_t)random()));
		break;
	case 3:
	case 4:
		if (g->branches++ < 8)
			put_jump(g, INSN_JMP_REG(cmp, dst, src, 0), forward);
		break;
	case 5:
		if (g->branches++ < 8)
			put_jump(g, INSN_JMP32_IMM(cmp, dst, (int32_t)pick(100), 0), forward);
		break;
	case 6: /* the branch keeps the next item reachable, as the kernel demands */
		if (g->branches++ >= 8)
			break;
		put(g, INSN_JMP_IMM(cmp, dst, (int32_t)pick(100), 1));
		put_jump(g, pick(2) ? INSN_JA(0) : INSN_GOTOL(0), forward);
		break;
	case 7:
		put(g, INSN_ALU64_IMM(BPF_ADD, BPF_REG_9, 1));
		put(g, INSN_JMP_IMM(BPF_JGT, BPF_REG_9, 3, 1));
		put_jump(g, pick(2) ? INSN_JA(0) : INSN_GOTOL(0), pick(i + 1));
		break;
	case 8:
		g->calls++;
		put_jump(g, INSN_CALL_REL(0), g->items + 1);
		for (uint32_t r = 1; r <= 5; r++)
			put(g,
			    r == dst ? INSN_MOV64_REG(r, 0) : INSN_MOV64_IMM(r, (int32_t)pick(99)));
		break;
	default:
		put(g, INSN_STX(BPF_DW, BPF_REG_10, src, -8));
		put(g, INSN_LDX(BPF_W, dst, BPF_REG_10, -4));
		break;
	}
}

static void generate(struct generator *g)
{
	uint32_t func;

	*g = (struct generator){.items = 3 + pick(MAX_ITEMS - 3)};
	put(g, INSN_MOV64_IMM(0, 0));
	put(g, INSN_MOV64_IMM(BPF_REG_9, 0));
	put(g, INSN_LDX(BPF_DW, 1, 1, 0));
	for (uint32_t r = 2; r <= 5; r++)
		put(g, INSN_MOV64_IMM(r, (int32_t)pick(1000)));
	put(g, INSN_STX(BPF_DW, BPF_REG_10, 2, -8));
	for (uint32_t i = 0; i < g->items; i++) {
		g->item[i] = g->cnt;
		put_item(g, i);
	}
	g->item[g->items] = g->cnt;
	for (uint32_t r = 1; r <= 5; r++) {
		put(g, INSN_ALU64_IMM(BPF_MUL, 0, 31));
		put(g, INSN_ALU64_REG(BPF_ADD, 0, r));
	}
	put(g, INSN_EXIT());
	func = g->cnt;
	if (g->calls) {
		put(g, INSN_MOV64_REG(0, 1));
		put(g, INSN_JMP_IMM(BPF_JGT, 2, 50, 1));
		put(g, INSN_ALU64_REG(BPF_XOR, 0, 2));
		put(g, INSN_EXIT());
	}
	for (uint32_t i = 0; i < g->fixes; i++) {
		uint32_t at = g->fix[i].at;
		uint32_t to = g->fix[i].item > g->items ? func : g->item[g->fix[i].item];
		int32_t delta = (int32_t)to - (int32_t)at - 1;

		if (insn_ref(&g->insns[at]) == INSN_REF_OFF)
			g->insns[at].off = (int16_t)delta;
		else
			g->insns[at].imm = delta;
	}
}

/* Sequences without effect anywhere: jumps to the next instruction, stores to unused stack. */
static uint32_t fill(struct bpf_insn *seq)
{
	uint32_t cnt = 1 + pick(6);

	for (uint32_t i = 0; i < cnt; i++)
		seq[i] = pick(2) ? INSN_JA(0) : INSN_ST(BPF_DW, BPF_REG_10, -64, (int32_t)random());
	return cnt;
}

static void random_edits(const struct generator *g, struct insns_edits *edits)
{
	struct bpf_insn seq[16];

	for (uint32_t i = 0; i < g->cnt; i++) {
		const struct bpf_insn *insn = &g->insns[i];
		uint32_t cnt = fill(seq);
		bool wide = insn_is_ld_imm64(insn);

		switch (pick(6)) {
		case 0:
			assert_int_equal(insns_edits_add(edits, i,
							 i ? INSNS_INSERT : INSNS_PROLOGUE, seq,
							 cnt),
					 0);
			break;
		case 1:
			if (wide || insn_ref(insn) != INSN_REF_NONE)
				break;
			seq[cnt++] = *insn;
			assert_int_equal(insns_edits_add(edits, i, INSNS_REPLACE, seq, cnt), 0);
			break;
		}
		i += wide;
	}
}

/* Return: 1 compared, 0 the kernel does not take the original. */
static int compare(const struct generator *g, uint32_t round)
{
	struct insns_prog prog = {.insns = (struct bpf_insn *)g->insns, .cnt = g->cnt};
	static char log[LIVE_LOG_SIZE];
	struct insns_edits edits = {0};
	struct insns_prog out = {0};
	struct reason reason = {0};
	cleanup_fd int before = -1, after = -1;

	before = live_load(&prog, -1, 0, NULL);
	if (before < 0)
		return 0;
	random_edits(g, &edits);
	if (insns_apply(&prog, &edits, &out, &reason) < 0)
		fail_msg("round %u: %s", round, reason.text);
	after = live_load(&out, -1, 1, log);
	if (after < 0)
		fail_msg("round %u: edited program refused: %.2000s", round, log);
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t arg = (uint64_t)random() << (i * 11) | pick(100);
		uint32_t want = 0, got = 0;

		assert_int_equal(live_run(before, arg, &want), 0);
		assert_int_equal(live_run(after, arg, &got), 0);
		if (want != got)
			fail_msg("round %u, argument %#llx: %#x became %#x", round,
				 (unsigned long long)arg, want, got);
	}
	insns_edits_deinit(&edits);
	insns_prog_deinit(&out);
	return 1;
}

static void test_random(void **state)
{
	static struct generator g;
	int compared = 0;

	srandom(4711);
	for (uint32_t round = 0; round < 4000; round++) {
		generate(&g);
		compared += compare(&g, round);
	}
	print_message("%d of 4000 random programs compared\n", compared);
	assert_true(compared > 3000);
}

/* Any bytes at all: an answer and no overrun. */
static void test_noise(void **state)
{
	static const uint8_t codes[] = {0xbf, 0x05, 0x15, 0x06, 0x18, 0x95, 0xe5, 0x85, 0x56};

	for (int round = 0; round < 100000; round++) {
		uint32_t cnt = 1 + pick(12), *starts, n;
		struct bpf_insn *insns = calloc(cnt, sizeof(*insns));
		struct insns_prog prog = {.insns = insns, .cnt = cnt}, out = {0};
		struct insns_edits edits = {0};

		for (uint32_t i = 0; i < cnt; i++)
			insns[i] = INSN_RAW(codes[pick(ARRAY_SIZE(codes))], pick(16), pick(6),
					    (int16_t)((int)pick(16) - 8),
					    (int32_t)((int)pick(16) - 8));
		assert_int_equal(insns_edits_add(&edits, pick(cnt), (int)pick(3), nops, 2), 0);
		if (insns_apply(&prog, &edits, &out, NULL) == 0)
			insns_prog_deinit(&out);
		if (insns_subprogs(insns, cnt, &starts, &n, NULL) == 0)
			free(starts);
		insns_edits_deinit(&edits);
		free(insns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_and_back),
		cmocka_unit_test(test_other_references),
		cmocka_unit_test(test_second_half),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_edit_list),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_subprogs),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
