/* SPDX-License-Identifier: MIT */
/*
 * Random programs, compiled and interpreted by us and run by the kernel: the results are the same.
 * Needs root (and fails without). Programs are socket filters, which BPF_PROG_TEST_RUN runs on a
 * packet of zeros.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/jit_region.h"
#include "vm/interp/interp.h"

#define PROGRAMS 700
#define STEPS	 48
#define SECONDS	 10 /* at most; a slow machine does fewer programs */
#define SLOTS	 8  /* of 8 bytes on the stack */

struct program {
	struct bpf_insn insns[512];
	uint32_t cnt;
};

/* xorshift64*, so that every machine tries the same programs. */
static uint64_t next_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static unsigned below(unsigned limit)
{
	return (unsigned)((next_random() >> 32) % limit);
}

/* Numbers where something may go wrong come more often than others. */
static uint64_t any_number(void)
{
	static const uint64_t corners[] = {
		0,
		1,
		2,
		UINT64_MAX,
		INT64_MAX,
		1ull << 63,
		UINT32_MAX,
		INT32_MAX,
		1ull << 31,
		1ull << 32,
		0xff,
		0x8000,
		0xffffffff80000000,
		63,
		64,
		31,
		32,
	};

	return below(3) ? corners[below(ARRAY_SIZE(corners))] : next_random();
}

static void put(struct program *program, struct bpf_insn insn)
{
	assert_true(program->cnt < ARRAY_SIZE(program->insns));
	program->insns[program->cnt++] = insn;
}

static void put_number(struct program *program, unsigned reg, uint64_t value)
{
	const struct bpf_insn insns[] = {INSN_LD_IMM64(reg, value)};

	put(program, insns[0]);
	put(program, insns[1]);
}

static struct bpf_insn any_move(unsigned dst, unsigned src)
{
	static const int16_t widths[] = {0, 8, 16, 32};
	const bool wide = below(2);

	return INSN_RAW((wide ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_X, dst, src,
			widths[below(wide ? 4 : 3)], 0);
}

static struct bpf_insn any_swap(unsigned dst)
{
	static const uint8_t codes[] = {
		BPF_ALU | BPF_END | BPF_TO_LE,
		BPF_ALU | BPF_END | BPF_TO_BE,
		BPF_ALU64 | BPF_END,
	};

	return INSN_RAW(codes[below(3)], dst, 0, 0, 16 << below(3));
}

/* What the kernel refuses as a constant: a division by 0, a shift too far. */
static int32_t legal_constant(unsigned op, bool wide, int32_t value)
{
	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		return value & (wide ? 63 : 31);
	if ((op == BPF_DIV || op == BPF_MOD) && value == 0)
		return 3;
	return value;
}

static struct bpf_insn any_alu(unsigned dst, unsigned src)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,
				      BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_ARSH,
				      BPF_DIV, BPF_MOD, BPF_MOV, BPF_END};
	const unsigned op = ops[below(ARRAY_SIZE(ops))];
	const bool wide = below(2);
	const uint8_t class = wide ? BPF_ALU64 : BPF_ALU;
	const int16_t off = (op == BPF_DIV || op == BPF_MOD) && below(2);

	if (op == BPF_END)
		return any_swap(dst);
	if (op == BPF_MOV)
		return any_move(dst, src);
	if (op == BPF_NEG)
		return (struct bpf_insn)INSN_RAW(class | BPF_NEG, dst, 0, 0, 0);
	if (below(2))
		return (struct bpf_insn)INSN_RAW(class | op | BPF_X, dst, src, off, 0);
	return (struct bpf_insn)INSN_RAW(class | op | BPF_K, dst, 0, off,
					 legal_constant(op, wide, (int32_t)any_number()));
}

/* A jump over the next instruction. */
static struct bpf_insn any_jump(unsigned dst, unsigned src)
{
	static const uint8_t ops[] = {BPF_JEQ,	BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				      BPF_JSET, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE};
	const uint8_t class = below(2) ? BPF_JMP : BPF_JMP32;
	const uint8_t op = ops[below(ARRAY_SIZE(ops))];

	if (below(2))
		return (struct bpf_insn)INSN_RAW(class | op | BPF_X, dst, src, 1, 0);
	return (struct bpf_insn)INSN_RAW(class | op | BPF_K, dst, 0, 1, (int32_t)any_number());
}

