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
#define ANY_MAX	    65535      /* U16_MAX */

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

#define BIT(type)	(1ull << BPF_PROG_TYPE_##type)
#define TC		(BIT(SCHED_CLS) | BIT(SCHED_ACT))
#define SK_BUFF_TYPES	(TC | BIT(SOCKET_FILTER) | BIT(CGROUP_SKB))
#define FIELD_END(s, f) (offsetof(struct s, f) + sizeof(((struct s *)0)->f))
#define SPAN(from, to)	offsetof(struct __sk_buff, from), FIELD_END(__sk_buff, to)

/**
 * struct part - of struct __sk_buff that is more than a number of 32 bits for reading
 * @size: the only one there is; 0: four bytes, or less to read
 * @readers, @writers: bit per type of program
 */
struct part {
	uint32_t from, to;
	enum context_access access;
	uint32_t size;
	uint64_t readers, writers;
};

/* Source: bpf_skb_is_valid_access() and its callers, net/core/filter.c, Linux 6.12. */
static const struct part parts[] = {
	{SPAN(mark, mark), CONTEXT_YES, 0, SK_BUFF_TYPES, TC | BIT(CGROUP_SKB)},
	{SPAN(queue_mapping, queue_mapping), CONTEXT_YES, 0, SK_BUFF_TYPES, TC},
	{SPAN(priority, priority), CONTEXT_YES, 0, SK_BUFF_TYPES, TC | BIT(CGROUP_SKB)},
	{SPAN(tc_index, tc_index), CONTEXT_YES, 0, SK_BUFF_TYPES, TC},
	{SPAN(tc_classid, tc_classid), CONTEXT_YES, 0, TC, TC},
	{SPAN(data, data), CONTEXT_PACKET, 4, TC | BIT(CGROUP_SKB), 0},
	{SPAN(data_end, data_end), CONTEXT_PACKET_END, 4, TC | BIT(CGROUP_SKB), 0},
	{SPAN(family, family), CONTEXT_YES, 0, BIT(CGROUP_SKB), 0},
	{SPAN(remote_ip4, local_ip6), CONTEXT_YES, 4, BIT(CGROUP_SKB), 0},
	{SPAN(remote_port, local_port), CONTEXT_YES, 0, BIT(CGROUP_SKB), 0},
	{SPAN(data_meta, data_meta), CONTEXT_PACKET_META, 4, TC, 0},
	{SPAN(flow_keys, flow_keys), CONTEXT_NO, 0, 0, 0},
	{SPAN(tstamp, tstamp), CONTEXT_YES, 8, TC | BIT(CGROUP_SKB), TC | BIT(CGROUP_SKB)},
	{SPAN(wire_len, wire_len), CONTEXT_YES, 0, TC, 0},
	{SPAN(sk, sk), CONTEXT_POINTER, 8, SK_BUFF_TYPES, 0},
	{SPAN(tstamp_type, tstamp_type), CONTEXT_YES, 1, TC, 0},
	{FIELD_END(__sk_buff, tstamp_type), offsetof(struct __sk_buff, hwtstamp), CONTEXT_NO, 0, 0,
	 0},
	{SPAN(hwtstamp, hwtstamp), CONTEXT_YES, 8, TC | BIT(CGROUP_SKB), 0},
};

static enum context_access sk_buff_access(uint32_t type, int64_t off, unsigned int size, bool write)
{
	bool is_cb = off >= (int64_t)offsetof(struct __sk_buff, cb) &&
		     off < (int64_t)FIELD_END(__sk_buff, cb);

	if (off < 0 || off % size || off + size > (int64_t)sizeof(struct __sk_buff))
		return CONTEXT_NO;
	if (is_cb)
		return off + size <= (int64_t)FIELD_END(__sk_buff, cb) ? CONTEXT_YES : CONTEXT_NO;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct part *part = &parts[i];
		bool fits = part->size ? size == part->size : write ? size == 4 : size <= 4;

		if (off >= part->to || off + size <= part->from)
			continue;
		return fits && ((write ? part->writers : part->readers) >> type & 1) ? part->access
										     : CONTEXT_NO;
	}
	/* Numbers of 32 bits, which may be read in parts. */
	return !write && size <= 4 ? CONTEXT_YES : CONTEXT_NO;
}

/* Source: xdp_is_valid_access(), net/core/filter.c, Linux 6.12. */
static enum context_access xdp_access(uint32_t attach_type, int64_t off, unsigned int size,
				      bool write)
{
	if (write || size != 4 || off < 0 || off % 4 || off + 4 > (int64_t)sizeof(struct xdp_md))
		return CONTEXT_NO;
	switch (off) {
	case offsetof(struct xdp_md, data):
		return CONTEXT_PACKET;
	case offsetof(struct xdp_md, data_end):
		return CONTEXT_PACKET_END;
	case offsetof(struct xdp_md, data_meta):
		return CONTEXT_PACKET_META;
	case offsetof(struct xdp_md, egress_ifindex):
		return attach_type == BPF_XDP_DEVMAP ? CONTEXT_YES : CONTEXT_NO;
	default:
		return CONTEXT_YES;
	}
}

static bool is_sk_buff(uint32_t type)
{
	return type < 64 && (SK_BUFF_TYPES >> type & 1);
}

bool context_is_memory(uint32_t type)
{
	return type == BPF_PROG_TYPE_SYSCALL;
}

bool context_is_covered(uint32_t type)
{
	return has_row(type) || is_sk_buff(type) || type == BPF_PROG_TYPE_XDP ||
	       context_is_memory(type);
}

enum context_access context_access(const struct verifier_prog *prog, int64_t off, unsigned int size,
				   bool write)
{
	const struct context_row *row;

	if (is_sk_buff(prog->type))
		return sk_buff_access(prog->type, off, size, write);
	if (prog->type == BPF_PROG_TYPE_XDP)
		return xdp_access(prog->attach_type, off, size, write);
	/* How much there is is looked at when the program runs. Source:
	 * syscall_prog_is_valid_access(), kernel/bpf/syscall.c, Linux 6.12. */
	if (context_is_memory(prog->type))
		return off < 0 || off >= ANY_MAX || off % size ? CONTEXT_NO : CONTEXT_YES;
	row = &rows[prog->type];
	if (write || off < row->first || off + size > row->end || off % size)
		return CONTEXT_NO;
	return row->words && size != 8 && off < PERF_PERIOD ? CONTEXT_NO : CONTEXT_YES;
}

bool context_packet_is_writable(uint32_t type)
{
	return type == BPF_PROG_TYPE_XDP || (type < 64 && (TC >> type & 1));
}

bool context_has_packet_loads(uint32_t type)
{
	return type < 64 && ((TC | BIT(SOCKET_FILTER)) >> type & 1);
}
