/* SPDX-License-Identifier: MIT */
/*
 * What the files of the runtime share: the region around a run, slots, system calls. Not for
 * others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/region.h"
#include "vm/runtime/runtime.h"

/** struct rt_regs - struct pt_regs as eBPF programs see it; offsets in entry.h */
struct rt_regs {
	uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	uint64_t orig_ax, ip, cs, flags, sp, ss;
};

static inline const struct region_header *rt_header(const unsigned char *base)
{
	return (const void *)(base + REGION_TEXT);
}

static inline struct region_shared *rt_shared(unsigned char *base)
{
	return (void *)(base + REGION_SHARED);
}

static inline struct region_cache *rt_cache(unsigned char *base)
{
	return (void *)(base + REGION_CACHE);
}

static inline struct region_config *rt_config(unsigned char *base)
{
	return (void *)(base + REGION_CONFIG);
}

static inline struct region_counter *rt_counter(unsigned char *base, uint32_t slot,
						uint32_t counter)
{
	struct region_counter *counters = (void *)(base + REGION_SHARED + REGION_COUNTERS);

	return &counters[slot * REGION_ATTACH_MAX + counter % REGION_ATTACH_MAX];
}

/*
 * A system call with up to six arguments. The kernel clobbers rcx and r11 and keeps all else;
 * memory that @a..@f point to is read or written, hence the clobber.
 */
static inline long rt_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Without a libc: gcc may not turn these loops into calls of themselves (-fno-tree-loop-...). */
static inline void rt_copy(void *to, const void *from, size_t len)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	for (; len >= 8; len -= 8, t += 8, f += 8)
		*(uint64_t __attribute__((aligned(1), may_alias)) *)t =
			*(const uint64_t __attribute__((aligned(1), may_alias)) *)f;
	for (; len; len--)
		*t++ = *f++;
}

static inline void rt_zero(void *to, size_t len)
{
	unsigned char *t = to;

	for (; len >= 8; len -= 8, t += 8)
		*(uint64_t __attribute__((aligned(1), may_alias)) *)t = 0;
	for (; len; len--)
		*t++ = 0;
}

/**
 * rt_slot_claim() - own a CPU slot (slot.c)
 * @sp: caller's stack pointer, to recognise slots left behind by a jump out of a program
 *
 * Return: slot number, or -1 when none could be had in bounded time.
 */
int rt_slot_claim(unsigned char *base, uint64_t sp);
void rt_slot_release(unsigned char *base, uint32_t slot);

/** rt_returns_add() - remember where the function entered at @slot returns to (returns.c)
 *  Return: false when there is no room */
bool rt_returns_add(unsigned char *base, uint64_t slot, uint64_t address, uint64_t stub);
/** rt_returns_drop() - forget what is pending at a slot that holds another address by now */
void rt_returns_drop(unsigned char *base, uint64_t slot);
/** rt_returns_take() - newest entry of @slot, removed. Return: false when there is none. */
bool rt_returns_take(unsigned char *base, uint64_t slot, struct region_return *ret_entry);
