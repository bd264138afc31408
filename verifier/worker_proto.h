/* SPDX-License-Identifier: MIT */
/*
 * What daemon and worker say to each other. One request message with two memory files, one answer
 * message without any:
 *
 *	request	struct worker_wire_request
 *		file 0, sealed: instructions, struct verifier_map, struct region_map, contents of
 *maps, records of functions and lines, BTF file 1, of a fixed size: the worker writes the log, then
 *the code and its relocations answer	struct worker_wire_answer
 *
 * The worker checks what it reads so that a mistake of ours is found; the daemon checks what it
 *reads because the worker may be somebody else's by then, and reads file 1 once, into memory of its
 *own.
 */
#pragma once

#include <assert.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "shim/region.h"
#include "verifier/verifier.h"

#define WORKER_MAGIC	   0x32776662u
#define WORKER_SOCKET	   3 /* descriptor of the socket in the worker */
#define WORKER_INSNS_MAX   1000000u
#define WORKER_LOG_MAX	   (16u << 20)
#define WORKER_CODE_MAX	   (8u << 20)
#define WORKER_RELOCS_MAX  (1u << 20)
#define WORKER_BTF_MAX	   (16u << 20) /* BTF_MAX_SIZE, kernel/bpf/btf.c, Linux 6.12 */
#define WORKER_RECORDS_MAX (64u << 20) /* bytes, of either kind */
#define WORKER_CONTENTS_MAX                                                                        \
	(1u << 20) /* of all maps; what is beyond is not known to the verifier */

/**
 * struct worker_wire_request - the message
 * @sequence: comes back in the answer
 * @insn_cnt, @map_cnt: what file 0 holds
 * @task: enum worker_task
 * @func_cnt, @func_size, @line_cnt, @line_size, @btf_len: see struct verifier_info
 * @log_size: bytes of the log in file 1
 * @contents_size: bytes of maps' contents behind all else in file 0; a map's pointer to them is one
 *more than the offset among these bytes, 0 for none
 */
struct worker_wire_request {
	uint32_t magic, sequence;
	uint32_t insn_cnt, map_cnt;
	uint32_t type, attach_type, gpl, sleepable;
	uint32_t log_level, log_size, contents_size;
	uint32_t task, zero_stack;
	uint32_t func_cnt, func_size, line_cnt, line_size, btf_len;
};
static_assert(sizeof(struct worker_wire_request) == 72, "no holes");

/**
 * struct worker_wire_answer
 * @log_len, @code_len: bytes in file 1; the log's with its end
 * @reloc_cnt: struct code_reloc there
 * @verify_ns: what the verifier took
 */
struct worker_wire_answer {
	uint32_t magic, sequence;
	int32_t verdict;
	uint32_t log_len, log_true_size, code_len;
	uint64_t helpers[4], maps;
	uint32_t stack_depth, processed, uses_percpu, kernel_only;
	uint32_t reads_unwritten, ctx_size, reloc_cnt, pad;
	uint64_t verify_ns;
	char no_code[REASON_MAX];
};
static_assert(sizeof(struct worker_wire_answer) == 104 + REASON_MAX, "no holes");

/**
 * struct worker_layout - where things are in the two files (bytes)
 * @insns, @maps, @records, @contents, @funcs, @lines, @btf, @request_size: of file 0
 * @log, @code, @relocs, @answer_size: of file 1
 */
struct worker_layout {
	size_t insns, maps, records, contents, funcs, lines, btf, request_size;
	size_t log, code, relocs, answer_size;
};

/**
 * worker_layout() - the same answer on both sides
 *
 * Errors: -E2BIG more than the limits above.
 */
int worker_layout(const struct worker_wire_request *wire, struct worker_layout *ret_layout);
