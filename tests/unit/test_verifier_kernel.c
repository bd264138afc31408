/* SPDX-License-Identifier: MIT */
/*
 * Our verifier against the live kernel's, on programs made up at random: what we accept the kernel must accept.
 * The other way round is counted: what only the kernel accepts is what we do not cover. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bpf_abi.h"
#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "verifier/verifier.h"

#define PROGRAMS   6000
#define INSNS_MAX  96
#define LOG_SIZE   65536
#define VALUE_SIZE 48

static const struct verifier_map shapes[] = {
	{.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = VALUE_SIZE, .max_entries = 4},
	{.type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = VALUE_SIZE, .max_entries = 4},
	{.type = BPF_MAP_TYPE_PERCPU_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 2},
};
static int map_fds[ARRAY_SIZE(shapes)];

static uint64_t state;

/* splitmix64: the same programs in every run. */
static uint32_t any(uint32_t below)
{
	uint64_t x = state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((x ^ x >> 31) % below);
}

struct program {
	struct bpf_insn insns[INSNS_MAX];
	uint32_t cnt;
};

static void put(struct program *p, struct bpf_insn insn)
{
	p->insns[p->cnt++] = insn;
}

/* Mostly a register that was written; now and then any. */
static uint8_t reg(void)
{
	static const uint8_t usual[] = {BPF_REG_0, BPF_REG_3, BPF_REG_4, BPF_REG_5,
					BPF_REG_7, BPF_REG_8, BPF_REG_9};

	return any(20) ? usual[any(ARRAY_SIZE(usual))] : (uint8_t)any(11);
}

static int32_t constant(void)
{
	static const int32_t usual[] = {0,  1,  2,  4,	 7,	8,	     15,	16,
					31, 40, 48, 255, -1, -8, INT32_MAX, INT32_MIN};

	return any(4) ? usual[any(ARRAY_SIZE(usual))] : (int32_t)any(UINT32_MAX);
}

static uint8_t size(void)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};

	return sizes[any(4)];
}

/* No division: of its result the kernel knows nothing, so branches that we know are dead are not to it. */
static void alu(struct program *p)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_OR,  BPF_AND,  BPF_LSH,
				      BPF_RSH, BPF_XOR, BPF_MOV, BPF_ARSH};
	uint8_t op = ops[any(ARRAY_SIZE(ops))], class = any(3) ? BPF_ALU64 : BPF_ALU;
	int32_t imm = constant();

	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		imm = (int32_t)any(class == BPF_ALU64 ? 64 : 32);
	if (any(2))
		put(p, INSN_RAW(class | op | BPF_X, reg(), reg(), 0, 0));
	else
		put(p, INSN_RAW(class | op | BPF_K, reg(), 0, 0, imm));
}

