/* SPDX-License-Identifier: MIT */
/*
 * Guarded programs on the live kernel: silent outside of the cgroup, pids and ids as the
 * namespaces show them, denied helpers refused when reachable, BTF records still accepted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/btf.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "kernel-bridge/guard.h"
#include "kernel-bridge/insn_build.h"
#include "kernel-bridge/statslog.h"
#include "tests/unit/live.h"

#define R0  BPF_REG_0
#define R1  BPF_REG_1
#define R2  BPF_REG_2
#define R6  BPF_REG_6
#define R10 BPF_REG_10

static char log_text[LIVE_LOG_SIZE];

/* The cgroup v2 mount and this process's place in it. */
static char cgroup_dir[1024];
static struct scope own_scope;

static int setup(void **state)
{
	char line[1024], mount[512] = "", path[512] = "";
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct stat st;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, " - cgroup2 "))
			sscanf(line, "%*s %*s %*s %*s %511s", mount);
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "0::%511s", path) == 1)
			break;
	if (f)
		fclose(f);
	snprintf(cgroup_dir, sizeof(cgroup_dir), "%s%s", mount, path);
	if (!mount[0] || !path[0] || stat(cgroup_dir, &st) < 0)
		return -1;
	own_scope.cgroup_id = st.st_ino;
	for (const char *p = path; p[0] && p[1]; p++)
		own_scope.cgroup_level += *p == '/';
	return 0;
}

/* Trial load for the stack depths, guard, load: what the daemon does. Return: fd or -errno. */
static int guarded_load(struct guard_request *request, int btf_fd, struct reason *reason)
{
	struct guard_result result = {0};
	uint32_t depths[16];
	int r;

	if (request->clear_stack || guard_needs_depths(&request->prog, request->scope)) {
		int fd = live_load(&request->prog, btf_fd, STATSLOG_STATS, log_text);

		if (fd < 0)
			return fd;
		close_fd(fd);
		assert_int_equal(statslog_depths(log_text, sizeof(log_text), depths,
						 ARRAY_SIZE(depths), &request->stack_depth_cnt),
				 0);
		request->stack_depths = depths;
	}
	r = guard_build(request, &result, reason);
	request->stack_depths = NULL;
	if (r < 0)
		return r;
	r = live_load(&result.prog, btf_fd, 1, log_text);
	if (r < 0)
		guard_explain(&result, r, reason);
	guard_result_deinit(&result);
	return r;
}

/*
 * Stores r6 into the map and returns 7. The zero that the program keeps at r10-8 is added, so that
 * a slot placed over it would be noticed. 12 instructions.
 */
#define STORE_TAIL(map_fd)                                                                         \
	INSN_ST(BPF_W, R10, -12, 0), INSN_LD_IMM64_SRC(R1, BPF_PSEUDO_MAP_FD, map_fd),             \
		INSN_MOV64_REG(R2, R10), INSN_ALU64_IMM(BPF_ADD, R2, -12),                         \
		INSN_CALL(BPF_FUNC_map_lookup_elem), INSN_JMP_IMM(BPF_JEQ, R0, 0, 3),              \
		INSN_LDX(BPF_DW, R1, R10, -8), INSN_ALU64_REG(BPF_ADD, R6, R1),                    \
		INSN_STX(BPF_DW, R0, R6, 0), INSN_MOV64_IMM(R0, 7), INSN_EXIT()

/* Reads r0 of @helper, called in the main program or in a subprogram that uses some stack. */
#define HELPER_PROG(helper, map_fd)                                                                \
	{                                                                                          \
		INSN_ST(BPF_DW, R10, -8, 0), INSN_CALL(helper), INSN_MOV64_REG(R6, R0),            \
			STORE_TAIL(map_fd)                                                         \
	}
#define SUBPROG_PROG(helper, map_fd)                                                               \
	{                                                                                          \
		INSN_ST(BPF_DW, R10, -8, 0), INSN_CALL_REL(13), INSN_MOV64_REG(R6, R0),            \
			STORE_TAIL(map_fd), INSN_ST(BPF_DW, R10, -24, 0), INSN_CALL(helper),       \
			INSN_LDX(BPF_DW, R1, R10, -24), INSN_ALU64_REG(BPF_OR, R0, R1),            \
			INSN_EXIT()                                                                \
	}

