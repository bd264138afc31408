/* SPDX-License-Identifier: MIT */
/*
 * The four functions a compiler may call on its own even in freestanding code. Only part of the
 * image; built without the loop recognition that would turn their bodies into calls of themselves.
 */
#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t len);
void *memmove(void *dst, const void *src, size_t len);
void *memset(void *dst, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

void *memcpy(void *restrict dst, const void *restrict src, size_t len)
{
	return memmove(dst, src, len);
}

void *memmove(void *dst, const void *src, size_t len)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	if (to <= from || to >= from + len) {
		for (size_t i = 0; i < len; i++)
			to[i] = from[i];
	} else {
		for (size_t i = len; i > 0; i--)
			to[i - 1] = from[i - 1];
	}
	return dst;
}

void *memset(void *dst, int byte, size_t len)
{
	unsigned char *to = dst;

	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)byte;
	return dst;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < len; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}