static struct bpf_insn any_memory(unsigned dst, unsigned src)
{
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	static const int32_t atomics[] = {BPF_ADD, BPF_OR, BPF_AND, BPF_XOR, BPF_XCHG, BPF_CMPXCHG};
	const unsigned log = below(4);
	const int16_t at = (int16_t)(-8 * SLOTS + (int)(below(8 * SLOTS) >> log << log));
	const int32_t atomic = atomics[below(6)] | (below(2) ? BPF_FETCH : 0);

	switch (below(5)) {
	case 0:
		return (struct bpf_insn)INSN_LDX(sizes[log], dst, BPF_REG_10, at);
	case 1:
		return (struct bpf_insn)INSN_STX(sizes[log], BPF_REG_10, src, at);
	case 2:
		return (struct bpf_insn)INSN_ST(sizes[log], BPF_REG_10, at, (int32_t)any_number());
	case 3:
		return (struct bpf_insn)INSN_RAW(BPF_LDX | JIT_MEMSX | sizes[log % 3], dst,
						 BPF_REG_10, at, 0);
	default:
		return (struct bpf_insn)INSN_RAW(BPF_STX | BPF_ATOMIC | (log < 2 ? BPF_W : BPF_DW),
						 BPF_REG_10, src, at & -8, atomic);
	}
}

static struct bpf_insn any_insn(void)
{
	const unsigned dst = below(10), src = below(10);

	switch (below(8)) {
	case 0:
		return any_jump(dst, src);
	case 1:
	case 2:
		return any_memory(dst, src);
	default:
		return any_alu(dst, src);
	}
}

/* Everything the program computed goes into the 32 bits that the kernel reports. */
static void put_digest(struct program *program)
{
	for (unsigned reg = 1; reg < 10; reg++) {
		put(program, (struct bpf_insn)INSN_ALU64_IMM(BPF_MUL, BPF_REG_0, 1000003));
		put(program, (struct bpf_insn)INSN_ALU64_REG(BPF_XOR, BPF_REG_0, reg));
	}
	for (int slot = 1; slot <= SLOTS; slot++) {
		put(program, (struct bpf_insn)INSN_LDX(BPF_DW, BPF_REG_1, BPF_REG_10, -8 * slot));
		put(program, (struct bpf_insn)INSN_ALU64_IMM(BPF_MUL, BPF_REG_0, 1000003));
		put(program, (struct bpf_insn)INSN_ALU64_REG(BPF_XOR, BPF_REG_0, BPF_REG_1));
	}
	put(program, (struct bpf_insn)INSN_MOV64_REG(BPF_REG_1, BPF_REG_0));
	put(program, (struct bpf_insn)INSN_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
	put(program, (struct bpf_insn)INSN_ALU64_REG(BPF_XOR, BPF_REG_0, BPF_REG_1));
	put(program, (struct bpf_insn)INSN_EXIT());
}

/*
 * The same inputs for both: constants for the kernel, whose verifier wants to know what it runs,
 * and loads from the context for us, or LLVM would work the whole program out by itself.
 */
static void put_inputs(struct program *program, const uint64_t *inputs, bool constant)
{
	const unsigned order[] = {0, 2, 3, 4, 5, 6, 7, 8, 9, 1}; /* r1 is the context */
	int16_t at;

	for (int slot = 0; slot < SLOTS; slot++) {
		if (constant)
			put_number(program, BPF_REG_0, inputs[10 + slot]);
		else
			put(program, (struct bpf_insn)INSN_LDX(BPF_DW, BPF_REG_0, BPF_REG_1,
							       (int16_t)(8 * (10 + slot))));
		at = (int16_t)(-8 * (slot + 1));
		put(program, (struct bpf_insn)INSN_STX(BPF_DW, BPF_REG_10, BPF_REG_0, at));
	}
	for (unsigned i = 0; i < 10; i++) {
		at = (int16_t)(8 * order[i]);
		if (constant)
			put_number(program, order[i], inputs[order[i]]);
		else
			put(program, (struct bpf_insn)INSN_LDX(BPF_DW, order[i], BPF_REG_1, at));
	}
}

static void put_steps(struct program *program, const struct bpf_insn *body)
{
	for (unsigned i = 0; i < STEPS; i++)
		put(program, body[i]);
	/* What a last jump may skip. */
	put(program, (struct bpf_insn)INSN_MOV64_IMM(BPF_REG_9, 9));
}

/* A function of five arguments; all it computed is its result. */
static void put_function(struct program *program, const struct bpf_insn *body)
{
	for (unsigned i = 0; i < 4; i++)
		put(program, (struct bpf_insn)INSN_MOV64_REG(BPF_REG_6 + i, BPF_REG_1 + i));
	put(program, (struct bpf_insn)INSN_MOV64_REG(BPF_REG_0, BPF_REG_5));
	for (int slot = 1; slot <= SLOTS; slot++)
		put(program, (struct bpf_insn)INSN_STX(BPF_DW, BPF_REG_10, 1 + slot % 5,
						       (int16_t)(-8 * slot)));
	put_steps(program, body);
	put_digest(program);
}

/* The second half is called as a function, with what the first has computed. */
static void put_body(struct program *program, const struct bpf_insn *body)
{
	uint32_t call;

	put_steps(program, body);
	call = program->cnt;
	put(program, (struct bpf_insn)INSN_CALL_REL(0));
	for (unsigned reg = BPF_REG_1; reg <= BPF_REG_5; reg++)
		put(program, (struct bpf_insn)INSN_MOV64_IMM(reg, (int32_t)reg));
	put_digest(program);
	program->insns[call].imm = (int32_t)(program->cnt - call - 1);
	put_function(program, body + STEPS);
}

static uint64_t interpret(const struct program *program, const uint64_t *inputs, size_t size)
{
	const struct interp_memory memory = {(uint64_t)inputs, size, false};
	const struct interp interp = {.budget = 100000, .memory = &memory, .memory_cnt = 1};
	const uint64_t args[5] = {(uint64_t)inputs};
	struct reason reason;
	uint64_t r0 = 0;

	if (interp_run(&interp, program->insns, program->cnt, args, &r0, &reason) < 0)
		fail_msg("interpreter: %s", reason.text);
	return r0;
}

static char kernel_log[1 << 16];

static uint32_t run_in_kernel(const struct program *program)
{
	unsigned char packet[64] = {0};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)program->insns,
		.insn_cnt = program->cnt,
		.license = (uintptr_t) "GPL",
		.log_level = 1,
		.log_buf = (uintptr_t)kernel_log,
		.log_size = sizeof(kernel_log),
	};
	union bpf_attr test = {
		.test.data_in = (uintptr_t)packet,
		.test.data_size_in = sizeof(packet),
	};
	int fd = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load)), r;

	if (fd == -ENOSPC) {
		load.log_level = 0;
		load.log_buf = load.log_size = 0;
		fd = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load));
	}
	if (fd < 0)
		fail_msg("%d: %s", fd, kernel_log);
	test.test.prog_fd = (uint32_t)fd;
	r = sys_bpf(BPF_PROG_TEST_RUN, &test, sizeof(test));
	close(fd);
	assert_int_equal(r, 0);
	return test.test.retval;
}

