/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of ring.c: records in every way that a program can write them.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "ring.h"

#define EINVAL 22
#define EAGAIN 11
#define E2BIG  7

volatile struct ring_totals totals;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static __always_inline void fill(struct ring_event *event, __u64 thread, __u64 number, __u32 which,
				 __u32 kind)
{
	event->thread = (__u32)thread;
	event->number = number;
	event->which = which;
	event->kind = kind;
	event->fill = (__u32)(number % RING_FILL);
#pragma clang loop unroll(full)
	for (int i = 0; i < RING_FILL / 8; i++)
		event->words[i] = number;
}

static __always_inline void failed(__u32 kind)
{
	__sync_fetch_and_add(&totals.failed[kind], 1);
}

static __always_inline long output(const struct ring_event *event, __u64 flags)
{
	return bpf_ringbuf_output(&events, (void *)event, RING_HEAD + (event->number % RING_FILL),
				  flags);
}

/* ring_output(thread, number): as long as its number says */
SEC("uprobe")
int BPF_KPROBE(on_output, __u64 thread, __u64 number)
{
	struct ring_event event;
	long r;

	fill(&event, thread, number, 0, RING_OUTPUT);
	r = output(&event, number % 3 ? 0 : BPF_RB_FORCE_WAKEUP);
	if (r)
		failed(RING_OUTPUT);
	if (r && r != -EAGAIN)
		__sync_fetch_and_add(&totals.strange, 1);
	if (number % 512 == 0 && output(&event, 4) != -EINVAL)
		__sync_fetch_and_add(&totals.strange, 1);
	return 0;
}

/* ring_reserve(thread, number): every fourth is thrown away, unless all are to be kept */
SEC("uprobe")
int BPF_KPROBE(on_reserve, __u64 thread, __u64 number)
{
	struct ring_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		failed(RING_RESERVED);
		return 0;
	}
	fill(event, thread, number, 0, RING_RESERVED);
	if (number % 4 == 3 && !totals.keep) {
		bpf_ringbuf_discard(event, 0);
		__sync_fetch_and_add(&totals.discarded[RING_RESERVED], 1);
	} else {
		bpf_ringbuf_submit(event, 0);
	}
	return 0;
}

/* ring_pair(thread, number): two reserved ones, a third meanwhile, and given back the other way
 * round */
SEC("uprobe")
int BPF_KPROBE(on_pair, __u64 thread, __u64 number)
{
	struct ring_event *first, *second, between;

	first = bpf_ringbuf_reserve(&events, sizeof(*first), 0);
	if (!first)
		failed(RING_FIRST);
	second = bpf_ringbuf_reserve(&events, sizeof(*second), 0);
	if (!second)
		failed(RING_SECOND);
	fill(&between, thread, number, 2, RING_BETWEEN);
	if (output(&between, 0))
		failed(RING_BETWEEN);
	if (second) {
		fill(second, thread, number, 1, RING_SECOND);
		bpf_ringbuf_submit(second, 0);
	}
	if (first) {
		fill(first, thread, number, 0, RING_FIRST);
		bpf_ringbuf_submit(first, 0);
	}
	return 0;
}

/* How a dynptr answers to what is not in it. Its bytes are the event's, @size of them. */
static __always_inline bool answers_right(const struct bpf_dynptr *dynptr, __u32 size)
{
	__u64 word = 0;

	return bpf_dynptr_read(&word, 8, dynptr, size - 7, 0) == -E2BIG &&
	       bpf_dynptr_write(dynptr, size, &word, 1, 0) == -E2BIG &&
	       bpf_dynptr_write(dynptr, 0, &word, 1, 1) == -EINVAL &&
	       !bpf_dynptr_data(dynptr, size - 3, 4) &&
	       bpf_dynptr_read(&word, 4, dynptr, 0, 0) == 0;
}

/* ring_dynptr(thread, number): as long as its number says; every eighth is thrown away, unless all
 * are to be kept */
SEC("uprobe")
int BPF_KPROBE(on_dynptr, __u64 thread, __u64 number)
{
	__u32 size = RING_HEAD + (number % RING_FILL);
	struct ring_event event;
	struct bpf_dynptr dynptr;
	__u32 *kind;

	fill(&event, thread, number, 0, RING_OUTPUT);
	if (bpf_ringbuf_reserve_dynptr(&events, size, 0, &dynptr)) {
		failed(RING_DYNPTR);
		bpf_ringbuf_discard_dynptr(&dynptr, 0);
		return 0;
	}
	if (bpf_dynptr_write(&dynptr, 0, &event, RING_HEAD, 0) ||
	    bpf_dynptr_write(&dynptr, RING_HEAD, event.words, number % RING_FILL, 0))
		__sync_fetch_and_add(&totals.strange, 1);
	kind = bpf_dynptr_data(&dynptr, __builtin_offsetof(struct ring_event, kind), 4);
	if (kind)
		*kind = RING_DYNPTR;
	if (!answers_right(&dynptr, size))
		__sync_fetch_and_add(&totals.strange, 1);
	if (number % 8 == 3 && !totals.keep) {
		bpf_ringbuf_discard_dynptr(&dynptr, 0);
		__sync_fetch_and_add(&totals.discarded[RING_DYNPTR], 1);
	} else {
		bpf_ringbuf_submit_dynptr(&dynptr, 0);
	}
	return 0;
}

/* ring_query() */
SEC("uprobe")
int on_query(struct pt_regs *ctx)
{
	__u64 consumer = bpf_ringbuf_query(&events, BPF_RB_CONS_POS);
	__u64 producer = bpf_ringbuf_query(&events, BPF_RB_PROD_POS);
	__u64 avail = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	totals.size = bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);
	if (producer - consumer > totals.size || avail > totals.size ||
	    bpf_ringbuf_query(&events, 77))
		__sync_fetch_and_add(&totals.strange, 1);
	if (avail > totals.most)
		totals.most = avail;
	return 0;
}

char _license[] SEC("license") = "GPL";
