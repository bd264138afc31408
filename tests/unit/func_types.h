/* SPDX-License-Identifier: MIT */
/*
 * BTF for the functions of programs that have none of their own: each takes what it likes and
 * returns an int. The kernel wants it for callbacks and for functions that make tail calls.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sys.h"
#include "verifier/verifier.h"

#define FUNC_TYPE_STATIC 3u
#define FUNC_TYPE_MAIN	 4u
#define FUNC_NAMES	 "\0int\0f\0main"

struct func_types {
	struct btf_header header;
	struct btf_type integer;
	uint32_t encoding;
	struct btf_type proto, function, first;
	char names[sizeof(FUNC_NAMES)];
};

static const struct func_types func_types = {
	.header = {.magic = BTF_MAGIC,
		   .version = BTF_VERSION,
		   .hdr_len = sizeof(struct btf_header),
		   .type_len = 4 * sizeof(struct btf_type) + 4,
		   .str_off = 4 * sizeof(struct btf_type) + 4,
		   .str_len = sizeof(FUNC_NAMES)},
	.integer = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
	.encoding = BTF_INT_SIGNED << 24 | 32,
	.proto = {.info = BTF_KIND_FUNC_PROTO << 24, .type = 1},
	.function = {.name_off = 5, .info = BTF_KIND_FUNC << 24, .type = 2},
	.first = {.name_off = 7, .info = BTF_KIND_FUNC << 24 | 1, .type = 2},
	.names = FUNC_NAMES,
};
#define FUNC_TYPES_LEN ((uint32_t)(offsetof(struct func_types, names) + sizeof(FUNC_NAMES)))

/* Return: a BTF object, or -errno */
static inline int func_types_load(void)
{
	union bpf_attr attr = {.btf = (uintptr_t)&func_types, .btf_size = FUNC_TYPES_LEN};

	return sys_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
}

static inline bool func_is_named(const struct bpf_insn *insn)
{
	if (insn->code == (BPF_LD | BPF_IMM | BPF_DW))
		return insn->src_reg == BPF_PSEUDO_FUNC;
	return insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;
}

/* Where functions begin, by their calls; of @max at most. */
static inline uint32_t func_records(const struct bpf_insn *insns, uint32_t cnt,
				    struct bpf_func_info *ret, uint32_t max)
{
	uint32_t found = 0;

	for (uint32_t at = 0; at < cnt && found < max; at++) {
		bool starts = at == 0;

		for (uint32_t i = 0; i < cnt && !starts; i++)
			starts = func_is_named(&insns[i]) &&
				 (int64_t)i + 1 + insns[i].imm == (int64_t)at;
		if (starts)
			ret[found++] = (struct bpf_func_info){
				.insn_off = at, .type_id = at ? FUNC_TYPE_STATIC : FUNC_TYPE_MAIN};
	}
	return found;
}

/* Whether the kernel wants to have them. */
static inline bool func_records_matter(const struct bpf_insn *insns, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if ((insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		     insns[i].src_reg == BPF_PSEUDO_FUNC) ||
		    (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg &&
		     insns[i].imm == BPF_FUNC_tail_call))
			return true;
	return false;
}

/* The same for our verifier. @funcs: as long as the result is used */
static inline struct verifier_info func_info(const struct bpf_insn *insns, uint32_t cnt,
					     struct bpf_func_info *funcs, uint32_t max)
{
	struct verifier_info info = {.btf = &func_types, .btf_len = FUNC_TYPES_LEN};

	if (func_records_matter(insns, cnt))
		info.funcs = (struct verifier_records){funcs, func_records(insns, cnt, funcs, max),
						       sizeof(*funcs)};
	return info;
}