static struct insns_prog prog_of(const struct bpf_insn *insns, size_t cnt)
{
	return (struct insns_prog){.insns = (struct bpf_insn *)insns, .cnt = (uint32_t)cnt};
}

static int load_simple(const struct bpf_insn *insns, size_t cnt, const struct scope *scope)
{
	struct guard_request request = {
		.prog = prog_of(insns, cnt), .scope = scope, .with_prologue = true};
	struct reason reason = {0};
	int fd = guarded_load(&request, -1, &reason);

	if (fd < 0)
		fail_msg("load: %d %s\n%.3000s", fd, reason.text, log_text);
	return fd;
}

static void test_cgroup(void **state)
{
	cleanup_fd int map = live_cell();
	const struct bpf_insn insns[] = HELPER_PROG(BPF_FUNC_ktime_get_ns, map);
	struct scope other = own_scope, deeper = own_scope;
	cleanup_fd int in = -1, out = -1, below = -1;
	uint32_t value = 99;

	in = load_simple(insns, ARRAY_SIZE(insns), &own_scope);
	assert_int_equal(live_run(in, 0, &value), 0);
	assert_int_equal(value, 7);
	assert_true(live_cell_take(map) != 0);

	other.cgroup_id ^= 0x100000001;
	out = load_simple(insns, ARRAY_SIZE(insns), &other);
	assert_int_equal(live_run(out, 0, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(live_cell_take(map), 0);

	/* No ancestor at that level: the helper says 0, which is nobody's cgroup. */
	deeper.cgroup_level = 200;
	below = load_simple(insns, ARRAY_SIZE(insns), &deeper);
	value = 99;
	assert_int_equal(live_run(below, 0, &value), 0);
	assert_int_equal(value, 0);
}

/* A child in a cgroup below ours is inside of its scope and of ours; we are outside of its. */
static void test_cgroup_subtree(void **state)
{
	cleanup_fd int map = live_cell();
	const struct bpf_insn insns[] = HELPER_PROG(BPF_FUNC_ktime_get_ns, map);
	struct scope scope = own_scope;
	cleanup_fd int child_fd = -1, own_fd = -1;
	uint32_t value = 99;
	char dir[1100], procs[1200];
	struct stat st;
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/bpfshim-test-%d", cgroup_dir, getpid());
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(stat(dir, &st), 0);
	scope.cgroup_id = st.st_ino;
	scope.cgroup_level++;
	child_fd = load_simple(insns, ARRAY_SIZE(insns), &scope);
	own_fd = load_simple(insns, ARRAY_SIZE(insns), &own_scope);
	pid = fork();
	if (pid == 0) {
		uint32_t a = 0, b = 0;
		int r = write_file(AT_FDCWD, procs, "0");

		if (r == 0 && live_run(child_fd, 0, &a) == 0 && live_run(own_fd, 0, &b) == 0)
			_exit(a == 7 && b == 7 ? 0 : 1);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	rmdir(dir);
	assert_int_equal(status, 0);
	assert_int_equal(live_run(child_fd, 0, &value), 0);
	assert_int_equal(value, 0);
}

/* Of the main program and of a subprogram; without it there are addresses of the kernel. */
static void test_stack_is_clear(void **state)
{
	const struct bpf_insn insns[] = {
		INSN_CALL_REL(3),
		INSN_LDX(BPF_DW, R1, R10, -16),
		INSN_ALU64_REG(BPF_OR, R0, R1),
		INSN_EXIT(),
		INSN_LDX(BPF_DW, R0, R10, -8),
		INSN_LDX(BPF_DW, R1, R10, -24),
		INSN_ALU64_REG(BPF_OR, R0, R1),
		INSN_EXIT(),
	};
	struct guard_request request = {.prog = prog_of(insns, ARRAY_SIZE(insns)),
					.scope = &own_scope,
					.with_prologue = true};
	struct reason reason = {0};
	uint32_t value = 0;

	for (int clear = 0; clear < 2; clear++) {
		cleanup_fd int fd = -1;

		request.clear_stack = clear;
		fd = guarded_load(&request, -1, &reason);
		if (fd < 0)
			fail_msg("load: %d %s\n%.3000s", fd, reason.text, log_text);
		assert_int_equal(live_run(fd, 0, &value), 0);
		assert_int_equal(value != 0, !clear);
	}
}

/* A context read after the prologue, and a loop back to the first instruction. */
static void test_context_and_loop(void **state)
{
	const struct bpf_insn insns[] = {
		INSN_LDX(BPF_DW, R2, R1, 0), INSN_JMP_IMM(BPF_JGT, R2, 5, 2),
		INSN_MOV64_REG(R0, R2),	     INSN_EXIT(),
		INSN_MOV64_IMM(R0, 1000),    INSN_EXIT(),
	};
	const struct bpf_insn loop[] = {
		INSN_RAW(0xe5, 0, 0, 1, 0), /* may_goto the end */
		INSN_JA(-2),
		INSN_LDX(BPF_DW, R0, R1, 0),
		INSN_EXIT(),
	};
	cleanup_fd int fd = load_simple(insns, ARRAY_SIZE(insns), &own_scope);
	cleanup_fd int loop_fd = load_simple(loop, ARRAY_SIZE(loop), &own_scope);
	uint32_t value = 0;

	assert_int_equal(live_run(fd, 4, &value), 0);
	assert_int_equal(value, 4);
	assert_int_equal(live_run(fd, 6, &value), 0);
	assert_int_equal(value, 1000);
	assert_int_equal(live_run(loop_fd, 42, &value), 0);
	assert_int_equal(value, 42);
}

struct pid_run {
	int fd, map;
	uint64_t got, want;
};

static void *run_in_thread(void *p)
{
	struct pid_run *run = p;
	uint32_t value = 0;

	if (live_run(run->fd, 0, &value) == 0 && value == 7)
		run->got = live_cell_take(run->map);
	run->want = (uint64_t)getpid() << 32 | (uint32_t)syscall(SYS_gettid);
	return NULL;
}

/* In the first process of a new pid namespace, main thread and another one. Exits. */
static void check_pids(const struct bpf_insn *insns, size_t cnt, int map)
{
	struct scope scope = own_scope;
	struct pid_run a = {.map = map}, b;
	pthread_t thread;
	struct stat st;

	if (getpid() != 1 || stat("/proc/self/ns/pid", &st) < 0)
		_exit(10);
	scope.translate_pids = true;
	scope.pidns_dev = st.st_dev;
	scope.pidns_ino = st.st_ino;
	a.fd = load_simple(insns, cnt, &scope);
	b = a;
	run_in_thread(&a);
	if (a.got != a.want || a.want != (1ULL << 32 | 1))
		_exit(11);
	if (pthread_create(&thread, NULL, run_in_thread, &b) || pthread_join(thread, NULL))
		_exit(12);
	if (b.got != b.want || b.want == a.want)
		_exit(13);
	/* A namespace of another name: the helper fails and the program reads 0. */
	scope.pidns_ino++;
	a.fd = load_simple(insns, cnt, &scope);
	run_in_thread(&a);
	_exit(a.got == 0 ? 0 : 14);
}

static void in_new_pidns(const struct bpf_insn *insns, size_t cnt, int map)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(20);
		pid = fork();
		if (pid == 0)
			check_pids(insns, cnt, map);
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 21);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_pids(void **state)
{
	cleanup_fd int map = live_cell();
	const struct bpf_insn insns[] = HELPER_PROG(BPF_FUNC_get_current_pid_tgid, map);
	const struct bpf_insn sub[] = SUBPROG_PROG(BPF_FUNC_get_current_pid_tgid, map);

	in_new_pidns(insns, ARRAY_SIZE(insns), map);
	in_new_pidns(sub, ARRAY_SIZE(sub), map);
}

static void test_uids(void **state)
{
	static const struct {
		uint32_t uid, gid, want_uid, want_gid;
	} cases[] = {
		{1000, 5000000, 0, 100},      {1009, 5000004, 9, 104},
		{999, 4999999, 65534, 65534}, {1010, 5000005, 65534, 65534},
		{0, 5000001, 65534, 101},     {4294967294, 0, 65534, 65534},
	};
	cleanup_fd int map = live_cell();
	const struct bpf_insn insns[] = HELPER_PROG(BPF_FUNC_get_current_uid_gid, map);
	struct scope scope = own_scope;
	cleanup_fd int fd = -1;

	scope.translate_uids = true;
	scope.host_uid_base = 1000;
	scope.uid_count = 10;
	scope.host_gid_base = 5000000;
	scope.gid_base = 100;
	scope.gid_count = 5;
	fd = load_simple(insns, ARRAY_SIZE(insns), &scope);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			uint32_t value = 0;

			if (setresgid(cases[i].gid, cases[i].gid, cases[i].gid) < 0 ||
			    setresuid(cases[i].uid, cases[i].uid, cases[i].uid) < 0)
				_exit(1);
			_exit(live_run(fd, 0, &value) < 0 || value != 7 ? 2 : 0);
		}
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		assert_int_equal(live_cell_take(map),
				 (uint64_t)cases[i].want_gid << 32 | cases[i].want_uid);
	}
}

