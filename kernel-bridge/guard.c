/* SPDX-License-Identifier: MIT */
/*
 * Builds guarded programs out of a tenant's program with the edit engine of insns.c. Called on
 * PROG_LOAD for KERNEL placement. Never loads anything, never trusts the program.
 *
 * The sequences put in place of a helper call use r0 to r5 only: after a call the verifier holds
 * r1 to r5 for unreadable and r0 for the result, so nothing the program relies on is lost.
 */
#include "kernel-bridge/guard.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "kernel-bridge/insn_build.h"

/* What the namespaces show for an id they do not know. Source: kernel/sys.c overflowuid. */
#define OVERFLOW_ID 65534

struct builder {
	const struct guard_request *request;
	struct guard_result *result;
	struct insns_edits edits;
	uint32_t *starts;
	uint32_t start_cnt;
};

#define HELPER_NAME(name) [BPF_FUNC_##name] = #name
static const char *const helper_names[] = {__BPF_FUNC_MAPPER(HELPER_NAME)};
#undef HELPER_NAME

const char *guard_helper_name(uint32_t helper)
{
	if (helper == BPF_FUNC_unspec || helper >= ARRAY_SIZE(helper_names))
		return NULL;
	return helper_names[helper];
}

void guard_result_deinit(struct guard_result *result)
{
	insns_prog_deinit(&result->prog);
	result->poisoned_cnt = 0;
}

/*
 * Whether the helper has code of the program run later, in a task that the prologue never saw. A
 * timer's callback runs in the interrupt, on whatever task is current; a prologue of its own would
 * make it skip the ticks that fall into other tasks, and nobody would start the timer again.
 *
 * Of Linux 6.18 these are all: the callbacks of loop, for_each_map_elem, find_vma and
 * user_ringbuf_drain have returned when the helper returns, and a program reached by tail_call has
 * the prologue that it was loaded with, since a tail call enters at the first instruction. The
 * kernel itself refuses timers to kprobes, tracepoints and perf events, not to type tracing
 * (kernel/bpf/verifier.c check_map_prog_compatibility()). Kernel functions that do the same are
 * the caller's business: ids of BTF say nothing here.
 */
static bool outlives_guard(uint32_t helper)
{
	return helper == BPF_FUNC_timer_init || helper == BPF_FUNC_timer_set_callback ||
	       helper == BPF_FUNC_timer_start;
}

int guard_explain(const struct guard_result *result, int error, struct reason *reason)
{
	char list[REASON_MAX - 64] = "";
	bool outlives = false;
	size_t len = 0;

	if (result->poisoned_cnt == 0)
		return error;
	for (uint32_t i = 0; i < result->poisoned_cnt && len < sizeof(list); i++) {
		const char *name = guard_helper_name(result->poisoned[i]);

		outlives |= outlives_guard(result->poisoned[i]);
		len += snprintf(list + len, sizeof(list) - len, "%s%s#%u", i ? ", " : "",
				name ? name : "helper", result->poisoned[i]);
	}
	if (outlives)
		return reason_set(reason, error, "callbacks of timers run in tasks of others: %s",
				  list);
	return reason_set(reason, error, "the policy denies helpers this program calls: %s", list);
}

/*
 * stat(2) splits st_dev as user space encodes it, the helper compares the kernel's own dev_t.
 * They differ as soon as the minor has more than 8 bits.
 * Source: include/linux/kdev_t.h MKDEV(), kernel/bpf/helpers.c bpf_get_ns_current_pid_tgid(), 6.18.
 */
static uint64_t kernel_dev(uint64_t st_dev)
{
	return (uint64_t)major(st_dev) << 20 | minor(st_dev);
}

static int add_prologue(struct builder *b)
{
	const struct scope *scope = b->request->scope;
	const struct bpf_insn seq[] = {
		INSN_MOV64_REG(BPF_REG_6, BPF_REG_1),
		INSN_MOV64_IMM(BPF_REG_1, (int32_t)scope->cgroup_level),
		INSN_CALL(BPF_FUNC_get_current_ancestor_cgroup_id),
		INSN_LD_IMM64(BPF_REG_1, scope->cgroup_id),
		INSN_JMP_REG(BPF_JEQ, BPF_REG_0, BPF_REG_1, 2),
		INSN_MOV64_IMM(BPF_REG_0, 0),
		INSN_EXIT(),
		INSN_MOV64_REG(BPF_REG_1, BPF_REG_6),
	};

	return insns_edits_add(&b->edits, 0, INSNS_PROLOGUE, seq, ARRAY_SIZE(seq));
}

