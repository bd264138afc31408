/* SPDX-License-Identifier: MIT */
/*
 * Programs of type SYSCALL, whose context is memory of whoever runs them: each verdict against the
 * kernel's. Needs root (and fails without).
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

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "verifier/verifier.h"

#define INSNS_MAX 16
#define RET0	  INSN_MOV64_IMM(0, 0), INSN_EXIT()
#define MEMSX	  0x80

static char own_log[1 << 14], kernel_log[1 << 14];

static int ours(const struct bpf_insn *insns, uint32_t cnt, bool sleepable)
{
	const struct verifier_prog prog = {.insns = insns,
					   .cnt = cnt,
					   .type = BPF_PROG_TYPE_SYSCALL,
					   .gpl = true,
					   .sleepable = sleepable};
	struct verifier_log log = {.level = 1, .buf = own_log, .size = sizeof(own_log)};
	struct verifier_facts facts;

	return verifier_check(&prog, &log, &facts);
}

static int kernels(const struct bpf_insn *insns, uint32_t cnt, bool sleepable)
{
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SYSCALL,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL",
			       .prog_flags = sleepable ? BPF_F_SLEEPABLE : 0,
			       .log_level = 1,
			       .log_buf = (uintptr_t)kernel_log,
			       .log_size = sizeof(kernel_log)};
	int fd;

	kernel_log[0] = '\0';
	fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close_fd(fd);
	return fd < 0 ? fd : 0;
}

/* Return: whether both say the same. */
static bool agree(const char *name, const struct bpf_insn *insns, uint32_t cnt, bool sleepable,
		  uint32_t *accepted)
{
	const int here = ours(insns, cnt, sleepable), there = kernels(insns, cnt, sleepable);

	*accepted += there == 0;
	if (here == there)
		return true;
	print_error("%s: %d here, %d in the kernel\nhere:\n%s\nkernel:\n%s\n", name, here, there,
		    own_log, kernel_log);
	return false;
}

static void test_context(void **state)
{
	static const int16_t offs[] = {-8, -1, 0,   1,	  2,	 3,	4,    7,
				       8,  9,  512, 4096, 32760, 32764, 32767};
	static const uint8_t sizes[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	uint32_t accepted = 0, different = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++)
		for (int kind = 0; kind < 15; kind++) {
			const uint8_t size = sizes[kind % 4];
			const struct bpf_insn access =
				kind < 4    ? INSN_LDX(size, 2, 1, offs[i])
				: kind < 8  ? INSN_ST(size, 1, offs[i], 1)
				: kind < 12 ? INSN_STX(size, 1, 1, offs[i])
					    : INSN_RAW(BPF_LDX | MEMSX | size, 2, 1, offs[i], 0);
			const struct bpf_insn insns[] = {access, RET0};
			char name[64];

			snprintf(name, sizeof(name), "code %#x off %d", access.code, access.off);
			different += !agree(name, insns, 3, true, &accepted);
		}
	assert_int_equal(different, 0);
	assert_true(accepted > 60);
}

static const struct {
	const char *name;
	struct bpf_insn insns[INSNS_MAX];
	uint32_t cnt;
	bool cannot_sleep;
	int error;
} cases[] = {
	{"nothing", {RET0}, 2, .error = 0},
	{"one that cannot sleep", {RET0}, 2, .cannot_sleep = true, .error = -EINVAL},
	{"any number returned", {INSN_MOV64_IMM(0, 4711), INSN_EXIT()}, 2, .error = 0},
	{"a call of the kernel",
	 {INSN_MOV64_REG(2, 1), INSN_MOV64_IMM(1, 5), INSN_MOV64_IMM(3, 64),
	  INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 5,
	 .error = -EACCES},
	{"a call of the kernel, from the stack",
	 {INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),
	  INSN_MOV64_IMM(1, 5), INSN_MOV64_IMM(3, 8), INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 7,
	 .error = 0},
	{"an address by its name, from the stack",
	 {INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_REG(1, 10), INSN_ALU64_IMM(BPF_ADD, 1, -8),
	  INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(3, 0), INSN_MOV64_REG(4, 10),
	  INSN_ALU64_IMM(BPF_ADD, 4, -16), INSN_CALL(BPF_FUNC_kallsyms_lookup_name), INSN_EXIT()},
	 9,
	 .error = 0},
	{"a call with too much",
	 {INSN_MOV64_REG(2, 1), INSN_MOV64_IMM(1, 5), INSN_MOV64_IMM(3, 65536),
	  INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 5,
	 .error = -EACCES},
	{"a call with as much as there may be",
	 {INSN_MOV64_REG(2, 1), INSN_MOV64_IMM(1, 5), INSN_MOV64_IMM(3, 65535),
	  INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 5,
	 .error = -EACCES},
	{"a call with nothing",
	 {INSN_MOV64_REG(2, 1), INSN_MOV64_IMM(1, 5), INSN_MOV64_IMM(3, 0),
	  INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 5,
	 .error = -EACCES},
	{"a part of the context",
	 {INSN_MOV64_REG(2, 1), INSN_ALU64_IMM(BPF_ADD, 2, 8), INSN_MOV64_IMM(1, 5),
	  INSN_MOV64_IMM(3, 64), INSN_CALL(BPF_FUNC_sys_bpf), INSN_EXIT()},
	 6,
	 .error = -EACCES},
	{"something read into the context",
	 {INSN_LDX(BPF_DW, 3, 1, 0), INSN_MOV64_IMM(2, 16), INSN_CALL(BPF_FUNC_copy_from_user),
	  INSN_EXIT()},
	 4,
	 .error = -EACCES},
	{"nothing read into the context",
	 {INSN_LDX(BPF_DW, 3, 1, 0), INSN_MOV64_IMM(2, 0), INSN_CALL(BPF_FUNC_copy_from_user),
	  INSN_EXIT()},
	 4,
	 .error = -EACCES},
	{"a descriptor closed",
	 {INSN_MOV64_IMM(1, 9), INSN_CALL(BPF_FUNC_sys_close), INSN_EXIT()},
	 3,
	 .error = 0},
	{"a type by its name",
	 {INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(3, 4), INSN_MOV64_IMM(4, 0),
	  INSN_CALL(BPF_FUNC_btf_find_by_name_kind), INSN_EXIT()},
	 5,
	 .error = -EACCES},
	{"an address by its name",
	 {INSN_MOV64_IMM(2, 8), INSN_MOV64_IMM(3, 0), INSN_MOV64_REG(4, 10),
	  INSN_ALU64_IMM(BPF_ADD, 4, -8), INSN_CALL(BPF_FUNC_kallsyms_lookup_name), INSN_EXIT()},
	 6,
	 .error = -EACCES},
	{"an atomic operation on the context",
	 {INSN_MOV64_IMM(2, 1), INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD), RET0},
	 4,
	 .error = -EACCES},
};

static void test_cases(void **state)
{
	uint32_t wrong = 0, accepted = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const bool same = agree(cases[i].name, cases[i].insns, cases[i].cnt,
					!cases[i].cannot_sleep, &accepted);
		const int here = ours(cases[i].insns, cases[i].cnt, !cases[i].cannot_sleep);

		if (here != cases[i].error)
			print_error("%s: %d, not %d\n%s\n", cases[i].name, here, cases[i].error,
				    own_log);
		wrong += !same || here != cases[i].error;
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_context),
					   cmocka_unit_test(test_cases)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