/* The whole range of ids maps onto itself; its length does not fit a positive s32. */
static void test_uids_identity(void **state)
{
	cleanup_fd int map = live_cell();
	const struct bpf_insn insns[] = HELPER_PROG(BPF_FUNC_get_current_uid_gid, map);
	struct scope scope = own_scope;
	cleanup_fd int fd = -1;
	uint32_t value = 0;

	scope.translate_uids = true;
	scope.uid_count = scope.gid_count = UINT32_MAX;
	fd = load_simple(insns, ARRAY_SIZE(insns), &scope);
	assert_int_equal(live_run(fd, 0, &value), 0);
	assert_int_equal(live_cell_take(map), (uint64_t)getgid() << 32 | getuid());
}

static bool deny_prandom(uint32_t helper, void *data)
{
	assert_ptr_equal(data, log_text);
	return helper == BPF_FUNC_get_prandom_u32;
}

static void test_denied(void **state)
{
	const struct bpf_insn alive[] = {
		INSN_CALL(BPF_FUNC_get_prandom_u32),
		INSN_CALL(BPF_FUNC_get_prandom_u32),
		INSN_EXIT(),
	};
	const struct bpf_insn dead[] = {
		INSN_MOV64_IMM(R0, 3),
		INSN_JMP_IMM(BPF_JEQ, R0, 3, 1),
		INSN_CALL(BPF_FUNC_get_prandom_u32),
		INSN_EXIT(),
	};
	struct guard_request request = {
		.prog = prog_of(alive, ARRAY_SIZE(alive)),
		.scope = &own_scope,
		.denied = deny_prandom,
		.denied_data = log_text,
	};
	struct reason reason = {0};
	uint32_t value = 0;
	int fd;

	assert_int_equal(guarded_load(&request, -1, &reason), -EINVAL);
	assert_string_equal(reason.text, "the policy denies helpers this program calls: "
					 "get_prandom_u32#7");
	assert_non_null(strstr(log_text, "195896080"));
	request.prog = prog_of(dead, ARRAY_SIZE(dead));
	fd = guarded_load(&request, -1, &reason);
	assert_true(fd >= 0);
	assert_int_equal(live_run(fd, 0, &value), 0);
	assert_int_equal(value, 3);
	close_fd(fd);
}

