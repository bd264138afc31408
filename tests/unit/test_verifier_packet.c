/* SPDX-License-Identifier: MIT */
/*
 * Programs that are handed packets: every access to what they are handed, hand-written cases, and
 * generated ones, each before our verifier and the kernel's.
 *
 * usage: test_verifier_packet [SEED [PROGRAMS]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "verifier/verifier.h"

static const struct {
	uint32_t type, attach_type;
} kinds[] = {
	{BPF_PROG_TYPE_SOCKET_FILTER, 0}, {BPF_PROG_TYPE_SCHED_CLS, 0},
	{BPF_PROG_TYPE_SCHED_ACT, 0},	  {BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
	{BPF_PROG_TYPE_XDP, BPF_XDP},	  {BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP},
};

static char text[1 << 16];
static uint64_t seed = 1;
static uint32_t program_cnt = 4000;

static int ours(uint32_t kind, const struct bpf_insn *insns, uint32_t cnt)
{
	const struct verifier_prog prog = {.insns = insns,
					   .cnt = cnt,
					   .type = kinds[kind].type,
					   .attach_type = kinds[kind].attach_type,
					   .gpl = true};
	struct verifier_log log = {.level = 1, .buf = text, .size = sizeof(text)};
	struct verifier_facts facts;

	return verifier_check(&prog, &log, &facts);
}

static int kernels(uint32_t kind, const struct bpf_insn *insns, uint32_t cnt)
{
	union bpf_attr attr = {.prog_type = kinds[kind].type,
			       .expected_attach_type = kinds[kind].attach_type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL"};
	int fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void show(const struct bpf_insn *insns, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		print_error("%2u: %02x %u %u %d %d\n", i, insns[i].code, insns[i].dst_reg,
			    insns[i].src_reg, insns[i].off, insns[i].imm);
}

/* Return: 1 when the verdicts differ in a way that they may not. */
static int differ(uint32_t kind, const struct bpf_insn *insns, uint32_t cnt, uint32_t *accepted)
{
	int here = ours(kind, insns, cnt), there = kernels(kind, insns, cnt);

	*accepted += there == 0;
	if (here == there || here == -EOPNOTSUPP)
		return 0;
	print_error("type %u: %d here, %d in the kernel: %s", kinds[kind].type, here, there, text);
	show(insns, cnt);
	return 1;
}

static void test_context(void **state)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint32_t accepted = 0, different = 0;

	for (uint32_t kind = 0; kind < ARRAY_SIZE(kinds); kind++)
		for (int16_t off = -8; off <= (int16_t)sizeof(struct __sk_buff) + 8; off++)
			for (int i = 0; i < 8; i++) {
				const struct bpf_insn access =
					i < 4 ? INSN_LDX(sizes[i], 2, 1, off)
					      : INSN_ST(sizes[i - 4], 1, off, 0);
				const struct bpf_insn insns[] = {access, INSN_MOV64_IMM(0, 0),
								 INSN_EXIT()};

				different += differ(kind, insns, 3, &accepted);
			}
	assert_int_equal(different, 0);
	assert_true(accepted > 300);
}

#define SKB(field)		       offsetof(struct __sk_buff, field)
#define START			       INSN_LDX(BPF_W, 2, 1, SKB(data)), INSN_LDX(BPF_W, 3, 1, SKB(data_end))
#define RET0			       INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define JMP_X(op, d, s, off)	       INSN_RAW(BPF_JMP | BPF_X | (op), d, s, off, 0)
#define PACKET_LD(mode, size, src, at) INSN_RAW(BPF_LD | (mode) | (size), 0, src, 0, at)

