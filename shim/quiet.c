/* SPDX-License-Identifier: MIT */
/*
 * See quiet.h.
 */
#include "shim/quiet.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "shim/inject.h"
#include "shim/region.h"
#include "shim/tracee.h"

#define RED_ZONE   128u
#define STACK_MAX  (1u << 20) /* bytes of one stack */
#define STACKS_MAX 8	      /* of one thread: each signal may have brought another */
#define CHUNK	   4096u      /* words read at a time */

/*
 * Code and stack selectors of a thread of 64 bits as they stand in a signal's frame, behind rsp,
 * rip and the flags. Source: struct sigcontext_64, arch/x86/include/uapi/asm/sigcontext.h,
 * Linux 6.12.
 */
#define SELECTORS      0x002b000000000033ull
#define SELECTORS_MASK 0xffff00000000ffffull

/**
 * struct scan - one thread under examination
 * @base: of the region; @extents: ascending, @cnt of them
 * @stacks: stack pointers that are still to be followed
 */
struct scan {
	const struct tracee *tracee;
	const struct maps *maps;
	uint64_t base;
	const struct shim_extent *extents;
	uint32_t cnt;
	uint64_t stacks[STACKS_MAX];
	uint32_t stack_cnt;
};

static bool is_inside(const struct scan *scan, uint64_t word)
{
	const uint64_t at = word - scan->base;
	uint32_t low = 0, high = scan->cnt;

	if (at - REGION_STACKS < REGION_STACKS_SIZE)
		return true;
	if (at >= REGION_CODE_FILE_SIZE)
		return false;
	/* The last that begins there or in front of it. */
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (scan->extents[middle].at <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low && at - scan->extents[low - 1].at < scan->extents[low - 1].size;
}

/* Return: false when there are too many. */
static bool follow(struct scan *scan, uint64_t sp)
{
	for (uint32_t i = 0; i < scan->stack_cnt; i++)
		if (scan->stacks[i] == sp)
			return true;
	if (scan->stack_cnt == STACKS_MAX)
		return false;
	scan->stacks[scan->stack_cnt++] = sp;
	return true;
}

static bool words_are_quiet(struct scan *scan, const uint64_t *words, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++) {
		if (is_inside(scan, words[i]))
			return false;
		/* A signal's frame: it came when the stack pointer was this. */
		if ((words[i] & SELECTORS_MASK) == SELECTORS && i >= 3 &&
		    !follow(scan, words[i - 3]))
			return false;
	}
	return true;
}

static bool stack_is_quiet(struct scan *scan, uint64_t sp)
{
	const struct map_entry *entry = maps_find(scan->maps, sp);
	uint64_t words[CHUNK], at;

	/* What has no stack has nothing on it. */
	if (!entry || !entry->readable)
		return true;
	at = (sp - RED_ZONE) & ~7ull;
	if (at < entry->start)
		at = entry->start;
	if (entry->end - at > STACK_MAX)
		return false;
	while (at < entry->end) {
		const uint64_t left = entry->end - at;
		const size_t size = left < sizeof(words) ? (size_t)left : sizeof(words);

		if (tracee_read(scan->tracee, at, words, size) < 0 ||
		    !words_are_quiet(scan, words, (uint32_t)(size / sizeof(words[0]))))
			return false;
		if (left <= sizeof(words))
			break;
		/* A frame may stand across two pieces. */
		at += sizeof(words) - 3 * sizeof(words[0]);
	}
	return true;
}

/* Of one that no stop reaches only two registers are known. It sleeps in vfork(), or in a call that
 * waits for us; nobody comes to these from a program with a place of it in another register, but by
 * way of a signal, whose frame is on the stack. */
static bool thread_is_quiet(struct scan *scan, uint32_t index)
{
	const struct tracee_thread *thread = &scan->tracee->threads[index];
	uint64_t regs[sizeof(thread->regs) / sizeof(uint64_t)], ip, sp;

	if (!tracee_thread_place(scan->tracee, index, &ip, &sp) || is_inside(scan, ip) ||
	    is_inside(scan, sp))
		return false;
	memcpy(regs, &thread->regs, sizeof(regs));
	for (size_t i = 0; thread->stopped && i < ARRAY_SIZE(regs); i++)
		if (is_inside(scan, regs[i]))
			return false;
	scan->stack_cnt = 0;
	if (!follow(scan, sp))
		return false;
	for (uint32_t i = 0; i < scan->stack_cnt; i++)
		if (!stack_is_quiet(scan, scan->stacks[i]))
			return false;
	return true;
}

static bool threads_are_quiet(struct scan *scan)
{
	for (uint32_t i = 0; i < scan->tracee->cnt; i++)
		if (!thread_is_quiet(scan, i))
			return false;
	return true;
}

int shim_is_quiet(pid_t pid, const struct shim_region *region, const struct shim_extent *extents,
		  uint32_t cnt, int cgroup_fd, bool *ret_quiet, struct reason *reason)
{
	const struct tracee_how how = {.cgroup_fd = cgroup_fd, .armed_fd = -1};
	struct tracee tracee;
	struct maps maps;
	struct scan scan = {.tracee = &tracee, .maps = &maps, .extents = extents, .cnt = cnt};
	pid_t busy;
	int r = tracee_stop(pid, &how, &tracee, &busy, reason);

	if (r < 0)
		return r;
	r = maps_read(pid, &maps);
	if (r == 0) {
		scan.base = inject_find(region, &maps);
		*ret_quiet = !scan.base || threads_are_quiet(&scan);
		maps_deinit(&maps);
	}
	tracee_release(&tracee);
	return r;
}
