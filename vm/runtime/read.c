/* SPDX-License-Identifier: MIT */
/*
 * Reading the application's memory wherever a program points, without ever faulting: directly where
 * it is known to be mapped, from the stack pointer to the end of its page, and by process_vm_readv
 * on the process itself elsewhere.
 */
#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"
#include "vm/runtime/read.h"

#define PIECE 256u

/* A run without a target is one in the daemon, whose memory is not for programs. */
static long read_any(const struct rt_run *run, void *dst, uint32_t size, uint64_t address)
{
	return run->stack ? rt_vm_read(dst, address, size) : -EFAULT;
}

static uint64_t read_bytes(const struct rt_run *run, void *dst, uint32_t size, uint64_t address)
{
	if (rt_mapped_from(run, address) >= size) {
		rt_copy(dst, (const void *)address, size);
		return 0;
	}
	if (size && read_any(run, dst, size, address) != (long)size) {
		rt_zero(dst, size);
		return (uint64_t)-EFAULT;
	}
	return 0;
}

/* One piece of a string. Return: bytes of it that can be read, or <= 0. */
static long read_piece(const struct rt_run *run, unsigned char *dst, uint32_t size,
		       uint64_t address)
{
	uint64_t mapped = rt_mapped_from(run, address);

	if (!mapped)
		return read_any(run, dst, size, address);
	if (size > mapped)
		size = (uint32_t)mapped;
	rt_copy(dst, (const void *)address, size);
	return size;
}

/*
 * Through a buffer of our own: what stands behind the string's end is not for the program.
 * Return: length with the terminator.
 */
static uint64_t read_string(const struct rt_run *run, unsigned char *dst, uint32_t size,
			    uint64_t address)
{
	unsigned char piece[PIECE];
	uint32_t done = 0;

	while (done < size) {
		uint32_t want = size - done < PIECE ? size - done : PIECE;
		long got = read_piece(run, piece, want, address + done);

		if (got <= 0) {
			rt_zero(dst, size);
			return (uint64_t)-EFAULT;
		}
		for (long i = 0; i < got; i++, done++) {
			*(volatile unsigned char *)&dst[done] = piece[i];
			if (!piece[i])
				return done + 1;
		}
	}
	if (size)
		dst[size - 1] = 0;
	return size;
}

uint64_t rt_probe_read_user(RT_HELPER_ARGS)
{
	return read_bytes(run, (void *)r1, (uint32_t)r2, r3);
}

uint64_t rt_probe_read_user_str(RT_HELPER_ARGS)
{
	return read_string(run, (void *)r1, (uint32_t)r2, r3);
}

/* The kernel tells user memory from its own by the address; the latter cannot be read here. */
uint64_t rt_probe_read(RT_HELPER_ARGS)
{
	return read_bytes(run, (void *)r1, (uint32_t)r2, r3);
}

uint64_t rt_probe_read_str(RT_HELPER_ARGS)
{
	return read_string(run, (void *)r1, (uint32_t)r2, r3);
}
