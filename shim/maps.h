/* SPDX-License-Identifier: MIT */
/*
 * Memory mappings of a process, read once from /proc/PID/maps.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** enum unwinder - what exceptions pass through */
enum unwinder {
	UNWINDER_NONE,
	UNWINDER_GCC,	/* libgcc_s */
	UNWINDER_USER,	/* a language's library that needs one: libstdc++, libc++abi */
	UNWINDER_OTHER, /* LLVM's, or nongnu.org's */
};

/**
 * struct map_entry - one mapping
 * @ino: 0 for anonymous memory
 * @stack: of the first thread
 * @libc: named like a C library or its loader, which proves nothing
 */
struct map_entry {
	uint64_t start, end, offset;
	ino_t ino;
	bool readable, writable, executable, shared;
	bool vdso, stack, libc;
	enum unwinder unwinder;
};

/** struct maps - ascending; @entries owned; @pid: process, or a thread of it that has not ended */
struct maps {
	pid_t pid;
	struct map_entry *entries;
	uint32_t cnt;
};

/** maps_read() - Return: 0, -ESRCH (also for a zombie, which has none), -EFBIG, -ENOMEM. */
int maps_read(pid_t pid, struct maps *ret_maps);
void maps_deinit(struct maps *maps);

/** maps_is_file() - whether a mapping is of the file; the text of maps shows another device for
 * overlay and btrfs files, so the mapped file itself is asked */
bool maps_is_file(const struct maps *maps, const struct map_entry *entry, dev_t dev, ino_t ino);

/** maps_at() - where mapping @index has byte @offset of its file, if it is private code; else 0 */
uint64_t maps_at(const struct maps *maps, uint32_t index, uint64_t offset);

/** maps_find() - mapping that holds @address, or NULL */
const struct map_entry *maps_find(const struct maps *maps, uint64_t address);

/** maps_gap_far() - @size bytes that nobody comes to by himself: far from what there is, from where
 * the kernel puts new mappings, and from what grows; 0 for none. Page-aligned. */
uint64_t maps_gap_far(const struct maps *maps, uint64_t size);

/** maps_gap_near() - @size free bytes near @address, below it if possible; 0 for none within
 *  2 GiB. Page-aligned. */
uint64_t maps_gap_near(const struct maps *maps, uint64_t address, uint64_t size);
