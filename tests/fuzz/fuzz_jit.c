/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a program for the JIT, which must compile or refuse it with a reason, and never
 * stand on a verifier having been there before.
 *
 * Input: instructions. Three maps exist, and every helper does.
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

static struct jit_map make_map(uint32_t type, unsigned index)
{
	const struct jit_map map = {
		.map = {.type = type,
			.key_size = 4,
			.value_size = 12,
			.max_entries = 5,
			.value_stride = 16,
			.slots = type == BPF_MAP_TYPE_PERCPU_ARRAY ? 4 : 1,
			.data = REGION_MAPS + 4096 * index,
			.data_size = 5 * 16 * 4},
		.offset = REGION_CODE + sizeof(struct region_map) * index,
	};

	return map;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct jit_runtime runtime = {.resolve = resolve};
	const struct jit_map maps[] = {
		make_map(BPF_MAP_TYPE_ARRAY, 0),
		make_map(BPF_MAP_TYPE_PERCPU_ARRAY, 1),
		make_map(BPF_MAP_TYPE_HASH, 2),
	};
	struct jit_prog prog = {
		.cnt = (uint32_t)(size / sizeof(struct bpf_insn)),
		.maps = maps,
		.map_cnt = ARRAY_SIZE(maps),
		.code_offset = REGION_CODE + 4096,
	};
	cleanup_free struct bpf_insn *insns = NULL;
	cleanup_free void *code = NULL;
	struct reason reason;
	size_t len = 0;
	int r;

	if (prog.cnt == 0 || prog.cnt > INSNS_LIMIT)
		return 0;
	/* In a buffer of just that size, so that a read behind the last one is seen. */
	insns = malloc(prog.cnt * sizeof(*insns));
	if (!insns)
		abort();
	memcpy(insns, data, prog.cnt * sizeof(*insns));
	prog.insns = insns;
	r = jit_compile_for(&prog, &runtime, &code, &len, &reason);
	if (r == 0 ? len == 0 : r != -EINVAL && r != -EOPNOTSUPP)
		abort();
	if (r < 0 && !reason.text[0])
		abort();
	return 0;
}