/* What runs later runs without the guard, whatever the policy says. */
static void test_timers(void **state)
{
	static const uint32_t timers[] = {BPF_FUNC_timer_init, BPF_FUNC_timer_set_callback,
					  BPF_FUNC_timer_start};

	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		const struct bpf_insn insns[] = {INSN_CALL(timers[i]), INSN_EXIT()};
		struct guard_request request = {.prog = prog_of(insns, ARRAY_SIZE(insns)),
						.scope = &own_scope};
		struct reason reason = {0};
		char want[96];

		snprintf(want, sizeof(want), "callbacks of timers run in tasks of others: %s#%u",
			 guard_helper_name(timers[i]), timers[i]);
		assert_int_equal(guarded_load(&request, -1, &reason), -EINVAL);
		assert_string_equal(reason.text, want);
		assert_non_null(strstr(log_text, "195896080"));
	}
}

/* BTF: int; static u64 f(int); global int main(int); struct "s". Return: fd or -errno. */
static int load_btf(void)
{
	static const char strings[] = "\0int\0f\0main\0a\0s\0line\0"
				      "0";
	static const uint32_t types[] = {
		1,  BTF_KIND_INT << 24,
		4,  BTF_INT_SIGNED << 24 | 32, /* 1 */
		0,  BTF_KIND_FUNC_PROTO << 24 | 1,
		1,  12,
		1, /* 2 */
		5,  BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC,
		2, /* 3: f */
		7,  BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL,
		2, /* 4: main */
		14, BTF_KIND_STRUCT << 24 | 1,
		4,  12,
		1,  0, /* 5: struct s { int a; } */
	};
	struct {
		struct btf_header header;
		uint32_t types[ARRAY_SIZE(types)];
		char strings[sizeof(strings)];
	} btf = {
		.header =
			{
				.magic = BTF_MAGIC,
				.version = BTF_VERSION,
				.hdr_len = sizeof(struct btf_header),
				.type_len = sizeof(types),
				.str_off = sizeof(types),
				.str_len = sizeof(strings),
			},
	};
	union bpf_attr attr = {
		.btf = (uintptr_t)&btf,
		.btf_size = sizeof(btf.header) + sizeof(types) + sizeof(strings),
		.btf_log_buf = (uintptr_t)log_text,
		.btf_log_size = sizeof(log_text),
		.btf_log_level = 1,
	};

	memcpy(btf.types, types, sizeof(types));
	memcpy(btf.strings, strings, sizeof(strings));
	return sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
}

