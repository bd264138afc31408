/* SPDX-License-Identifier: MIT */
/*
 * Decides whether a program is safe to run inside somebody's process, path by path, as
 * kernel/bpf/verifier.c does for the kernel. Sound for what it accepts; what it does not cover yet
 * is refused by name ("not supported by this verifier: ..."). Pure: no system calls, memory bounded
 * by the limits below. Runs only in the sandboxed worker and in tests.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/btf_fields.h"

/* BPF_LOG_*, include/linux/bpf_verifier.h, Linux 6.12 */
#define VERIFIER_LOG_LEVEL1 1u
#define VERIFIER_LOG_LEVEL2 2u
#define VERIFIER_LOG_STATS  4u

#define VERIFIER_MAPS_MAX 64u /* MAX_USED_MAPS, include/linux/bpf_verifier.h, Linux 6.12 */

/** struct verifier_shape - of the maps in a map of maps; @type 0: it is none */
struct verifier_shape {
	uint32_t type, key_size, value_size, max_entries, flags;
};

/**
 * struct verifier_map - a map the program names
 * @flags: as in BPF_MAP_CREATE
 * @fields: what its values have in them besides data
 * @contents: its only value, borrowed, if nobody can change that any more (frozen, and read-only
 *for programs), else NULL: what is read of it is known
 */
struct verifier_map {
	uint32_t type, key_size, value_size, max_entries, flags;
	const unsigned char *contents;
	struct verifier_shape inner;
	struct btf_fields fields;
};

/** struct verifier_records - @cnt records of @size bytes, as in BPF_PROG_LOAD; borrowed */
struct verifier_records {
	const void *data;
	uint32_t cnt, size;
};

/**
 * struct verifier_info - what a program says of its functions and lines
 * @btf: as in BPF_BTF_LOAD, @btf_len bytes; needed if there are records
 * @funcs, @lines: struct bpf_func_info and bpf_line_info, maybe longer
 */
struct verifier_info {
	const void *btf;
	uint32_t btf_len;
	struct verifier_records funcs, lines;
};

/**
 * struct verifier_prog - what to check; everything borrowed
 * @insns: ld_imm64 with src_reg BPF_PSEUDO_MAP_FD or _MAP_VALUE has an index into @maps as its imm
 * @type, @attach_type: BPF_PROG_TYPE_*, expected_attach_type
 * @gpl: its license lets it call GPL-only helpers
 * @sleepable: BPF_F_SLEEPABLE of its flags
 * @info: without any, functions are static and none is known by name
 */
struct verifier_prog {
	const struct bpf_insn *insns;
	uint32_t cnt;
	uint32_t type, attach_type;
	bool gpl, sleepable;
	const struct verifier_map *maps;
	uint32_t map_cnt;
	struct verifier_info info;
};

/**
 * struct verifier_facts - about an accepted program
 * @helpers: bit N: helper N is called (on a path that can be reached)
 * @maps: bit N: map N is used
 * @stack_depth: bytes, of the deepest chain of calls
 * @ctx_size: how much of its context it may read (bytes; max_ctx_offset, include/linux/bpf.h)
 * @reads_unwritten: may read bytes of its stack that it did not write
 * @processed: instructions walked
 * @uses_percpu: touches a per-CPU map
 * @kernel_only: helper that only the kernel can serve, 0 for none: the program is sound, but cannot
 *	have USER placement
 */
struct verifier_facts {
	uint64_t helpers[4];
	uint64_t maps;
	uint32_t stack_depth, processed;
	uint32_t ctx_size;
	bool uses_percpu, reads_unwritten;
	uint32_t kernel_only;
};

/**
 * struct verifier_log - where the text goes
 * @level: BPF_LOG_LEVEL1 | 2 | BPF_LOG_STATS; 0 for none
 * @buf, @size: filled and terminated; keeps the tail of an overflowing log as Linux 6.12 does
 * @len: bytes the whole log needs with its terminator (log_true_size)
 */
struct verifier_log {
	uint32_t level;
	char *buf;
	uint32_t size, len;
};

/**
 * verifier_check() - verdict on one program
 *
 * Return: 0 and @ret_facts, or the -errno the kernel gives for it (-EACCES, -EINVAL, -E2BIG, ...),
 * -EOPNOTSUPP for what this verifier does not cover, -ENOMEM. The log says why in the kernel's
 * words.
 */
int verifier_check(const struct verifier_prog *prog, struct verifier_log *log,
		   struct verifier_facts *ret_facts);
