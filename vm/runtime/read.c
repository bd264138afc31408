/* SPDX-License-Identifier: MIT */
/*
 * Reading the target's memory without ever faulting in it.
 *
 * What lies between the stack pointer and the end of its page is mapped for sure and read directly.
 * All else is read by process_vm_readv() on ourselves, which reports a bad address instead of
 * raising a signal that the target might see.
 */
#include <linux/errno.h>
#include <sys/syscall.h>

#include "vm/runtime/helpers.h"
#include "vm/runtime/local.h"

#define PAGE	   4096ull
#define SIZE_LIMIT 0x7fffffffu

struct span {
	uint64_t base, len;
};

static bool on_stack_page(const struct rt_run *run, uint64_t from, uint64_t len)
{
	uint64_t end = (run->stack | (PAGE - 1)) + 1;

	return from >= run->stack && len <= end - run->stack && from <= end - len;
}

/* All of it or nothing counts. */
static bool read_all(const struct rt_run *run, void *to, uint64_t from, uint64_t len)
{
	struct span local = {(uint64_t)to, len}, remote = {from, len};

	if (on_stack_page(run, from, len)) {
		rt_copy(to, (const void *)from, len);
		return true;
	}
	/* By thread id: it names our own address space also in a child of vfork(). */
	return (uint64_t)rt_syscall(SYS_process_vm_readv, rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0),
				    (long)&local, 1, (long)&remote, 1, 0) == len;
}

/* copy_from_user_nofault(): what could not be read reads as zeros. */
static uint64_t probe_read(uint64_t to, uint64_t size, uint64_t from, const struct rt_run *run)
{
	if (!(uint32_t)size)
		return 0;
	if (read_all(run, (void *)to, from, (uint32_t)size))
		return 0;
	rt_zero((void *)to, (uint32_t)size);
	return (uint64_t)-EFAULT;
}

/* strncpy_from_user_nofault(): bytes with the terminator, which is there in any case. */
static uint64_t probe_read_str(uint64_t to, uint64_t size, uint64_t from, const struct rt_run *run)
{
	unsigned char *dst = (unsigned char *)to;
	uint32_t left = (uint32_t)size, done = 0;

	while (left) {
		/* Up to the end of a page: the string may end just before an unmapped one. */
		uint32_t chunk = (uint32_t)(PAGE - (from + done) % PAGE);

		if (chunk > left)
			chunk = left;
		/* Most strings are short: do not read a page to find that out. */
		if (chunk > 64 && done == 0)
			chunk = 64;
		if (!read_all(run, dst + done, from + done, chunk)) {
			rt_zero(dst, (uint32_t)size);
			return (uint64_t)-EFAULT;
		}
		for (uint32_t i = 0; i < chunk; i++) {
			if (dst[done + i])
				continue;
			/* Bytes behind the terminator that we read and the kernel would not. */
			rt_zero(dst + done + i, chunk - i);
			return done + i + 1;
		}
		done += chunk;
		left -= chunk;
	}
	if (!(uint32_t)size)
		return 0;
	dst[(uint32_t)size - 1] = 0;
	return (uint32_t)size;
}

#define READER(name, how)                                                                          \
	uint64_t rt_##name(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,        \
			   struct rt_run *run)                                                     \
	{                                                                                          \
		return how(r1, r2, r3, run);                                                       \
	}

READER(probe_read, probe_read)
READER(probe_read_user, probe_read)
READER(probe_read_str, probe_read_str)
READER(probe_read_user_str, probe_read_str)