static void test_same_result(void **state)
{
	const time_t end = time(NULL) + SECONDS;
	static struct program theirs, mine;
	struct bpf_insn body[2 * STEPS];
	uint64_t inputs[10 + SLOTS];
	struct jit_region region;
	uint64_t ours, interpreted;
	uint32_t kernel;
	unsigned done;

	assert_int_equal(jit_region_init(&region), 0);
	for (done = 0; done < PROGRAMS && time(NULL) < end; done++) {
		theirs.cnt = mine.cnt = 0;
		for (unsigned i = 0; i < ARRAY_SIZE(inputs); i++)
			inputs[i] = any_number();
		for (unsigned i = 0; i < ARRAY_SIZE(body); i++)
			body[i] = any_insn();
		put_inputs(&theirs, inputs, true);
		put_inputs(&mine, inputs, done % 4 == 0);
		put_body(&theirs, body);
		put_body(&mine, body);
		kernel = run_in_kernel(&theirs);
		if (jit_region_compile(&region, mine.insns, mine.cnt) < 0)
			fail_msg("program %u: %s", done, region.reason.text);
		ours = jit_region_call(&region, inputs);
		interpreted = interpret(&mine, inputs, sizeof(inputs));
		if (interpreted != ours)
			fail_msg("program %u: %#lx compiled, %#lx interpreted", done, ours,
				 interpreted);
		if ((uint32_t)ours != kernel)
			fail_msg("program %u: %#x here, %#x in the kernel", done, (uint32_t)ours,
				 kernel);
	}
	jit_region_deinit(&region);
	print_message("%u programs\n", done);
	assert_true(done > PROGRAMS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
