/* SPDX-License-Identifier: MIT */
/*
 * A tracing program that starts a timer, whose callback would count the ticks in tasks of anybody.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct clock {
	struct bpf_timer timer;
	__u64 ticks;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
} clocks SEC(".maps");

static int tick(void *map, __u32 *key, struct clock *clock)
{
	clock->ticks++;
	return 0;
}

SEC("tp_btf/sys_enter")
int start(void *ctx)
{
	__u32 key = 0;
	struct clock *clock = bpf_map_lookup_elem(&clocks, &key);

	if (clock && bpf_timer_init(&clock->timer, &clocks, 1) == 0) {
		bpf_timer_set_callback(&clock->timer, tick);
		bpf_timer_start(&clock->timer, 100000, 0);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
