/* SPDX-License-Identifier: MIT */
/*
 * Reading the application's memory wherever a program points, without ever faulting: directly where
 * it is known to be mapped (read.h), and by process_vm_readv on the process itself elsewhere.
 */
#include <errno.h>

#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"
#include "vm/runtime/read.h"

#define PIECE 256u

/* Entries are written while no thread runs and never changed; the count comes last. */
uint64_t rt_steady_from(unsigned char *base, uint64_t address)
{
	const struct region_config *config = region_config(base);
	uint64_t cnt = __atomic_load_n(&config->steady_cnt, __ATOMIC_ACQUIRE);

	for (uint64_t i = 0; i < cnt && i < REGION_STEADY_MAX; i++) {
		const struct region_range *range = &config->steady[i];

		if (address - range->start < range->end - range->start)
			return range->end - address;
	}
	return 0;
}

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

/**
 * copy_string() - bytes up to a terminator, with it, each read once
 *
 * By words, and what a word holds behind the terminator is written as zeros, as the kernel does it
 * (mm/maccess.c and lib/strncpy_from_user.c, Linux 6.18).
 *
 * Return: length with the terminator, or 0: there is none in @len bytes, all of which are copied.
 */
static uint64_t copy_string(unsigned char *dst, const unsigned char *src, uint64_t len)
{
	const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
	uint64_t at = 0;

	for (; at + 8 <= len; at += 8) {
		uint64_t word = rt_get64(src + at);
		uint64_t zeros = (word - ones) & ~word & tops;

		if (zeros) {
			/* The lowest mark is that of a true zero. */
			unsigned bits = (unsigned)__builtin_ctzll(zeros) & ~7u;

			rt_put64(dst + at, bits ? word & (~0ull >> (64 - bits)) : 0);
			return at + bits / 8 + 1;
		}
		rt_put64(dst + at, word);
	}
	for (; at < len; at++) {
		uint8_t byte = rt_get8(src + at);

		*(volatile unsigned char *)(dst + at) = byte;
		if (!byte)
			return at + 1;
	}
	return 0;
}

/* How much can be copied without asking: whole words, unless it is all. */
rt_inline uint64_t direct_piece(const struct rt_run *run, uint64_t address, uint32_t want)
{
	uint64_t mapped = rt_mapped_from(run, address);

	return mapped >= want ? want : mapped & ~7ull;
}

/*
 * Memory that has to be asked for comes through a buffer of our own: what stands behind the
 * string's end is not for the program.
 * Return: length with the terminator.
 */
static uint64_t read_string(const struct rt_run *run, unsigned char *dst, uint32_t size,
			    uint64_t address)
{
	uint32_t done = 0;

	while (done < size) {
		uint64_t got = direct_piece(run, address + done, size - done), found;
		unsigned char piece[PIECE];

		if (got) {
			found = copy_string(dst + done, (void *)(address + done), got);
		} else {
			uint32_t want = size - done < PIECE ? size - done : PIECE;
			long read = read_any(run, piece, want, address + done);

			if (read <= 0) {
				rt_zero(dst, size);
				return (uint64_t)-EFAULT;
			}
			got = (uint64_t)read;
			found = copy_string(dst + done, piece, got);
		}
		if (found)
			return done + found;
		done += (uint32_t)got;
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