/*
 * Every kind of record and reference at once: bpf_loop() calls f twice by address, f asks for
 * the pid, and a CO-RE relocation sets r7 to the local type id of struct s.
 */
static void test_btf(void **state)
{
	const struct bpf_insn insns[] = {
		INSN_MOV64_IMM(BPF_REG_7, 0), /* relocated to 5 */
		INSN_CALL(BPF_FUNC_get_current_pid_tgid),
		INSN_MOV64_IMM(R1, 2),
		INSN_LD_IMM64_SRC(R2, BPF_PSEUDO_FUNC, 8),
		INSN_MOV64_IMM(BPF_REG_3, 0),
		INSN_MOV64_IMM(BPF_REG_4, 0),
		INSN_CALL(BPF_FUNC_loop),
		INSN_MOV64_IMM(BPF_REG_1, 3),
		INSN_ALU64_IMM(BPF_MUL, R0, 100),
		INSN_ALU64_REG(BPF_ADD, R0, BPF_REG_7),
		INSN_EXIT(),
		INSN_ST(BPF_DW, R10, -8, 1), /* 12: f */
		INSN_CALL(BPF_FUNC_get_current_pid_tgid),
		INSN_MOV64_IMM(R0, 0),
		INSN_EXIT(),
	};
	struct bpf_func_info func[] = {{0, 4}, {12, 3}};
	struct bpf_line_info line[] = {
		{0, 16, 16, 1 << 10},
		{1, 16, 16, 2 << 10},
		{12, 16, 16, 3 << 10},
		{13, 16, 16, 4 << 10},
	};
	struct bpf_core_relo relo[] = {{0, 5, 21, BPF_CORE_TYPE_ID_LOCAL}};
	struct scope scope = own_scope;
	struct guard_request request = {
		.prog = prog_of(insns, ARRAY_SIZE(insns)), .scope = &scope, .with_prologue = true};
	cleanup_fd int btf = load_btf(), fd = -1, plain = -1;
	struct reason reason = {0};
	uint32_t value = 0, want = 0;

	if (btf < 0)
		fail_msg("BTF: %d %.2000s", btf, log_text);
	request.prog.func_info = (struct insns_records){func, 2, sizeof(func[0])};
	request.prog.line_info = (struct insns_records){line, 4, sizeof(line[0])};
	request.prog.core_relos = (struct insns_records){relo, 1, sizeof(relo[0])};
	scope.translate_pids = true;
	scope.translate_uids = true;
	plain = live_load(&request.prog, btf, 1, log_text);
	if (plain < 0)
		fail_msg("original: %d %.3000s", plain, log_text);
	assert_int_equal(live_run(plain, 0, &want), 0);
	assert_int_equal(want, 205);
	fd = guarded_load(&request, btf, &reason);
	if (fd < 0)
		fail_msg("guarded: %d %s %.3000s", fd, reason.text, log_text);
	assert_int_equal(live_run(fd, 0, &value), 0);
	assert_int_equal(value, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cgroup),	       cmocka_unit_test(test_cgroup_subtree),
		cmocka_unit_test(test_stack_is_clear), cmocka_unit_test(test_context_and_loop),
		cmocka_unit_test(test_pids),	       cmocka_unit_test(test_uids),
		cmocka_unit_test(test_uids_identity),  cmocka_unit_test(test_denied),
		cmocka_unit_test(test_timers),	       cmocka_unit_test(test_btf),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