static void jump(struct program *p)
{
	static const uint8_t ops[] = {BPF_JEQ, BPF_JGT,	 BPF_JGE,  BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	uint8_t op = ops[any(ARRAY_SIZE(ops))], class = any(3) ? BPF_JMP : BPF_JMP32;
	int16_t off = (int16_t)(1 + any(4));

	if (any(2))
		put(p, INSN_RAW(class | op | BPF_X, reg(), reg(), off, 0));
	else
		put(p, INSN_RAW(class | op | BPF_K, reg(), 0, off, constant()));
}

/* Through the map's value, most often within its bounds. */
static void value_access(struct program *p)
{
	int16_t off = (int16_t)(any(5) ? any(VALUE_SIZE) : any(100));
	uint8_t scalar = reg();

	switch (any(5)) {
	case 0: /* move the pointer by a scalar that was just bounded */
		put(p, INSN_ALU64_IMM(BPF_AND, scalar, (int32_t)(any(2) ? 7 : 31)));
		put(p, INSN_ALU64_REG(BPF_ADD, BPF_REG_7, scalar));
		break;
	case 1: /* bounded by a comparison */
		put(p, INSN_JMP_IMM(any(2) ? BPF_JGT : BPF_JSGT, scalar, (int32_t)any(40), 1));
		put(p, INSN_ALU64_REG(any(4) ? BPF_ADD : BPF_SUB, BPF_REG_7, scalar));
		break;
	case 2:
		put(p, INSN_LDX(size(), reg(), BPF_REG_7, off));
		break;
	case 3:
		put(p, INSN_STX(size(), BPF_REG_7, reg(), off));
		break;
	default:
		put(p, INSN_RAW(BPF_STX | (any(2) ? BPF_W : BPF_DW) | BPF_ATOMIC, BPF_REG_7, reg(),
				off, any(2) ? BPF_ADD : BPF_ADD | BPF_FETCH));
	}
}

static void stack_access(struct program *p)
{
	int16_t off = (int16_t)-(int)(any(3) ? 8 * (1 + any(6)) : any(70));

	switch (any(4)) {
	case 0:
		put(p, INSN_ST(size(), BPF_REG_10, off, constant()));
		break;
	case 1:
		put(p, INSN_STX(any(2) ? BPF_DW : size(), BPF_REG_10, reg(), off));
		break;
	default:
		put(p, INSN_LDX(any(2) ? BPF_DW : size(), reg(), BPF_REG_10, off));
	}
}

static void call(struct program *p)
{
	switch (any(4)) {
	case 0:
		put(p, INSN_CALL(BPF_FUNC_ktime_get_ns));
		break;
	case 1:
		put(p, INSN_MOV64_REG(BPF_REG_1, BPF_REG_10));
		put(p, INSN_ALU64_IMM(BPF_ADD, BPF_REG_1, -(int32_t)(8 * any(8))));
		put(p, any(2) ? INSN_MOV64_IMM(BPF_REG_2, (int32_t)any(40))
			      : INSN_MOV64_REG(BPF_REG_2, reg()));
		put(p, INSN_MOV64_REG(BPF_REG_3, reg()));
		put(p, INSN_CALL(BPF_FUNC_probe_read_user));
		break;
	case 2:
		put(p, INSN_MOV64_REG(BPF_REG_1, BPF_REG_10));
		put(p, INSN_ALU64_IMM(BPF_ADD, BPF_REG_1, -16));
		put(p, INSN_MOV64_IMM(BPF_REG_2, 16));
		put(p, INSN_CALL(BPF_FUNC_get_current_comm));
		break;
	default:
		put(p, INSN_CALL(BPF_FUNC_get_prandom_u32));
	}
	/* What a call leaves is no use; give it a value most of the time. */
	for (uint8_t r = BPF_REG_3; r <= BPF_REG_5; r++)
		if (any(4))
			put(p, INSN_MOV64_IMM(r, constant()));
}

static void lookup(struct program *p, uint32_t map)
{
	struct bpf_insn two[] = {INSN_LD_IMM64_SRC(BPF_REG_1, BPF_PSEUDO_MAP_FD, map)};

	put(p, INSN_ST(BPF_DW, BPF_REG_10, -8, (int32_t)any(5)));
	put(p, two[0]);
	put(p, two[1]);
	put(p, INSN_MOV64_REG(BPF_REG_2, BPF_REG_10));
	put(p, INSN_ALU64_IMM(BPF_ADD, BPF_REG_2, -8));
	put(p, INSN_CALL(BPF_FUNC_map_lookup_elem));
	if (any(10)) {
		put(p, INSN_JMP_IMM(BPF_JNE, BPF_REG_0, 0, 2));
		put(p, INSN_MOV64_IMM(BPF_REG_0, 0));
		put(p, INSN_EXIT());
	}
	put(p, INSN_MOV64_REG(BPF_REG_7, BPF_REG_0));
}

static void generate(struct program *p)
{
	uint32_t wanted = 12 + any(40);

	p->cnt = 0;
	put(p, INSN_MOV64_REG(BPF_REG_6, BPF_REG_1));
	put(p, INSN_LDX(BPF_DW, BPF_REG_8, BPF_REG_6, (int16_t)(8 * any(20))));
	put(p, INSN_LDX(BPF_W, BPF_REG_9, BPF_REG_6, (int16_t)(8 * any(20))));
	lookup(p, any(ARRAY_SIZE(shapes)));
	for (uint8_t r = BPF_REG_3; r <= BPF_REG_5; r++)
		put(p, INSN_MOV64_IMM(r, constant()));
	put(p, INSN_MOV64_REG(BPF_REG_0, BPF_REG_8));
	while (p->cnt < wanted) {
		switch (any(10)) {
		case 0:
		case 1:
		case 2:
			alu(p);
			break;
		case 3:
		case 4:
			jump(p);
			break;
		case 5:
		case 6:
			value_access(p);
			break;
		case 7:
		case 8:
			stack_access(p);
			break;
		default:
			call(p);
		}
	}
	/* Jumps of the last few land here. */
	for (int i = 0; i < 4; i++)
		put(p, INSN_MOV64_IMM(BPF_REG_0, 0));
	put(p, INSN_EXIT());
}

static int check_ours(const struct program *p, char *text)
{
	const struct verifier_prog prog = {.insns = p->insns,
					   .cnt = p->cnt,
					   .type = BPF_PROG_TYPE_KPROBE,
					   .gpl = true,
					   .maps = shapes,
					   .map_cnt = ARRAY_SIZE(shapes)};
	struct verifier_log log = {.level = 1, .buf = text, .size = LOG_SIZE};
	struct verifier_facts facts;

	return verifier_check(&prog, &log, &facts);
}

static int check_kernel(const struct program *p, char *text)
{
	struct bpf_insn insns[INSNS_MAX];
	struct abi_prog_load attr = {.prog_type = BPF_PROG_TYPE_KPROBE,
				     .insn_cnt = p->cnt,
				     .insns = (uintptr_t)insns,
				     .license = (uintptr_t) "GPL",
				     .log_level = text ? 1 : 0,
				     .log_buf = (uintptr_t)text,
				     .log_size = text ? LOG_SIZE : 0};
	int fd;

	memcpy(insns, p->insns, sizeof(insns));
	for (uint32_t i = 0; i < p->cnt; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW))
			insns[i].imm = map_fds[insns[i].imm];
	fd = sys_bpf(BPF_PROG_LOAD, &attr, offsetof(struct abi_prog_load, prog_btf_fd));
	close_fd(fd);
	return fd < 0 ? fd : 0;
}