/* Used stack of subprogram @subprog in bytes; see stack_depths in guard.h. */
static int used_stack(const struct builder *b, uint32_t subprog, uint32_t *ret_depth,
		      struct reason *reason)
{
	const struct guard_request *request = b->request;
	uint32_t depth = 0;

	if (!request->stack_depths || request->stack_depth_cnt == 0)
		return reason_set(reason, -EINVAL, "stack depths of the program are not known");
	if (request->stack_depth_cnt == b->start_cnt) {
		*ret_depth = request->stack_depths[subprog];
		return 0;
	}
	for (uint32_t i = 0; i < request->stack_depth_cnt; i++)
		if (request->stack_depths[i] > depth)
			depth = request->stack_depths[i];
	*ret_depth = depth;
	return 0;
}

/* The kernel lets programs of root read what others have left on its stack. */
static int add_clearing(struct builder *b, uint32_t subprog, struct reason *reason)
{
	struct bpf_insn seq[GUARD_STACK_MAX / 8];
	uint32_t depth = 0, words;
	int r = used_stack(b, subprog, &depth, reason);

	words = (depth + 7) / 8;
	if (r < 0 || !words)
		return r;
	if (words > ARRAY_SIZE(seq))
		return reason_set(reason, -EINVAL, "%u bytes of stack are more than there can be",
				  depth);
	for (uint32_t i = 0; i < words; i++)
		seq[i] = (struct bpf_insn)INSN_ST(BPF_DW, BPF_REG_10,
						  (int16_t) - (8 * ((int)i + 1)), 0);
	return insns_edits_add(&b->edits, b->starts[subprog], INSNS_PROLOGUE, seq, words);
}

/* Source: include/uapi/linux/bpf.h struct bpf_pidns_info; the helper zeroes it when it fails. */
static int add_pid_tgid(struct builder *b, uint32_t at, uint32_t depth, struct reason *reason)
{
	const struct scope *scope = b->request->scope;
	const size_t size = sizeof(struct bpf_pidns_info);
	int16_t slot;

	if (depth > GUARD_STACK_MAX - size)
		return reason_set(reason, -E2BIG,
				  "translating pids needs %zu bytes of stack, the program uses %u "
				  "of %u",
				  size, depth, GUARD_STACK_MAX);
	/* At most 512 - 8 here, so rounding up cannot leave the frame. */
	slot = (int16_t) - (int)((depth + 7) / 8 * 8 + size);

	const struct bpf_insn seq[] = {
		INSN_LD_IMM64(BPF_REG_1, kernel_dev(scope->pidns_dev)),
		INSN_LD_IMM64(BPF_REG_2, scope->pidns_ino),
		INSN_MOV64_REG(BPF_REG_3, BPF_REG_10),
		INSN_ALU64_IMM(BPF_ADD, BPF_REG_3, slot),
		INSN_MOV64_IMM(BPF_REG_4, (int32_t)size),
		INSN_CALL(BPF_FUNC_get_ns_current_pid_tgid),
		INSN_LDX(BPF_W, BPF_REG_0, BPF_REG_10,
			 slot + (int16_t)offsetof(struct bpf_pidns_info, tgid)),
		INSN_ALU64_IMM(BPF_LSH, BPF_REG_0, 32),
		INSN_LDX(BPF_W, BPF_REG_1, BPF_REG_10,
			 slot + (int16_t)offsetof(struct bpf_pidns_info, pid)),
		INSN_ALU64_REG(BPF_OR, BPF_REG_0, BPF_REG_1),
	};

	return insns_edits_add(&b->edits, at, INSNS_REPLACE, seq, ARRAY_SIZE(seq));
}

/*
 * Maps the id in the low half of @reg, with the high half clear: below the base wraps around to
 * more than any count, so one comparison covers both ends of the extent.
 */
#define MAP_ID(reg, host_base, base, count)                                                        \
	INSN_ALU32_IMM(BPF_SUB, reg, (int32_t)(host_base)),                                        \
		INSN_JMP32_IMM(BPF_JLT, reg, (int32_t)(count), 2),                                 \
		INSN_ALU32_IMM(BPF_MOV, reg, OVERFLOW_ID), INSN_JA(1),                             \
		INSN_ALU32_IMM(BPF_ADD, reg, (int32_t)(base))

