/* SPDX-License-Identifier: MIT */
/*
 * Which programs may call which helper: each row of the table against the kernel, for every type of
 * program that is covered. A newer kernel may let more types in; a program that it accepts must not
 * be refused here for that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/bpf.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "verifier/helpers.h"
#include "verifier/verifier.h"

static const uint32_t types[] = {
	BPF_PROG_TYPE_KPROBE,	      BPF_PROG_TYPE_TRACEPOINT,	   BPF_PROG_TYPE_PERF_EVENT,
	BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS,
	BPF_PROG_TYPE_SCHED_ACT,      BPF_PROG_TYPE_XDP,	   BPF_PROG_TYPE_CGROUP_SKB,
	BPF_PROG_TYPE_SYSCALL,
};

static char text[1 << 14];

static bool is_kept_out(const char *log)
{
	return strstr(log, "cannot use helper") || strstr(log, "unknown func") ||
	       strstr(log, "invalid func ");
}

static bool kernel_keeps_out(uint32_t type, const struct bpf_insn *insns, uint32_t cnt)
{
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL",
			       .prog_flags = type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
			       .log_level = 1,
			       .log_buf = (uintptr_t)text,
			       .log_size = sizeof(text)};
	int fd;

	text[0] = '\0';
	fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close(fd);
	return is_kept_out(text);
}

static bool we_keep_out(uint32_t type, const struct bpf_insn *insns, uint32_t cnt)
{
	const struct verifier_prog prog = {.insns = insns,
					   .cnt = cnt,
					   .type = type,
					   .gpl = true,
					   .sleepable = type == BPF_PROG_TYPE_SYSCALL};
	struct verifier_log log = {.level = 1, .buf = text, .size = sizeof(text)};
	struct verifier_facts facts;

	text[0] = '\0';
	verifier_check(&prog, &log, &facts);
	return is_kept_out(text);
}

/* A kernel that is locked down has them for nobody. */
static bool is_locked(uint32_t id)
{
	return id == BPF_FUNC_probe_write_user || id == BPF_FUNC_override_return;
}

static void test_types(void **state)
{
	uint32_t stricter = 0, laxer = 0, rows = 0;

	for (uint32_t id = 1; id < HELPER_KNOWN_MAX; id++) {
		const struct bpf_insn insns[] = {INSN_CALL((int32_t)id), INSN_MOV64_IMM(0, 0),
						 INSN_EXIT()};

		if (!helper_row(id) || is_locked(id))
			continue;
		rows++;
		for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
			bool there = kernel_keeps_out(types[i], insns, ARRAY_SIZE(insns));
			bool here = we_keep_out(types[i], insns, ARRAY_SIZE(insns));

			if (here && !there)
				print_error("%s#%u is kept from programs of type %u here alone\n",
					    helper_row(id)->name, id, types[i]);
			if (!here && there)
				print_error("%s#%u is let to programs of type %u here alone\n",
					    helper_row(id)->name, id, types[i]);
			stricter += here && !there;
			laxer += !here && there;
		}
	}
	print_message("%u helpers\n", rows);
	assert_true(rows > 60);
	assert_int_equal(stricter, 0);
	assert_int_equal(laxer, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_types)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
