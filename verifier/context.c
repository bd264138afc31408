/* SPDX-License-Identifier: MIT */
/*
 * See context.h. Source: *_is_valid_access() of each type, kernel/trace/bpf_trace.c, Linux 6.12.
 */
#include "verifier/context.h"

#include <linux/bpf.h>
#include <stddef.h>

#define PT_REGS 168 /* sizeof(struct pt_regs), x86-64 */

static const struct context_row rows[] = {
	[BPF_PROG_TYPE_KPROBE] = {.end = PT_REGS},
	/* The first word is the kernel's own; PERF_MAX_TRACE_SIZE bounds the record. */
	[BPF_PROG_TYPE_TRACEPOINT] = {.first = 8, .end = 8192},
	/* struct bpf_perf_event_data: registers by words, then the sample's period and address. */
	[BPF_PROG_TYPE_PERF_EVENT] = {.end = PT_REGS + 16, .words = true, .narrow = PT_REGS},
	/* MAX_BPF_FUNC_ARGS words */
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = {.end = 12 * 8},
};

const struct context_row *context_row(uint32_t type)
{
	return type < sizeof(rows) / sizeof(rows[0]) && rows[type].end ? &rows[type] : NULL;
}

bool context_reads(const struct context_row *row, int64_t off, unsigned int size)
{
	if (off < row->first || off + size > row->end || off % size)
		return false;
	return !row->words || size == 8 || off >= row->narrow;
}