/* @error: of the kernel as well; @log: fragment of what both say */
static const struct {
	const char *name;
	struct bpf_insn insns[24];
	uint32_t kind;
	int error;
	const char *log;
} cases[] = {
	{"no comparison",
	 {START, INSN_LDX(BPF_B, 0, 2, 0), RET0},
	 1,
	 -EACCES,
	 "invalid access to packet, off=0 size=1, R2(id=0,off=0,r=0)"},
	{"enough",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 1),
	  INSN_LDX(BPF_DW, 0, 2, 0), RET0},
	 1,
	 0,
	 NULL},
	{"one byte too few",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 1),
	  INSN_LDX(BPF_DW, 0, 2, 1), RET0},
	 1,
	 -EACCES,
	 "R2 offset is outside of the packet"},
	{"the end is a byte more",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 7), JMP_X(BPF_JGE, 4, 3, 1),
	  INSN_LDX(BPF_DW, 0, 2, 0), RET0},
	 1,
	 0,
	 NULL},
	{"the wrong way",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JLT, 4, 3, 1),
	  INSN_LDX(BPF_B, 0, 2, 0), RET0},
	 1,
	 -EACCES,
	 "offset is outside of the packet"},
	{"a number added, then compared",
	 {INSN_LDX(BPF_W, 5, 1, SKB(mark)), START, INSN_ALU64_IMM(BPF_AND, 5, 0xff),
	  INSN_RAW(BPF_ALU64 | BPF_ADD | BPF_X, 2, 5, 0, 0), INSN_MOV64_REG(4, 2),
	  INSN_ALU64_IMM(BPF_ADD, 4, 4), JMP_X(BPF_JGT, 4, 3, 1), INSN_LDX(BPF_W, 0, 2, 0), RET0},
	 1,
	 0,
	 NULL},
	{"compared, then a number added",
	 {INSN_LDX(BPF_W, 5, 1, SKB(mark)), START, INSN_ALU64_IMM(BPF_AND, 5, 0xff),
	  INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 100), JMP_X(BPF_JGT, 4, 3, 2),
	  INSN_RAW(BPF_ALU64 | BPF_ADD | BPF_X, 2, 5, 0, 0), INSN_LDX(BPF_B, 0, 2, 0), RET0},
	 1,
	 -EACCES,
	 "offset is outside of the packet"},
	{"an offset of 16 bits more",
	 {INSN_LDX(BPF_W, 5, 1, SKB(mark)), START,
	  INSN_RAW(BPF_ALU64 | BPF_ADD | BPF_X, 2, 5, 0, 0), INSN_MOV64_REG(4, 2),
	  INSN_ALU64_IMM(BPF_ADD, 4, 4), JMP_X(BPF_JGT, 4, 3, 1), INSN_LDX(BPF_W, 0, 2, 0), RET0},
	 1,
	 -EACCES,
	 NULL},
	{"the end is nowhere to add to",
	 {START, INSN_ALU64_IMM(BPF_ADD, 3, 1), RET0},
	 1,
	 -EACCES,
	 "R3 pointer arithmetic on pkt_end prohibited"},
	{"nor to read",
	 {START, INSN_LDX(BPF_B, 0, 3, 0), RET0},
	 1,
	 -EACCES,
	 "R3 invalid mem access 'pkt_end'"},
	{"written",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 1),
	  INSN_ST(BPF_W, 2, 4, 0), RET0},
	 1,
	 0,
	 NULL},
	{"not to be written",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 1),
	  INSN_ST(BPF_W, 2, 4, 0), RET0},
	 3,
	 -EACCES,
	 "cannot write into packet"},
	{"gone after a helper that may move it",
	 {INSN_MOV64_REG(6, 1), START, INSN_MOV64_REG(7, 2), INSN_ALU64_IMM(BPF_ADD, 2, 8),
	  JMP_X(BPF_JGT, 2, 3, 5), INSN_MOV64_REG(1, 6), INSN_MOV64_IMM(2, 9),
	  INSN_CALL(BPF_FUNC_skb_pull_data), INSN_LDX(BPF_B, 0, 7, 0), INSN_MOV64_IMM(0, 0), RET0},
	 1,
	 -EACCES,
	 "R7 !read_ok"},
	{"there after one that does not",
	 {INSN_MOV64_REG(6, 1), START, INSN_MOV64_REG(7, 2), INSN_ALU64_IMM(BPF_ADD, 2, 8),
	  JMP_X(BPF_JGT, 2, 3, 3), INSN_MOV64_REG(1, 6), INSN_CALL(BPF_FUNC_get_hash_recalc),
	  INSN_LDX(BPF_B, 0, 7, 0), RET0},
	 1,
	 0,
	 NULL},
	{"no memory of a helper's",
	 {INSN_MOV64_REG(6, 1), START, INSN_MOV64_REG(7, 2), INSN_ALU64_IMM(BPF_ADD, 2, 8),
	  JMP_X(BPF_JGT, 2, 3, 6), INSN_MOV64_REG(1, 6), INSN_MOV64_IMM(2, 0), INSN_MOV64_REG(3, 7),
	  INSN_MOV64_IMM(4, 8), INSN_CALL(BPF_FUNC_skb_load_bytes), RET0},
	 1,
	 -EACCES,
	 "helper access to the packet is not allowed"},
	{"data before meta data", /* what lies between */
	 {INSN_LDX(BPF_W, 4, 1, SKB(data_meta)), START, INSN_MOV64_REG(5, 4),
	  INSN_ALU64_IMM(BPF_ADD, 5, 4), JMP_X(BPF_JGT, 5, 2, 1), INSN_LDX(BPF_W, 0, 4, 0), RET0},
	 1,
	 0,
	 NULL},
	{"meta data against the end",
	 {INSN_LDX(BPF_W, 4, 1, SKB(data_meta)), START, INSN_MOV64_REG(5, 4),
	  INSN_ALU64_IMM(BPF_ADD, 5, 4), JMP_X(BPF_JGT, 5, 3, 1), INSN_LDX(BPF_W, 0, 4, 0), RET0},
	 1,
	 -EACCES,
	 "offset is outside of the packet"},
	{"no atomics",
	 {START, INSN_MOV64_REG(4, 2), INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 2),
	  INSN_MOV64_IMM(5, 1), INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 2, 5, 0, BPF_ADD), RET0},
	 1,
	 -EACCES,
	 "BPF_ATOMIC stores into R2 pkt is not allowed"},
	{"more is known on one path than on the other",
	 {INSN_LDX(BPF_W, 5, 1, SKB(mark)), START, INSN_MOV64_REG(4, 2),
	  INSN_ALU64_IMM(BPF_ADD, 4, 8), JMP_X(BPF_JGT, 4, 3, 5),
	  INSN_RAW(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 2, 0), INSN_ALU64_IMM(BPF_ADD, 4, 8),
	  JMP_X(BPF_JGT, 4, 3, 2), INSN_LDX(BPF_DW, 0, 2, 0), INSN_LDX(BPF_B, 0, 2, 8), RET0},
	 1,
	 -EACCES,
	 "offset is outside of the packet"},
	{"loads of a packet",
	 {INSN_MOV64_REG(6, 1), PACKET_LD(BPF_ABS, BPF_H, 0, 12), INSN_MOV64_REG(7, 0),
	  PACKET_LD(BPF_IND, BPF_B, 7, 3), RET0},
	 0,
	 0,
	 NULL},
	{"r6 is something else",
	 {PACKET_LD(BPF_ABS, BPF_H, 0, 12), RET0},
	 0,
	 -EACCES,
	 "R6 !read_ok"},
	{"r6 is a number",
	 {INSN_MOV64_IMM(6, 0), PACKET_LD(BPF_ABS, BPF_H, 0, 12), RET0},
	 0,
	 -EINVAL,
	 "R6 != pointer to skb"},
	{"registers are gone after one",
	 {INSN_MOV64_REG(6, 1), PACKET_LD(BPF_ABS, BPF_H, 0, 12), INSN_MOV64_REG(0, 1),
	  INSN_EXIT()},
	 0,
	 -EACCES,
	 "R1 !read_ok"},
	{"none in programs of devices",
	 {INSN_MOV64_REG(6, 1), PACKET_LD(BPF_ABS, BPF_B, 0, 0), RET0},
	 4,
	 -EINVAL,
	 "instructions not allowed for this program type"},
	{"what a control group's program returns",
	 {INSN_MOV64_IMM(0, 2), INSN_EXIT()},
	 3,
	 -EINVAL,
	 "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"},
};

