/* SPDX-License-Identifier: MIT */
/*
 * The order of loads. The tenant's own program is loaded first, so that every verdict and log the
 * tool sees is about what it wrote; then the guarded one, which is what everybody gets. Trial
 * programs are never attached and closed at once.
 */
#include "kernel-bridge/kprog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/guard.h"
#include "kernel-bridge/statslog.h"
#include "kernel-bridge/taskfree.h"
#include "kernel-bridge/unprivileged.h"

#define STATS_LOG_SIZE 16384u
#define DIAGNOSIS_SIZE 65536u

/*
 * Programs that run for events of any task, and have the guard: in all of them current is the task
 * that ran when the event came, also in an interrupt. Each has a prologue of its own, so it does
 * not matter whether it is entered by its event, by a tail call or by PROG_TEST_RUN.
 *
 * Missing on purpose: types that act on packets, sockets or cgroups of any process (a namespace of
 * the tenant's own lets it attach some of them without bpf()), struct_ops, which replaces parts of
 * the kernel, ext, which is another program's body, and syscall, which calls bpf() as the kernel.
 */
static bool runs_on_events(uint32_t prog_type)
{
	switch (prog_type) {
	case BPF_PROG_TYPE_KPROBE:
	case BPF_PROG_TYPE_TRACEPOINT:
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
	case BPF_PROG_TYPE_TRACING:
	case BPF_PROG_TYPE_LSM:
		return true;
	default:
		return false;
	}
}

bool kprog_serves(uint32_t prog_type)
{
	return runs_on_events(prog_type) || prog_type == BPF_PROG_TYPE_SOCKET_FILTER;
}

struct log_target {
	uint32_t level, size, true_size;
	char *buf;
};

static int load(const struct kprog_request *request, const struct insns_prog *prog,
		struct log_target *log)
{
	struct abi_prog_load attr = request->attr;
	int fd;

	attr.insn_cnt = prog->cnt;
	attr.insns = (uintptr_t)prog->insns;
	attr.license = (uintptr_t)request->license;
	attr.fd_array = (uintptr_t)request->fd_array;
	attr.func_info = (uintptr_t)prog->func_info.data;
	attr.func_info_cnt = prog->func_info.cnt;
	attr.line_info = (uintptr_t)prog->line_info.data;
	attr.line_info_cnt = prog->line_info.cnt;
	attr.core_relos = (uintptr_t)prog->core_relos.data;
	attr.core_relo_cnt = prog->core_relos.cnt;
	attr.log_level = log ? log->level : 0;
	attr.log_buf = log ? (uintptr_t)log->buf : 0;
	attr.log_size = log ? log->size : 0;
	fd = request->unprivileged ? unprivileged_prog_load(&attr, request->attr_size)
				   : sys_bpf(BPF_PROG_LOAD, &attr, request->attr_size);
	if (log)
		log->true_size = attr.log_true_size;
	return fd;
}

/* Stack depth of every subprogram, by a trial load. */
static int trial_depths(const struct kprog_request *request, uint32_t *depths, uint32_t cap,
			uint32_t *ret_cnt)
{
	cleanup_free char *buf = malloc(STATS_LOG_SIZE);
	struct log_target log = {.level = STATSLOG_STATS, .size = STATS_LOG_SIZE, .buf = buf};
	cleanup_fd int fd = -1;

	if (!buf)
		return -ENOMEM;
	buf[0] = '\0';
	fd = load(request, &request->prog, &log);
	if (fd < 0)
		return fd;
	return statslog_depths(buf, STATS_LOG_SIZE, depths, cap, ret_cnt);
}

/* Last lines the verifier wrote about the guarded program: why our own change did not fit. */
static void diagnose(const struct kprog_request *request, const struct insns_prog *prog, int error,
		     struct reason *reason)
{
	cleanup_free char *buf = calloc(1, DIAGNOSIS_SIZE);
	struct log_target log = {.level = 1, .size = DIAGNOSIS_SIZE, .buf = buf};
	char *end, *line;
	int fd;

