/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a program with records of functions and lines and BTF: the verifier reads nothing outside
 * of them and says yes or no.
 *
 * Input: type of program, numbers of instructions, functions and lines, a byte each; then these, then the
 * BTF.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "verifier/verifier.h"

static const struct verifier_map maps[] = {
	{BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0},
	{BPF_MAP_TYPE_HASH, 8, 48, 16, 0},
	{BPF_MAP_TYPE_HASH_OF_MAPS, 8, 4, 4, 0, .inner = {BPF_MAP_TYPE_HASH, 8, 48, 16, 0}},
	{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0},
};

/* Of its own, so that a byte too many is noticed. */
static void *take(const uint8_t **data, size_t *size, size_t bytes)
{
	void *copy = *size >= bytes ? malloc(bytes ? bytes : 1) : NULL;

	if (!copy)
		return NULL;
	memcpy(copy, *data, bytes);
	*data += bytes;
	*size -= bytes;
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4096];
	struct verifier_log log = {.level = 2, .buf = text, .size = sizeof(text)};
	struct verifier_prog prog = {.gpl = true, .maps = maps, .map_cnt = ARRAY_SIZE(maps)};
	struct verifier_facts facts;
	cleanup_free void *insns = NULL, *funcs = NULL, *lines = NULL, *btf = NULL;
	int r;

	if (size < 4)
		return 0;
	prog.type = data[0];
	prog.sleepable = prog.type == BPF_PROG_TYPE_SYSCALL;
	prog.cnt = data[1];
	prog.info.funcs = (struct verifier_records){NULL, data[2], sizeof(struct bpf_func_info)};
	prog.info.lines = (struct verifier_records){NULL, data[3], sizeof(struct bpf_line_info)};
	data += 4;
	size -= 4;
	prog.insns = insns = take(&data, &size, prog.cnt * sizeof(struct bpf_insn));
	prog.info.funcs.data = funcs =
		take(&data, &size, prog.info.funcs.cnt * sizeof(struct bpf_func_info));
	prog.info.lines.data = lines =
		take(&data, &size, prog.info.lines.cnt * sizeof(struct bpf_line_info));
	prog.info.btf_len = (uint32_t)size;
	prog.info.btf = btf = take(&data, &size, size);
	if (!insns || !funcs || !lines || !btf)
		return 0;
	r = verifier_check(&prog, &log, &facts);
	if (r > 0 || r == -EFAULT || !memchr(text, '\0', sizeof(text)))
		abort();
	if (r == 0 && (facts.stack_depth > 512 || facts.processed == 0))
		abort();
	return 0;
}
