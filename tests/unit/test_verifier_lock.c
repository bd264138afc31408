/* SPDX-License-Identifier: MIT */
/*
 * Locks in map values: the verifier's verdicts and words beside the kernel's, by type of program.
 * Needs root (and fails without).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/btf_build.h"
#include "verifier/verifier.h"

#define LOG_SIZE 65536
#define INSNS	 40
#define LOCK_AT	 4 /* in a value of 16 bytes */

enum { HASH, CELL, PLAIN, TIMED, MAPS };

#define PROG(...)	 .insns = {__VA_ARGS__}
#define LD_MAP(reg, map) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_FD, (uint32_t)(map))
#define LD_CELL(reg, at) INSN_LD_IMM64_SRC(reg, BPF_PSEUDO_MAP_VALUE, (uint64_t)(at) << 32 | CELL)
#define RET0		 INSN_MOV64_IMM(0, 0), INSN_EXIT()
/* @reg = value of @map, or the program ends; a key stands at r10 - 8 */
#define FIND(reg, map)                                                                             \
	INSN_ST(BPF_DW, 10, -8, 0), INSN_MOV64_REG(2, 10), INSN_ALU64_IMM(BPF_ADD, 2, -8),         \
		LD_MAP(1, map), INSN_CALL(BPF_FUNC_map_lookup_elem),                               \
		INSN_JMP_IMM(BPF_JNE, 0, 0, 2), RET0, INSN_MOV64_REG(reg, 0)
#define LOCK(reg, at)                                                                              \
	INSN_MOV64_REG(1, reg), INSN_ALU64_IMM(BPF_ADD, 1, at), INSN_CALL(BPF_FUNC_spin_lock)
#define UNLOCK(reg, at)                                                                            \
	INSN_MOV64_REG(1, reg), INSN_ALU64_IMM(BPF_ADD, 1, at), INSN_CALL(BPF_FUNC_spin_unlock)

struct lock_case {
	const char *name;
	struct bpf_insn insns[INSNS];
	uint32_t type; /* 0: SCHED_CLS */
	int error;
	const char *log;
};

