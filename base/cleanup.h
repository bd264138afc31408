/* SPDX-License-Identifier: MIT */
/*
 * Scope-bound ownership. A local that owns something carries one of these attributes and gives
 * it away only through take_fd() or take_ptr(), so every early return releases what it must.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a)		   (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, mem) ((type *)((char *)(p)-offsetof(type, mem)))

/**
 * close_fd() - close a file descriptor if there is one
 * @fd: descriptor or a negative value
 *
 * Return: -1, so that `x = close_fd(x)` leaves the variable empty. errno is preserved.
 */
int close_fd(int fd);

static inline void cleanup_fd_fn(int *fd)
{
	close_fd(*fd);
}

static inline void cleanup_free_fn(void *p)
{
	free(*(void **)p);
}

#define cleanup_fd   __attribute__((cleanup(cleanup_fd_fn)))
#define cleanup_free __attribute__((cleanup(cleanup_free_fn)))

static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

#define take_ptr(pp)                                                                               \
	({                                                                                         \
		__typeof__(*(pp)) take_ptr_r = *(pp);                                              \
		*(pp) = NULL;                                                                      \
		take_ptr_r;                                                                        \
	})
