/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic that daemon and worker must agree on. Pure.
 */
#include "verifier/worker_proto.h"

#include <errno.h>

#include "vm/code.h"

#define PAGE 4096u

static size_t take(size_t *at, size_t size)
{
	size_t start = *at;

	*at += (size + 7) / 8 * 8;
	return start;
}

int worker_layout(const struct worker_wire_request *wire, struct worker_layout *ret_layout)
{
	struct worker_layout layout;
	size_t at = 0;

	if (wire->insn_cnt > WORKER_INSNS_MAX || wire->map_cnt > VERIFIER_MAPS_MAX ||
	    wire->log_size > WORKER_LOG_MAX || wire->contents_size > WORKER_CONTENTS_MAX ||
	    wire->btf_len > WORKER_BTF_MAX ||
	    (uint64_t)wire->func_cnt * wire->func_size > WORKER_RECORDS_MAX ||
	    (uint64_t)wire->line_cnt * wire->line_size > WORKER_RECORDS_MAX)
		return -E2BIG;
	layout.insns = take(&at, wire->insn_cnt * sizeof(struct bpf_insn));
	layout.maps = take(&at, wire->map_cnt * sizeof(struct verifier_map));
	layout.records = take(&at, wire->map_cnt * sizeof(struct region_map));
	layout.contents = take(&at, wire->contents_size);
	layout.funcs = take(&at, (size_t)wire->func_cnt * wire->func_size);
	layout.lines = take(&at, (size_t)wire->line_cnt * wire->line_size);
	layout.btf = take(&at, wire->btf_len);
	layout.request_size = at;
	layout.log = 0;
	layout.code = (wire->log_size + PAGE - 1) / PAGE * PAGE;
	layout.relocs = layout.code + WORKER_CODE_MAX;
	layout.answer_size = layout.relocs + WORKER_RELOCS_MAX * sizeof(struct code_reloc);
	*ret_layout = layout;
	return 0;
}
