/* SPDX-License-Identifier: MIT */
/*
 * Guarded programs: what a tenant's program becomes before the kernel loads it, so that it runs
 * only while a task of the tenant's is current and sees pids and ids as the tenant's namespaces
 * show them.
 *
 * Whose task is current is all that is judged. An interrupt that arrives in the tenant's time runs
 * the program, whoever it is for (a packet of the host, a wake-up of somebody's task), and what the
 * event is about may be another's.
 *
 * Pure: the caller loads the result. The kernel's verifier checks the guarded program in full, so
 * a mistake in here or a forged stack depth can spoil the tenant's values but not the kernel.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "kernel-bridge/insns.h"
#include "kernel-bridge/scope.h"

/* libbpf's id for a call that must not be reached: the verifier refuses it unless it is dead.
 * Source: tools/lib/bpf/libbpf.c poison_helper, libbpf 1.2. */
#define GUARD_POISON 195896080

/* Different denied helpers remembered per program. */
#define GUARD_POISONED_MAX 16u

/* Stack of one subprogram (bytes). Source: include/linux/filter.h MAX_BPF_STACK, Linux 6.18. */
#define GUARD_STACK_MAX 512u

/**
 * struct guard_request - what to build
 * @prog: the tenant's program, borrowed
 * @scope: the tenant
 * @stack_depths: used stack per subprogram (bytes), in program order, as statslog_depths()
 *	reads it from a trial load of @prog; may be NULL when guard_needs_depths() is false and
 *@clear_stack, too
 * @stack_depth_cnt: elements of it. If they are not as many as @prog has subprograms (the kernel
 *	leaves dead ones out), the deepest one stands for all
 * @denied: whether the policy refuses this helper id; NULL refuses none but those that no guard
 *	can follow (timers)
 * @denied_data: handed to @denied
 * @clear_stack: each subprogram begins by writing zeros to the stack it uses; needs depths
 * @with_prologue: return 0 at once outside of the tenant's cgroup; set for tracing programs
 */
struct guard_request {
	struct insns_prog prog;
	const struct scope *scope;
	const uint32_t *stack_depths;
	uint32_t stack_depth_cnt;
	bool (*denied)(uint32_t helper, void *data);
	void *denied_data;
	bool clear_stack, with_prologue;
};

/**
 * struct guard_result - the guarded program
 * @prog: owned
 * @poisoned: ids of denied helpers that the program calls, in order of first use
 * @poisoned_cnt: how many; the 17th and later are poisoned too but not listed
 */
struct guard_result {
	struct insns_prog prog;
	uint32_t poisoned[GUARD_POISONED_MAX];
	uint32_t poisoned_cnt;
};

/**
 * guard_needs_depths() - whether guard_build() wants stack depths for this program
 *
 * True when pids are translated and the program asks for one, so that most programs are loaded
 * once and not twice. Malformed programs: any answer, guard_build() refuses them.
 */
bool guard_needs_depths(const struct insns_prog *prog, const struct scope *scope);

/**
 * guard_build() - make the guarded program
 * @ret_result: owned by the caller (guard_result_deinit()); untouched on failure
 * @reason: may be NULL
 *
 * Errors: -EINVAL malformed program or missing depths, -E2BIG no room on the stack or a jump
 * that became too long, -ENOMEM.
 */
int guard_build(const struct guard_request *request, struct guard_result *ret_result,
		struct reason *reason);

/** guard_result_deinit() - free what guard_build() made; idempotent */
void guard_result_deinit(struct guard_result *result);

/**
 * guard_explain() - say which denied helpers a failed load may be due to
 *
 * Return: @error; @reason is left alone when nothing was poisoned.
 */
int guard_explain(const struct guard_result *result, int error, struct reason *reason);

/** guard_helper_name() - "probe_read_kernel" for 113; NULL if this build does not know the id */
const char *guard_helper_name(uint32_t helper);
