/* SPDX-License-Identifier: MIT */
/*
 * The kernel counts a tick when a processor gets to it, which is at multiples of the tick's length
 * or, when all slept, some microseconds later. So it is asked in the middle of one.
 */
#include "kernel-bridge/jiffies.h"

#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"

#define TRIES	  20
#define SLEEP_NS  1000000
#define NS_IN_SEC 1000000000ull

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_IN_SEC + (uint64_t)ts.tv_nsec;
}

static int load(void)
{
	const struct bpf_insn insns[] = {INSN_CALL(BPF_FUNC_jiffies64), INSN_EXIT()};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = ARRAY_SIZE(insns),
			       .license = (uintptr_t) "GPL"};

	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* The lower half of the count. */
static int ask(int fd, uint32_t *ret_jiffies)
{
	union bpf_attr attr = {.test.prog_fd = (uint32_t)fd};
	int r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	if (r >= 0)
		*ret_jiffies = attr.test.retval;
	return r < 0 ? r : 0;
}

int jiffies_find(uint32_t *ret_tick_ns, uint32_t *ret_at_zero)
{
	static const struct timespec nap = {.tv_nsec = SLEEP_NS};
	cleanup_fd int fd = load();
	struct timespec resolution;
	uint32_t tick, jiffies;
	int r;

	if (fd < 0)
		return fd;
	/* The coarse clock moves once a tick. */
	if (clock_getres(CLOCK_MONOTONIC_COARSE, &resolution) < 0 || resolution.tv_sec ||
	    resolution.tv_nsec <= 0)
		return -EOPNOTSUPP;
	tick = (uint32_t)resolution.tv_nsec;
	for (int i = 0; i < TRIES; i++) {
		uint64_t before = now(), after;

		r = ask(fd, &jiffies);
		if (r < 0)
			return r;
		after = now();
		if (before / tick == after / tick && before % tick > tick / 8) {
			*ret_tick_ns = tick;
			*ret_at_zero = jiffies - (uint32_t)(after / tick);
			return 0;
		}
		nanosleep(&nap, NULL);
	}
	return -EAGAIN;
}