	if (!buf)
		return;
	fd = load(request, prog, &log);
	close_fd(fd);
	end = strstr(buf, "\nprocessed ");
	if (end)
		*end = '\0';
	line = strrchr(buf, '\n');
	reason_set(reason, error, "the guarded program does not verify: %.200s",
		   line ? line + 1 : buf);
}

/* Load what @guard describes; the tenant's own program is known to be accepted. */
static int load_guarded(const struct kprog_request *request, const struct guard_request *guard,
			struct reason *reason)
{
	struct guard_result guarded;
	int fd;

	fd = guard_build(guard, &guarded, reason);
	if (fd < 0)
		return fd;
	fd = load(request, &guarded.prog, NULL);
	if (fd < 0 && guarded.poisoned_cnt)
		fd = guard_explain(&guarded, -EPERM, reason);
	else if (fd < 0)
		diagnose(request, &guarded.prog, fd = -EPERM, reason);
	guard_result_deinit(&guarded);
	return fd;
}

int kprog_try(const struct kprog_request *request, uint32_t *ret_log_true_size)
{
	struct log_target log = {
		.level = request->log_level, .size = request->log_size, .buf = request->log_buf};
	int fd = load(request, &request->prog, &log);

	*ret_log_true_size = log.true_size;
	close_fd(fd);
	return fd < 0 ? fd : 0;
}

int kprog_load(const struct kprog_request *request, struct kprog_result *ret_result,
	       struct reason *reason)
{
	uint32_t depths[GUARD_STACK_MAX], n_depths = 0;
	struct log_target log = {
		.level = request->log_level, .size = request->log_size, .buf = request->log_buf};
	bool needs_depths =
		request->clear_stack || guard_needs_depths(&request->prog, request->scope);
	struct guard_request guard = {
		.prog = request->prog,
		.scope = request->scope,
		.stack_depths = depths,
		.denied = request->denied,
		.denied_data = request->denied_data,
		.clear_stack = request->clear_stack,
		.with_prologue = runs_on_events(request->attr.prog_type),
	};
	int r;

	*ret_result = (struct kprog_result){.fd = -1, .timer_fd = -1};
	/*
	 * The guard sets registers that the tenant's program may have forgotten to set, so what the
	 * guarded program passes is not proof that the tenant's would.
	 */
	if (log.level || !needs_depths) {
		r = load(request, &request->prog, &log);
		ret_result->log_true_size = log.true_size;
		if (r < 0)
			return r;
		close_fd(r);
	}
	if (needs_depths) {
		r = trial_depths(request, depths, ARRAY_SIZE(depths), &n_depths);
		if (r < 0)
			return r;
	}
	guard.stack_depth_cnt = n_depths;
	r = load_guarded(request, &guard, reason);
	if (r < 0)
		return r;
	ret_result->fd = r;
	if (request->attr.prog_type == BPF_PROG_TYPE_PERF_EVENT &&
	    taskfree_check(request->prog.insns, request->prog.cnt)) {
		guard.with_prologue = false;
		ret_result->timer_fd = load_guarded(request, &guard, NULL);
	}
	return 0;
}

int kprog_stub(const struct abi_prog_load *attr, const int *map_fds, uint32_t map_cnt)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct abi_prog_load load = {.prog_type = attr->prog_type,
				     .insn_cnt = ARRAY_SIZE(nothing),
				     .insns = (uintptr_t)nothing,
				     .license = (uintptr_t) "GPL",
				     .expected_attach_type = attr->expected_attach_type};
	int fd;

	memcpy(load.prog_name, attr->prog_name, sizeof(load.prog_name));
	fd = sys_bpf(BPF_PROG_LOAD, &load, offsetof(struct abi_prog_load, prog_btf_fd));
	for (uint32_t i = 0; i < map_cnt && fd >= 0; i++) {
		struct {
			uint32_t prog_fd, map_fd, flags;
		} bind = {.prog_fd = (uint32_t)fd, .map_fd = (uint32_t)map_fds[i]};
		int r = sys_bpf(ABI_BPF_PROG_BIND_MAP, &bind, sizeof(bind));

		if (r < 0) {
			close_fd(fd);
			fd = r;
		}
	}
	return fd;
}
