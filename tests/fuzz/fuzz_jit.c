/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a program for the JIT, which must compile or refuse it with a reason, and never
 * stand on a verifier having been there before.
 *
 * Input: instructions; what is behind the last whole one chooses the tier. Three maps exist, and every
 * helper does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "vm/jit_unit.h"

#define INSNS_LIMIT 256 /* LLVM takes its time */

static uint64_t resolve(const char *name, void *data)
{
	return REGION_TEXT + 64;
}

static struct region_map make_map(uint32_t type)
{
	const struct region_map map = {
		.type = type,
		.key_size = 4,
		.value_size = 12,
		.max_entries = 5,
		.value_stride = 16,
		.slots = type == BPF_MAP_TYPE_PERCPU_ARRAY ? 4 : 1,
		.data_size = 5 * 16 * 4,
	};

	return map;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct jit_runtime runtime = {.resolve = resolve};
	const struct region_map maps[] = {
		make_map(BPF_MAP_TYPE_ARRAY),
		make_map(BPF_MAP_TYPE_PERCPU_ARRAY),
		make_map(BPF_MAP_TYPE_HASH),
	};
	struct jit_prog prog = {
		.cnt = (uint32_t)(size / sizeof(struct bpf_insn)),
		.maps = maps,
		.map_cnt = ARRAY_SIZE(maps),
		.tier = size % sizeof(struct bpf_insn) ? JIT_FULL : JIT_FAST,
	};
	cleanup_free struct bpf_insn *insns = NULL;
	struct link_result result = {0};
	const struct code_map places[ARRAY_SIZE(maps)] = {{REGION_CODE, REGION_MAPS}};
	struct reason reason;
	int r;

	if (prog.cnt == 0 || prog.cnt > INSNS_LIMIT)
		return 0;
	/* In a buffer of just that size, so that a read behind the last one is seen. */
	insns = malloc(prog.cnt * sizeof(*insns));
	if (!insns)
		abort();
	memcpy(insns, data, prog.cnt * sizeof(*insns));
	prog.insns = insns;
	r = jit_compile_for(&prog, &runtime, &result, &reason);
	if (r == 0 ? result.len == 0 : r != -EINVAL && r != -EOPNOTSUPP)
		abort();
	if (r < 0 && !reason.text[0])
		abort();
	if (r == 0 && code_place(result.code, result.len, result.relocs, result.reloc_cnt,
				 REGION_CODE + 4096, places, prog.map_cnt) < 0)
		abort();
	link_result_deinit(&result);
	return 0;
}