static uint32_t cnt_of(const struct bpf_insn *insns, uint32_t cnt)
{
	static const struct bpf_insn none;

	while (cnt && memcmp(&insns[cnt - 1], &none, sizeof(none)) == 0)
		cnt--;
	return cnt;
}

static void test_cases(void **state)
{
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t cnt = cnt_of(cases[i].insns, ARRAY_SIZE(cases[i].insns));
		int there = kernels(cases[i].kind, cases[i].insns, cnt);
		int here = ours(cases[i].kind, cases[i].insns, cnt);

		if (here == cases[i].error && there == here &&
		    (!cases[i].log || strstr(text, cases[i].log)))
			continue;
		print_error("%s: %d here, %d in the kernel, %d expected: %s", cases[i].name, here,
			    there, cases[i].error, text);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static uint32_t below(uint32_t end)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % end;
}

/* r2: data, r3: end, r4: meta data, r5: a number; r6 to r8 come from them. */
static uint32_t generate(struct bpf_insn *insns)
{
	static const uint8_t ops[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE, BPF_JEQ, BPF_JNE};
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint32_t cnt = 0, steps = 4 + below(14);

	insns[cnt++] = (struct bpf_insn)INSN_LDX(BPF_W, 4, 1, SKB(data_meta));
	insns[cnt++] = (struct bpf_insn)INSN_LDX(BPF_W, 3, 1, SKB(data_end));
	insns[cnt++] = (struct bpf_insn)INSN_LDX(BPF_W, 2, 1, SKB(data));
	insns[cnt++] = (struct bpf_insn)INSN_LDX(BPF_W, 5, 1, SKB(mark));
	insns[cnt++] = (struct bpf_insn)INSN_ALU64_IMM(BPF_AND, 5, below(2) ? 0xff : 0xffff);
	for (uint8_t reg = 6; reg <= 8; reg++)
		insns[cnt++] = (struct bpf_insn)INSN_MOV64_REG(reg, below(4) ? 2 : 4);
	for (uint32_t i = 0; i < steps; i++) {
		uint8_t reg = (uint8_t)(6 + below(3)), other = (uint8_t)(6 + below(3));

		switch (below(8)) {
		case 0:
			insns[cnt++] = (struct bpf_insn)INSN_MOV64_REG(reg, below(3) ? other : 2);
			break;
		case 1:
			insns[cnt++] = (struct bpf_insn)INSN_RAW(BPF_ALU64 | BPF_X | BPF_ADD, reg,
								 5, 0, 0);
			break;
		case 2:
		case 3:
			insns[cnt++] = (struct bpf_insn)INSN_ALU64_IMM(below(8) ? BPF_ADD : BPF_SUB,
								       reg, (int)below(24));
			break;
		case 4:
		case 5: {
			uint8_t end = below(8) ? 3 : 2;
			bool swap = below(2);

			/* To the end or over the next one. */
			insns[cnt++] = (struct bpf_insn)INSN_RAW(
				BPF_JMP | BPF_X | ops[below(below(6) ? 4 : 6)], swap ? end : reg,
				swap ? reg : end, (int16_t)(below(3) ? -1 : 1), 0);
			if (insns[cnt - 1].off == 1) {
				insns[cnt++] = (struct bpf_insn)INSN_ALU64_IMM(BPF_ADD, other, 1);
				break;
			}
			insns[cnt - 1].off = 0x7fff;
			break;
		}
		default:
			insns[cnt++] = (struct bpf_insn)INSN_LDX(sizes[below(4)], 0, reg,
								 (int16_t)below(20) - 2);
		}
	}
	for (uint32_t i = 0; i < cnt; i++)
		if (insns[i].off == 0x7fff)
			insns[i].off = (int16_t)(cnt - i - 1);
	insns[cnt++] = (struct bpf_insn)INSN_MOV64_IMM(0, 0);
	insns[cnt++] = (struct bpf_insn)INSN_EXIT();
	return cnt;
}

/*
 * Nothing may be accepted here alone. What only the kernel accepts: it goes on to take a place for
 * one behind the end when something was subtracted from it since (Linux 6.18), and does not look at
 * ways that can be gone.
 */
static void test_generated(void **state)
{
	uint32_t accepted = 0, stricter = 0;

	for (uint32_t i = 0; i < program_cnt; i++) {
		struct bpf_insn insns[64];
		uint32_t cnt = generate(insns);
		int here = ours(1, insns, cnt), there = kernels(1, insns, cnt);

		accepted += there == 0;
		stricter += here && !there;
		if (here == 0 && there) {
			print_error("accepted here alone:\n");
			show(insns, cnt);
			fail();
		}
	}
	print_message("%u programs, the kernel accepts %u, of which we do not %u\n", program_cnt,
		      accepted, stricter);
	assert_true(accepted > program_cnt / 50);
	assert_true(stricter <= accepted / 50);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_generated),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		program_cnt = (uint32_t)strtoul(argv[2], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
