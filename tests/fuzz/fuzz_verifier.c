/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a program for the verifier: it says yes or no with a reason, within its limits, and
 * its facts are within theirs.
 *
 * Input: flags, then instructions. The maps are those of one of each type that a program can use.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "verifier/verifier.h"

#define INSNS_LIMIT 512
#define GPL	    (1u << 0)
#define QUIET	    (1u << 1)
#define SHORT_LOG   (1u << 2)

static const struct verifier_map maps[] = {
	{BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0},
	{BPF_MAP_TYPE_HASH, 8, 48, 16, 0},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 4, 0},
	{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0},
	{BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_RDONLY_PROG},
	{BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_WRONLY_PROG},
	{BPF_MAP_TYPE_PERCPU_HASH, 16, 8, 16, 0},
	{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
	{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
};

static void check_accepted(const struct verifier_facts *facts)
{
	if (facts->stack_depth > 512 || facts->processed == 0 || facts->maps >> ARRAY_SIZE(maps))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verifier_prog prog = {.type = BPF_PROG_TYPE_KPROBE, .maps = maps};
	struct verifier_log log = {0};
	struct verifier_facts facts;
	cleanup_free struct bpf_insn *insns = NULL;
	cleanup_free char *text = NULL;
	int r;

	if (size < 1)
		return 0;
	prog.cnt = (uint32_t)((size - 1) / sizeof(struct bpf_insn));
	if (prog.cnt > INSNS_LIMIT)
		return 0;
	prog.gpl = data[0] & GPL;
	prog.map_cnt = ARRAY_SIZE(maps);
	log.level = data[0] & QUIET ? 0 : 1;
	log.size = data[0] & SHORT_LOG ? 16 : 4096;
	insns = malloc(prog.cnt * sizeof(*insns) + 1);
	log.buf = text = malloc(log.size);
	if (!insns || !text)
		abort();
	if (prog.cnt)
		memcpy(insns, data + 1, prog.cnt * sizeof(*insns));
	prog.insns = insns;

	r = verifier_check(&prog, &log, &facts);
	if (r > 0 || r == -EFAULT)
		abort();
	if (!memchr(text, '\0', log.size) || log.len == 0)
		abort();
	if (r == 0)
		check_accepted(&facts);
	/* No is said with a reason, unless the caller wants none. */
	if (r < 0 && r != -E2BIG && log.level && log.len == 1)
		abort();
	return 0;
}
