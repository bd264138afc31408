/* SPDX-License-Identifier: MIT */
/*
 * What the runtime's files share: places in the region, copying without libc, raw system calls.
 * Included by freestanding code: nothing here may need a library or writable globals.
 */
#pragma once

#include <asm/unistd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/runtime/runtime.h"

#define rt_load(p)	  __atomic_load_n((p), __ATOMIC_RELAXED)
#define rt_store(p, v)	  __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define rt_likely(x)	  __builtin_expect(!!(x), 1)
#define rt_unlikely(x)	  __builtin_expect(!!(x), 0)
#define rt_align8(x)	  (((uint64_t)(x) + 7) & ~7ull)
#define rt_inline	  static inline __attribute__((always_inline))
#define RT_PAGE		  4096ull
#define RT_NSEC_PER_SEC	  1000000000ull
#define RT_PTR(base, off) ((void *)((base) + (off)))

rt_inline const struct region_header *region_header(unsigned char *base)
{
	return RT_PTR(base, REGION_TEXT);
}

rt_inline struct region_shared *region_shared(unsigned char *base)
{
	return RT_PTR(base, REGION_SHARED);
}

rt_inline struct region_config *region_config(unsigned char *base)
{
	return RT_PTR(base, REGION_CONFIG);
}

rt_inline struct region_cache *region_cache(unsigned char *base)
{
	return RT_PTR(base, REGION_CACHE);
}

rt_inline struct region_counter *region_counter(unsigned char *base, uint32_t slot,
						uint32_t counter)
{
	struct region_counter *first = RT_PTR(base, REGION_SHARED + REGION_COUNTERS);

	return &first[(uint64_t)slot * REGION_ATTACH_MAX + counter % REGION_ATTACH_MAX];
}

/* The "=a" result is 0.. or -errno; the kernel changes rcx and r11 and nothing else. */
rt_inline long rt_syscall4(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

rt_inline long rt_syscall6(long nr, long a, long b, long c, long d, long e, long f)
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

/*
 * Memory of this process, wherever @address points: never a fault. The thread's own id is asked for
 * each time, because between vfork() and exec a process shares its memory but not its number.
 * Return: bytes read, or -errno.
 */
rt_inline long rt_vm_read(void *dst, uint64_t address, size_t len)
{
	uint64_t local[2] = {(uint64_t)dst, len}, remote[2] = {address, len};
	long tid = rt_syscall4(__NR_gettid, 0, 0, 0, 0);

	return rt_syscall6(__NR_process_vm_readv, tid, (long)local, 1, (long)remote, 1, 0);
}

rt_inline uint64_t rt_clock(int clock)
{
	uint64_t ts[2] = {0, 0};

	rt_syscall4(__NR_clock_gettime, clock, (long)ts, 0, 0);
	return ts[0] * RT_NSEC_PER_SEC + ts[1];
}

rt_inline uint64_t rt_monotonic(void)
{
	return rt_clock(1 /* CLOCK_MONOTONIC */);
}