static const struct lock_case cases[] = {
	{"lock and unlock",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), INSN_ST(BPF_W, 6, 0, 1), UNLOCK(6, LOCK_AT), RET0)},
	{"of a value without a lookup",
	 PROG(LD_CELL(6, 0), LOCK(6, LOCK_AT), LD_CELL(7, 0), UNLOCK(7, LOCK_AT), RET0)},
	{"in traced functions", PROG(FIND(6, HASH), RET0), .type = BPF_PROG_TYPE_KPROBE,
	 .error = -EINVAL, .log = "tracing progs cannot use bpf_spin_lock yet"},
	{"at trace points", PROG(FIND(6, HASH), RET0), .type = BPF_PROG_TYPE_RAW_TRACEPOINT,
	 .error = -EINVAL, .log = "tracing progs cannot use bpf_spin_lock yet"},
	{"on sockets", PROG(FIND(6, HASH), RET0), .type = BPF_PROG_TYPE_SOCKET_FILTER,
	 .error = -EINVAL, .log = "socket filter progs cannot use bpf_spin_lock yet"},
	{"timers in traced functions", PROG(FIND(6, TIMED), RET0), .type = BPF_PROG_TYPE_KPROBE,
	 .error = -EINVAL, .log = "tracing progs cannot use bpf_timer yet"},
	{"on packets", PROG(FIND(6, HASH), LOCK(6, LOCK_AT), UNLOCK(6, LOCK_AT), RET0),
	 .type = BPF_PROG_TYPE_XDP},
	{"not unlocked", PROG(FIND(6, HASH), LOCK(6, LOCK_AT), RET0), .error = -EINVAL,
	 .log = "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region"},
	{"not locked", PROG(FIND(6, HASH), UNLOCK(6, LOCK_AT), RET0), .error = -EINVAL,
	 .log = "bpf_spin_unlock without taking a lock"},
	{"locked twice", PROG(FIND(6, HASH), LOCK(6, LOCK_AT), LOCK(6, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "function calls are not allowed while holding a lock"},
	{"unlocked twice",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), UNLOCK(6, LOCK_AT), UNLOCK(6, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "bpf_spin_unlock without taking a lock"},
	{"another lookup's lock",
	 PROG(FIND(6, HASH), FIND(7, HASH), LOCK(6, LOCK_AT), UNLOCK(7, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "bpf_spin_unlock of different lock"},
	{"another map's lock",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), LD_CELL(7, 0), UNLOCK(7, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "bpf_spin_unlock of different lock"},
	{"helper while locked",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), INSN_CALL(BPF_FUNC_ktime_get_ns), UNLOCK(6, LOCK_AT),
	      RET0),
	 .error = -EINVAL, .log = "function calls are not allowed while holding a lock"},
	{"function while locked",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), INSN_MOV64_REG(1, 6), INSN_CALL_REL(5),
	      UNLOCK(6, LOCK_AT), RET0, INSN_ST(BPF_W, 1, 8, 1), RET0)},
	{"function that unlocks",
	 PROG(FIND(6, HASH), LOCK(6, LOCK_AT), INSN_MOV64_REG(1, 6), INSN_CALL_REL(2), RET0,
	      INSN_ALU64_IMM(BPF_ADD, 1, LOCK_AT), INSN_CALL(BPF_FUNC_spin_unlock), RET0)},
	{"function that leaves it locked",
	 PROG(FIND(6, HASH), INSN_MOV64_REG(1, 6), INSN_CALL_REL(2), RET0,
	      INSN_ALU64_IMM(BPF_ADD, 1, LOCK_AT), INSN_CALL(BPF_FUNC_spin_lock), RET0),
	 .error = -EINVAL, .log = "cannot be used inside bpf_spin_lock-ed region"},
	{"loads of the packet while locked",
	 PROG(INSN_MOV64_REG(9, 1), FIND(7, HASH), LOCK(7, LOCK_AT), INSN_MOV64_REG(6, 9),
	      INSN_RAW(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0), UNLOCK(7, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region"},
	{"beside the lock", PROG(FIND(6, HASH), LOCK(6, 8), UNLOCK(6, 8), RET0), .error = -EINVAL,
	 .log = "off 8 doesn't point to 'struct bpf_spin_lock' that is at 4"},
	{"anywhere",
	 PROG(FIND(6, HASH), INSN_LDX(BPF_W, 7, 6, 0), INSN_ALU64_IMM(BPF_AND, 7, 4),
	      INSN_MOV64_REG(1, 6), INSN_ALU64_REG(BPF_ADD, 1, 7), INSN_CALL(BPF_FUNC_spin_lock),
	      RET0),
	 .error = -EINVAL, .log = "doesn't have constant offset"},
	{"values without", PROG(FIND(6, PLAIN), LOCK(6, LOCK_AT), RET0), .error = -EINVAL,
	 .log = "has no valid bpf_spin_lock"},
	{"on the stack", PROG(LOCK(10, -8), RET0), .error = -EACCES,
	 .log = "R1 type=fp expected=map_value"},
	{"read", PROG(FIND(6, HASH), INSN_LDX(BPF_W, 0, 6, LOCK_AT), INSN_EXIT()), .error = -EACCES,
	 .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"written with more", PROG(FIND(6, HASH), INSN_ST(BPF_DW, 6, 0, 1), RET0), .error = -EACCES,
	 .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"perhaps written",
	 PROG(FIND(6, HASH), INSN_LDX(BPF_W, 7, 6, 0), INSN_ALU64_IMM(BPF_AND, 7, 4),
	      INSN_ALU64_REG(BPF_ADD, 6, 7), INSN_ST(BPF_B, 6, 0, 1), RET0),
	 .error = -EACCES, .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"around it", PROG(FIND(6, HASH), INSN_ST(BPF_W, 6, 0, 1), INSN_ST(BPF_DW, 6, 8, 1), RET0)},
	{"added to",
	 PROG(FIND(6, HASH), INSN_MOV64_IMM(1, 1),
	      INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_W, 6, 1, LOCK_AT, BPF_ADD), RET0),
	 .error = -EACCES, .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"by helpers",
	 PROG(FIND(6, HASH), INSN_MOV64_REG(1, 6), INSN_MOV64_IMM(2, 16),
	      INSN_CALL(BPF_FUNC_get_current_comm), RET0),
	 .error = -EACCES, .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"in a dynptr",
	 PROG(FIND(1, HASH), INSN_MOV64_IMM(2, 16), INSN_MOV64_IMM(3, 0), INSN_MOV64_REG(4, 10),
	      INSN_ALU64_IMM(BPF_ADD, 4, -24), INSN_CALL(BPF_FUNC_dynptr_from_mem), RET0),
	 .error = -EACCES, .log = "bpf_spin_lock cannot be accessed directly by load/store"},
	{"locked on one way only",
	 PROG(FIND(6, HASH), INSN_LDX(BPF_W, 7, 6, 0), INSN_JMP_IMM(BPF_JEQ, 7, 0, 3),
	      LOCK(6, LOCK_AT), INSN_MOV64_IMM(1, 0), INSN_MOV64_IMM(2, 0),
	      INSN_JMP_IMM(BPF_JEQ, 7, 1, 0), UNLOCK(6, LOCK_AT), RET0),
	 .error = -EINVAL, .log = "bpf_spin_unlock without taking a lock"},
};

static int fds[MAPS];
static uint32_t types[MAPS];
static struct btf_build build;
static char kernel_log[LOG_SIZE], own_log[LOG_SIZE];

static const struct verifier_map shapes[MAPS] = {
	[HASH] = {BPF_MAP_TYPE_HASH, 8, 16, 4, .fields = {BTF_FIELD_SPIN_LOCK, LOCK_AT}},
	[CELL] = {BPF_MAP_TYPE_ARRAY, 4, 16, 1, .fields = {BTF_FIELD_SPIN_LOCK, LOCK_AT}},
	[PLAIN] = {BPF_MAP_TYPE_HASH, 8, 16, 4},
	[TIMED] = {BPF_MAP_TYPE_HASH, 8, 16, 4, .fields = {BTF_FIELD_TIMER}},
};

static int make_maps(void **state)
{
	const uint32_t word = btf_int(&build, "int", 4), number = btf_int(&build, "long", 8);
	uint32_t lock, timer;
	union bpf_attr attr;
	int btf;

	(void)state;
	lock = btf_struct(&build, "bpf_spin_lock", 1, 4);
	btf_member(&build, word, 0);
	timer = btf_struct(&build, "bpf_timer", 2, 16);
	btf_member(&build, number, 0);
	btf_member(&build, number, 8);
	types[HASH] = types[CELL] = btf_struct(&build, "locked", 3, 16);
	btf_member(&build, word, 0);
	btf_member(&build, lock, LOCK_AT);
	btf_member(&build, number, 8);
	types[PLAIN] = btf_struct(&build, "plain", 2, 16);
	btf_member(&build, number, 0);
	btf_member(&build, number, 8);
	types[TIMED] = btf_struct(&build, "timed", 1, 16);
	btf_member(&build, timer, 0);
	attr = (union bpf_attr){.btf = (uintptr_t)&build.out, .btf_size = btf_finish(&build)};
	btf = sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	assert_true(btf >= 0);
	for (uint32_t i = 0; i < MAPS; i++) {
		struct btf_fields fields = {0};

		attr = (union bpf_attr){.map_type = shapes[i].type,
					.key_size = shapes[i].key_size,
					.value_size = shapes[i].value_size,
					.max_entries = shapes[i].max_entries,
					.btf_fd = (uint32_t)btf,
					.btf_key_type_id = i == CELL ? word : number,
					.btf_value_type_id = types[i]};
		fds[i] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		assert_true(fds[i] >= 0);
		assert_int_equal(btf_fields(&build.out, btf_finish(&build), types[i], &fields), 0);
		assert_int_equal(fields.kinds, shapes[i].fields.kinds);
		assert_int_equal(fields.lock_off, shapes[i].fields.lock_off);
	}
	close_fd(btf);
	return 0;
}

static int drop_maps(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MAPS; i++)
		close_fd(fds[i]);
	return 0;
}

