/* SPDX-License-Identifier: MIT */
/*
 * See context.h. Source: *_is_valid_access() of each type, kernel/trace/bpf_trace.c and
 * net/core/filter.c, Linux 6.12.
 */
#include "verifier/context.h"

#include <linux/bpf.h>
#include <stddef.h>

#define PT_REGS	    168u       /* sizeof(struct pt_regs), x86-64 */
#define PERF_PERIOD PT_REGS    /* struct bpf_perf_event_data: behind the registers */
#define TRACE_MAX   8192u      /* PERF_MAX_TRACE_SIZE */
#define RAW_ARGS    (12u * 8u) /* MAX_BPF_FUNC_ARGS words */

/** struct context_row - what may be read in aligned pieces: from @first to @end; @words: by words
 * alone */
struct context_row {
	uint32_t first, end;
	bool words;
};

static const struct context_row rows[] = {
	[BPF_PROG_TYPE_KPROBE] = {.end = PT_REGS},
	/* The first word is the kernel's own. */
	[BPF_PROG_TYPE_TRACEPOINT] = {.first = 8, .end = TRACE_MAX},
	/* The sample's period and address behind the registers may be read in pieces. */
	[BPF_PROG_TYPE_PERF_EVENT] = {.end = PT_REGS + 16, .words = true},
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = {.end = RAW_ARGS},
};

static bool has_row(uint32_t type)
{
	return type < sizeof(rows) / sizeof(rows[0]) && rows[type].end;
}

#define FIELD_END(field)                                                                           \
	(offsetof(struct __sk_buff, field) + sizeof(((struct __sk_buff *)0)->field))

/** struct part - of struct __sk_buff that socket filters do not see as plain numbers */
struct part {
	uint32_t from, to;
	enum context_access access;
};

static enum context_access sk_buff_access(int64_t off, unsigned int size, bool write)
{
	static const struct part parts[] = {
		{offsetof(struct __sk_buff, tc_classid), FIELD_END(tc_classid), CONTEXT_NO},
		{offsetof(struct __sk_buff, data), FIELD_END(data_end), CONTEXT_NO},
		{offsetof(struct __sk_buff, data_meta), FIELD_END(flow_keys), CONTEXT_NO},
		{offsetof(struct __sk_buff, tstamp), FIELD_END(wire_len), CONTEXT_NO},
		{offsetof(struct __sk_buff, sk), FIELD_END(sk), CONTEXT_POINTER},
		/* tstamp_type, padding, hwtstamp: not for socket filters */
		{FIELD_END(gso_size), sizeof(struct __sk_buff), CONTEXT_NO},
	};
	bool is_cb = off >= (int64_t)offsetof(struct __sk_buff, cb) && off < (int64_t)FIELD_END(cb);

	if (off < 0 || off % size || off + size > (int64_t)sizeof(struct __sk_buff))
		return CONTEXT_NO;
	if (is_cb)
		return off + size <= (int64_t)FIELD_END(cb) ? CONTEXT_YES : CONTEXT_NO;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (off < parts[i].to && off + size > parts[i].from)
			return parts[i].access == CONTEXT_POINTER && (write || size != 8)
				       ? CONTEXT_NO
				       : parts[i].access;
	/* Numbers of 32 bits, which may be read in parts. */
	return !write && size <= 4 ? CONTEXT_YES : CONTEXT_NO;
}

bool context_is_covered(uint32_t type)
{
	return has_row(type) || type == BPF_PROG_TYPE_SOCKET_FILTER;
}

enum context_access context_access(uint32_t type, int64_t off, unsigned int size, bool write)
{
	const struct context_row *row;

	if (type == BPF_PROG_TYPE_SOCKET_FILTER)
		return sk_buff_access(off, size, write);
	row = &rows[type];
	if (write || off < row->first || off + size > row->end || off % size)
		return CONTEXT_NO;
	return row->words && size != 8 && off < PERF_PERIOD ? CONTEXT_NO : CONTEXT_YES;
}