static int add_uid_gid(struct builder *b, uint32_t at)
{
	const struct scope *scope = b->request->scope;
	const struct bpf_insn seq[] = {
		INSN_CALL(BPF_FUNC_get_current_uid_gid),
		INSN_ALU32_REG(BPF_MOV, BPF_REG_1, BPF_REG_0),
		INSN_ALU64_IMM(BPF_RSH, BPF_REG_0, 32),
		MAP_ID(BPF_REG_0, scope->host_gid_base, scope->gid_base, scope->gid_count),
		INSN_ALU64_IMM(BPF_LSH, BPF_REG_0, 32),
		MAP_ID(BPF_REG_1, scope->host_uid_base, scope->uid_base, scope->uid_count),
		INSN_ALU64_REG(BPF_OR, BPF_REG_0, BPF_REG_1),
	};

	return insns_edits_add(&b->edits, at, INSNS_REPLACE, seq, ARRAY_SIZE(seq));
}

static int add_poison(struct builder *b, uint32_t at, uint32_t helper)
{
	const struct bpf_insn seq[] = {INSN_CALL(GUARD_POISON)};
	struct guard_result *result = b->result;
	uint32_t i = 0;

	while (i < result->poisoned_cnt && result->poisoned[i] != helper)
		i++;
	if (i == result->poisoned_cnt && i < GUARD_POISONED_MAX)
		result->poisoned[result->poisoned_cnt++] = helper;
	return insns_edits_add(&b->edits, at, INSNS_REPLACE, seq, ARRAY_SIZE(seq));
}

/* The edit, if any, for the helper call at @at in subprogram @subprog. */
static int edit_call(struct builder *b, uint32_t at, uint32_t subprog, struct reason *reason)
{
	const struct guard_request *request = b->request;
	uint32_t helper = (uint32_t)request->prog.insns[at].imm;
	uint32_t depth = 0;
	int r;

	if (outlives_guard(helper) ||
	    (request->denied && request->denied(helper, request->denied_data)))
		return add_poison(b, at, helper);
	if (helper == BPF_FUNC_get_current_pid_tgid && request->scope->translate_pids) {
		r = used_stack(b, subprog, &depth, reason);
		return r < 0 ? r : add_pid_tgid(b, at, depth, reason);
	}
	if (helper == BPF_FUNC_get_current_uid_gid && request->scope->translate_uids)
		return add_uid_gid(b, at);
	return 0;
}

static int add_edits(struct builder *b, struct reason *reason)
{
	const struct insns_prog *prog = &b->request->prog;
	uint32_t subprog = 0;
	int r;

	r = insns_subprogs(prog->insns, prog->cnt, &b->starts, &b->start_cnt, reason);
	if (r < 0)
		return r;
	if (b->request->with_prologue) {
		r = add_prologue(b);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < prog->cnt; i++) {
		while (subprog + 1 < b->start_cnt && b->starts[subprog + 1] <= i)
			subprog++;
		if (b->request->clear_stack && b->starts[subprog] == i) {
			r = add_clearing(b, subprog, reason);
			if (r < 0)
				return r;
		}
		if (insn_is_helper_call(&prog->insns[i])) {
			r = edit_call(b, i, subprog, reason);
			if (r < 0)
				return r;
		}
		i += insn_is_ld_imm64(&prog->insns[i]);
	}
	return 0;
}

bool guard_needs_depths(const struct insns_prog *prog, const struct scope *scope)
{
	if (!scope->translate_pids)
		return false;
	for (uint32_t i = 0; i < prog->cnt; i++) {
		const struct bpf_insn *insn = &prog->insns[i];

		if (insn_is_helper_call(insn) && insn->imm == BPF_FUNC_get_current_pid_tgid)
			return true;
		i += insn_is_ld_imm64(insn);
	}
	return false;
}

int guard_build(const struct guard_request *request, struct guard_result *ret_result,
		struct reason *reason)
{
	struct guard_result result = {0};
	struct builder b = {.request = request, .result = &result};
	int r;

	if (reason)
		reason->text[0] = '\0';
	r = add_edits(&b, reason);
	if (r == 0)
		r = insns_apply(&request->prog, &b.edits, &result.prog, reason);
	insns_edits_deinit(&b.edits);
	free(b.starts);
	if (r == -E2BIG && reason && !reason->text[0])
		reason_set(reason, r, "guard code takes more than %u instructions", INSNS_MAX);
	if (r == 0)
		*ret_result = result;
	return r;
}