static uint32_t type_of(const struct lock_case *test)
{
	return test->type ? test->type : BPF_PROG_TYPE_SCHED_CLS;
}

static uint32_t length_of(const struct lock_case *test)
{
	uint32_t cnt = INSNS;

	while (cnt && !test->insns[cnt - 1].code)
		cnt--;
	return cnt;
}

static int ask_kernel(const struct lock_case *test)
{
	struct bpf_insn insns[INSNS];
	union bpf_attr attr = {.prog_type = type_of(test),
			       .insns = (uintptr_t)insns,
			       .insn_cnt = length_of(test),
			       .license = (uintptr_t) "GPL",
			       .log_level = 1,
			       .log_buf = (uintptr_t)kernel_log,
			       .log_size = LOG_SIZE};
	int fd;

	memcpy(insns, test->insns, sizeof(insns));
	for (uint32_t i = 0; i < attr.insn_cnt; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) && insns[i].src_reg)
			insns[i].imm = fds[insns[i].imm];
	fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return fd;
	close_fd(fd);
	return 0;
}

/* The maps that it names, and no others: what is in those does not matter. */
static int ask_verifier(const struct lock_case *test, struct verifier_facts *facts)
{
	struct verifier_map maps[MAPS];
	struct bpf_insn insns[INSNS];
	struct verifier_prog prog = {.insns = insns,
				     .cnt = length_of(test),
				     .type = type_of(test),
				     .gpl = true,
				     .maps = maps};
	struct verifier_log log = {.level = 1, .buf = own_log, .size = LOG_SIZE};
	int places[MAPS] = {-1, -1, -1, -1};

	memcpy(insns, test->insns, sizeof(insns));
	for (uint32_t i = 0; i < prog.cnt; i++) {
		if (insns[i].code != (BPF_LD | BPF_IMM | BPF_DW) || !insns[i].src_reg)
			continue;
		if (places[insns[i].imm] < 0) {
			maps[prog.map_cnt] = shapes[insns[i].imm];
			places[insns[i].imm] = (int)prog.map_cnt++;
		}
		insns[i].imm = places[insns[i].imm];
	}
	return verifier_check(&prog, &log, facts);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct lock_case *test = &cases[i];
		struct verifier_facts facts = {0};
		int own = ask_verifier(test, &facts), kernel = ask_kernel(test);

		if (own != test->error || kernel != own)
			fail_msg("%s: here %d, the kernel %d\n%s%s", test->name, own, kernel,
				 own_log, kernel_log);
		if (test->log && (!strstr(own_log, test->log) || !strstr(kernel_log, test->log)))
			fail_msg("%s: \"%s\" is not in\n%sor\n%s", test->name, test->log, own_log,
				 kernel_log);
		/* Who locks is not for traced processes. */
		if (facts.helpers[BPF_FUNC_spin_lock / 64] >> BPF_FUNC_spin_lock % 64 & 1)
			assert_int_equal(facts.kernel_only, BPF_FUNC_spin_lock);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
	};

	return cmocka_run_group_tests(tests, make_maps, drop_maps);
}
