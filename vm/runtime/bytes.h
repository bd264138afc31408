/* SPDX-License-Identifier: MIT */
/*
 * Copying, comparing and hashing bytes, word by word: no libc, and a value whose words are written
 * whole is never seen torn within a word by other processes.
 */
#pragma once

#include "vm/runtime/internal.h"

/* Words at any alignment, read once: the other side of shared memory may change them meanwhile. */
struct rt_word64 {
	uint64_t v;
} __attribute__((packed, may_alias));
struct rt_word32 {
	uint32_t v;
} __attribute__((packed, may_alias));

rt_inline uint64_t rt_get64(const void *p)
{
	return ((const volatile struct rt_word64 *)p)->v;
}

rt_inline uint32_t rt_get32(const void *p)
{
	return ((const volatile struct rt_word32 *)p)->v;
}

rt_inline uint8_t rt_get8(const void *p)
{
	return *(const volatile uint8_t *)p;
}

rt_inline void rt_put64(void *p, uint64_t v)
{
	((volatile struct rt_word64 *)p)->v = v;
}

rt_inline void rt_copy(void *dst, const void *src, uint64_t len)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	for (; len >= 8; len -= 8, to += 8, from += 8)
		rt_put64(to, rt_get64(from));
	for (; len; len--, to++, from++)
		*(volatile unsigned char *)to = rt_get8(from);
}

rt_inline void rt_zero(void *dst, uint64_t len)
{
	unsigned char *to = dst;

	for (; len >= 8; len -= 8, to += 8)
		rt_put64(to, 0);
	for (; len; len--, to++)
		*(volatile unsigned char *)to = 0;
}

/* Up to 8 bytes as a number; for a fixed @len each number stands for other bytes. */
rt_inline uint64_t rt_get_upto8(const unsigned char *p, uint32_t len)
{
	if (len >= 8)
		return rt_get64(p);
	if (len >= 4)
		return rt_get32(p) | (uint64_t)rt_get32(p + len - 4) << 32;
	if (!len)
		return 0;
	return rt_get8(p) | (uint64_t)rt_get8(p + len / 2) << 8 |
	       (uint64_t)rt_get8(p + len - 1) << 16;
}

rt_inline bool rt_equal(const void *a, const void *b, uint32_t len)
{
	const unsigned char *x = a, *y = b;

	if (len <= 8)
		return rt_get_upto8(x, len) == rt_get_upto8(y, len);
	for (; len > 8; len -= 8, x += 8, y += 8) {
		if (rt_get64(x) != rt_get64(y))
			return false;
	}
	return rt_get64(x + len - 8) == rt_get64(y + len - 8);
}

rt_inline uint64_t rt_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd constants with bits everywhere: fractions of the golden ratio and of the root of 2. */
rt_inline uint32_t rt_hash(const void *key, uint32_t len, uint32_t seed)
{
	const uint64_t a = 0x9e3779b97f4a7c15ull, b = 0x6a09e667f3bcc909ull;
	const unsigned char *p = key;
	uint64_t hash = a ^ ((uint64_t)seed << 32 | len);
	uint64_t last;

	for (; len > 16; len -= 16, p += 16)
		hash = rt_mix(hash ^ rt_get64(p), a ^ rt_get64(p + 8));
	if (len > 8) {
		hash = rt_mix(hash ^ rt_get64(p), a);
		len -= 8;
		p += 8;
	}
	last = rt_get_upto8(p, len);
	hash = rt_mix(hash ^ last, b);
	return (uint32_t)(hash ^ hash >> 32);
}
