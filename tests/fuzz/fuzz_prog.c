/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as what BPF_PROG_LOAD brings: a program, its BTF records and the verifier's log.
 * Whatever guard_build() makes must be well-formed by insns_apply()'s own rules, within the limits,
 * and carry the records it was given.
 *
 * Input: struct header, instructions, three arrays of records, u32 stack depths, log text; each
 * part is as long as the header says or as bytes are left.
 */
#include "kernel-bridge/guard.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel-bridge/statslog.h"
#include "kernel-bridge/taskfree.h"
#include "tests/fuzz/fuzz.h"

#define PROLOGUE       (1u << 0)
#define TRANSLATE_PIDS (1u << 1)
#define TRANSLATE_UIDS (1u << 2)
#define DENY	       (1u << 3)
#define NO_DEPTHS      (1u << 4)

struct header {
	uint8_t flags;
	uint8_t insn_cnt;
	uint8_t rec_sizes[3]; /* func_info, line_info, core_relos */
	uint8_t rec_cnts[3];
};

struct input {
	const uint8_t *pos;
	size_t left;
};

/* Up to @cnt elements in a buffer of just that size; NULL when there are none. */
static void *take(struct input *input, size_t size, uint32_t *cnt)
{
	void *copy;

	if (size == 0) /* the arrays are never read then */
		return NULL;
	if (*cnt > input->left / size)
		*cnt = (uint32_t)(input->left / size);
	if (*cnt == 0)
		return NULL;
	copy = malloc(*cnt * size);
	if (!copy)
		abort();
	memcpy(copy, input->pos, *cnt * size);
	input->pos += *cnt * size;
	input->left -= *cnt * size;
	return copy;
}

static bool denied(uint32_t helper, void *data)
{
	return helper % 2;
}

static void check_result(const struct insns_prog *from, const struct guard_result *result)
{
	const struct insns_edits none = {0};
	struct insns_prog copy;
	struct reason reason = {0};
	uint32_t *starts, start_cnt;

	if (result->prog.cnt < from->cnt || result->prog.cnt > INSNS_MAX ||
	    result->poisoned_cnt > GUARD_POISONED_MAX ||
	    result->prog.func_info.cnt != from->func_info.cnt ||
	    result->prog.line_info.cnt != from->line_info.cnt ||
	    result->prog.core_relos.cnt != from->core_relos.cnt)
		abort();
	if (insns_apply(&result->prog, &none, &copy, &reason) < 0)
		abort();
	if (copy.cnt != result->prog.cnt ||
	    memcmp(copy.insns, result->prog.insns, copy.cnt * sizeof(*copy.insns)) != 0)
		abort();
	insns_prog_deinit(&copy);
	if (insns_subprogs(result->prog.insns, result->prog.cnt, &starts, &start_cnt, &reason) < 0)
		abort();
	free(starts);
	guard_explain(result, -1, &reason);
}

static void fuzz_prog(struct input *input, const struct header *header)
{
	struct scope scope = {
		.cgroup_id = 0x100000001,
		.cgroup_level = 3,
		.translate_pids = header->flags & TRANSLATE_PIDS,
		.pidns_dev = 4,
		.pidns_ino = 0xf0000001,
		.translate_uids = header->flags & TRANSLATE_UIDS,
		.host_uid_base = 65534,
		.uid_count = 1,
		.host_gid_base = 65534,
		.gid_count = 1,
	};
	struct guard_request request = {
		.scope = &scope,
		.denied = header->flags & DENY ? denied : NULL,
		.with_prologue = header->flags & PROLOGUE,
	};
	struct insns_records *records[] = {&request.prog.func_info, &request.prog.line_info,
					   &request.prog.core_relos};
	cleanup_free uint32_t *depths = NULL;
	struct guard_result result;
	struct reason reason = {0};

	request.prog.cnt = header->insn_cnt;
	request.prog.insns = take(input, sizeof(struct bpf_insn), &request.prog.cnt);
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		records[i]->cnt = header->rec_cnts[i];
		records[i]->rec_size = header->rec_sizes[i];
		records[i]->data = take(input, header->rec_sizes[i], &records[i]->cnt);
	}
	request.stack_depth_cnt = header->flags & NO_DEPTHS ? 0 : 4;
	request.stack_depths = depths = take(input, sizeof(*depths), &request.stack_depth_cnt);

	taskfree_check(request.prog.insns, request.prog.cnt);
	guard_needs_depths(&request.prog, &scope);
	if (guard_build(&request, &result, &reason) == 0) {
		check_result(&request.prog, &result);
		guard_result_deinit(&result);
	} else if (!reason.text[0]) {
		abort();
	}
	for (size_t i = 0; i < ARRAY_SIZE(records); i++)
		free(records[i]->data);
	free(request.prog.insns);
}

static void fuzz_log(struct input *input, uint32_t level)
{
	uint32_t len = (uint32_t)input->left, cnt = 0;
	cleanup_free char *log = take(input, 1, &len);
	uint32_t depths[4];

	if (!log)
		return;
	if (statslog_depths(log, len, depths, ARRAY_SIZE(depths), &cnt) == 0 &&
	    (cnt == 0 || cnt > ARRAY_SIZE(depths)))
		abort();
	if (statslog_filter(log, len, level) > len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.pos = data, .left = size};
	struct header header;

	if (size < sizeof(header) || size > 1u << 20)
		return 0;
	memcpy(&header, data, sizeof(header));
	input.pos += sizeof(header);
	input.left -= sizeof(header);
	fuzz_prog(&input, &header);
	fuzz_log(&input, header.flags >> 5);
	return 0;
}
