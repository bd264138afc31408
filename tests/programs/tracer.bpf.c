/* SPDX-License-Identifier: MIT */
/*
 * The kernel half of tracer.c: counts what tests/programs/sample.c does, in every kind of map and
 * through every kind of user-space probe that the end-to-end tests compare with real root.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "tracer.h"

volatile struct tracer_totals totals;
volatile struct tracer_settings settings = {.report_below = 1};
const volatile struct tracer_constants constants = {.weight = 1};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

/* word -> calls */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, char[8]);
	__type(value, __u64);
} words SEC(".maps");

/* cookie -> hits; uprobes use 1 and 2, usdt probes 11 and 12 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} cookies SEC(".maps");

/* 0: calls, 1: sum of the numbers times the constant weight */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TRACER_INNER_SIZE);
	__type(key, __u32);
	__type(value, __u64);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, TRACER_INNERS);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {&inner_a, &inner_b}};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tails SEC(".maps");

static __always_inline void count(void *map, const void *key)
{
	__u64 zero = 0, *value = bpf_map_lookup_elem(map, key);

	if (!value) {
		bpf_map_update_elem(map, key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(map, key);
	}
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline void count_per_cpu(__u32 slot, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&per_cpu, &slot);

	if (value)
		*value += amount;
}

static __always_inline void count_inner(__u64 number)
{
	__u32 slot = number % TRACER_INNERS, sum = 0, mark = 1;
	void *map = bpf_map_lookup_elem(&outer, &slot);
	__u64 *value;

	if (!map)
		return;
	value = bpf_map_lookup_elem(map, &sum);
	if (value)
		__sync_fetch_and_add(value, number);
	value = bpf_map_lookup_elem(map, &mark);
	if (value)
		__sync_fetch_and_add(&totals.marks, *value);
}

static __always_inline void report(__u64 number, __u64 scale, const char *word)
{
	struct tracer_event *event;

	if (number >= settings.report_below)
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&totals.lost, 1);
		return;
	}
	event->number = number;
	event->scale = scale;
	__builtin_memcpy(event->word, word, sizeof(event->word));
	bpf_ringbuf_submit(event, 0);
}

SEC("uprobe")
int BPF_KPROBE(on_work, __u64 number, __u64 scale, const char *word)
{
	char text[8] = {};

	bpf_probe_read_user_str(text, sizeof(text), word);
	__sync_fetch_and_add(&totals.calls, 1);
	__sync_fetch_and_add(&totals.sum, number);
	count(&words, text);
	count_per_cpu(0, 1);
	count_per_cpu(1, number * constants.weight);
	count_inner(number);
	report(number, scale, text);
	bpf_tail_call(ctx, &tails, 0);
	__sync_fetch_and_add(&totals.tail_failures, 1);
	return 0;
}

SEC("uprobe")
int on_tail(struct pt_regs *ctx)
{
	__sync_fetch_and_add(&totals.tail_calls, 1);
	return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(on_return, __u64 value)
{
	__sync_fetch_and_add(&totals.returns, 1);
	__sync_fetch_and_add(&totals.returned, value);
	return 0;
}

SEC("uprobe")
int on_cookie(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	count(&cookies, &cookie);
	return 0;
}

SEC("usdt")
int on_usdt(struct pt_regs *ctx)
{
	__u64 cookie = bpf_usdt_cookie(ctx);
	long number = 0;

	if (bpf_usdt_arg(ctx, 0, &number) == 0 && number >= 0)
		count(&cookies, &cookie);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