static void show(const struct program *p, const char *ours, const char *kernel)
{
	for (uint32_t i = 0; i < p->cnt; i++)
		printf("%3u: code %02x dst %d src %d off %d imm %d\n", i, p->insns[i].code,
		       p->insns[i].dst_reg, p->insns[i].src_reg, p->insns[i].off,
		       p->insns[i].imm);
	printf("ours: %s\nkernel: %s\n", ours, kernel);
}

static void test_random(void **unused)
{
	static char ours[LOG_SIZE], kernel[LOG_SIZE];
	static struct program p;
	unsigned int both = 0, neither = 0, only_kernel = 0, only_ours = 0;

	state = 20261126;
	for (int i = 0; i < PROGRAMS; i++) {
		int a, b;

		generate(&p);
		a = check_ours(&p, ours);
		b = check_kernel(&p, NULL);
		both += a == 0 && b == 0;
		neither += a < 0 && b < 0;
		only_kernel += a < 0 && b == 0;
		if (a < 0 || b == 0)
			continue;
		check_kernel(&p, kernel);
		/* The kernel takes the constant by which two scalars differ, which it remembers to
		 * narrow both, for an offset of the pointer that one of them is added to. */
		if (strstr(kernel, "map_value pointer offset") && strstr(kernel, "is not allowed"))
			continue;
		if (only_ours++ < 3)
			show(&p, ours, kernel);
	}
	printf("accepted by both %u, refused by both %u, by us alone refused %u, accepted %u\n", both,
	       neither, only_kernel, only_ours);
	assert_int_equal(only_ours, 0);
	/* Or the generator says nothing. */
	assert_true(both > PROGRAMS / 20);
}

static int make_maps(void **unused)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct abi_map_create attr = {.map_type = shapes[i].type,
					      .key_size = shapes[i].key_size,
					      .value_size = shapes[i].value_size,
					      .max_entries = shapes[i].max_entries};

		map_fds[i] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		if (map_fds[i] < 0)
			return -1;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, make_maps, NULL);
}
