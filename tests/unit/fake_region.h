/* SPDX-License-Identifier: MIT */
/*
 * A region in the test's own process: the runtime's image, one file for shared part and maps, and
 * the private pages. Stubs are called instead of jumped to: what they displaced is a jump to the
 * function that is "probed".
 */
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/region.h"
#include "vm/runtime/host.h"
#include "vm/runtime/image.h"
#include "vm/runtime/runtime.h"

#define FAKE_PAGE  4096
#define FAKE_SITES (REGION_CODE + 0x100000) /* sites, and stubs behind them */
#define FAKE_STUBS (REGION_CODE + 0x200000)

static inline void fake_check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static inline void fake_map(unsigned char *at, uint64_t size, int prot, int flags, int fd)
{
	void *p = mmap(at, size, prot, flags | MAP_FIXED, fd, 0);

	fake_check(p == at, "mmap of a part of the region");
}

static inline void fake_free(unsigned char *base)
{
	munmap(base, REGION_SIZE);
}

static inline unsigned char *fake_region(uint32_t slots)
{
	const int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
	unsigned char *base = mmap(NULL, REGION_SIZE, PROT_NONE, anon | MAP_NORESERVE, -1, 0);
	struct region_header *header = (void *)base;
	int fd = memfd_create("shared", MFD_CLOEXEC);

	fake_check(base != MAP_FAILED, "mmap of the region");
	fake_check(fd >= 0 && !ftruncate(fd, REGION_SHARED_FILE_SIZE), "memfd");
	fake_map(base, REGION_CODE_FILE_SIZE, rw | PROT_EXEC, anon | MAP_NORESERVE, -1);
	fake_map(base + REGION_SHARED, REGION_SHARED_FILE_SIZE, rw, MAP_SHARED, fd);
	fake_map(base + REGION_ARRAYS, REGION_ARRAYS_SIZE, rw, anon | MAP_NORESERVE, -1);
	fake_map(base + REGION_CONFIG, FAKE_PAGE, rw, anon, -1);
	fake_map(base + REGION_CACHE, FAKE_PAGE, rw, anon, -1);
	fake_map(base + REGION_SHADOW, REGION_SHADOW_SIZE, rw, anon, -1);
	fake_check(!madvise(base + REGION_CACHE, FAKE_PAGE, MADV_WIPEONFORK), "madvise");
	close(fd);
	memcpy(base, runtime_image, runtime_image_size);
	header->slots = slots;
	header->features = rt_cpu_features();
	((struct region_cache *)(base + REGION_CACHE))->injected = 1;
	return base;
}

static inline struct region_shared *fake_shared(unsigned char *base)
{
	return (void *)(base + REGION_SHARED);
}

/* What a counter adds up to over all slots. */
static inline struct region_counter fake_count(unsigned char *base, uint32_t counter)
{
	struct region_counter *all = (void *)(base + REGION_SHARED + REGION_COUNTERS);
	struct region_counter sum = {0};

	for (uint32_t slot = 0; slot < REGION_SLOTS_MAX; slot++) {
		sum.hits += all[slot * REGION_ATTACH_MAX + counter].hits;
		sum.missed += all[slot * REGION_ATTACH_MAX + counter].missed;
	}
	return sum;
}

static inline uint64_t fake_code(unsigned char *base, uint64_t (*prog)(void *, struct rt_run *))
{
	return (uint64_t)prog - (uint64_t)base;
}

/* Site number @nr with one attachment. */
static inline struct region_site *fake_site(unsigned char *base, uint32_t nr,
					    struct region_attach attach)
{
	struct region_site *site = (void *)(base + FAKE_SITES + nr * 256);

	site->cnt = 1;
	site->returns = attach.flags & REGION_ATTACH_RETURN ? 1 : 0;
	site->attach[0] = attach;
	return site;
}

/* Stub number @nr in front of @function. Return: what to call instead of it. */
static inline void *fake_stub(unsigned char *base, uint32_t nr, const struct region_site *site,
			      const void *function)
{
	static const unsigned char code[] = {
		0x48, 0x8d, 0x64, 0x24, 0x80,			/* lea -0x80(%rsp), %rsp */
		0xff, 0x15, 0xe5, 0xff, 0xff, 0xff,		/* call *enter(%rip) */
		0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00, /* lea 0x80(%rsp), %rsp */
		0xff, 0x25, 0x00, 0x00, 0x00, 0x00,		/* jmp *0(%rip) */
	};
	struct region_stub *stub = (void *)(base + FAKE_STUBS + nr * REGION_STUB_SIZE);

	stub->site = (uint64_t)site;
	stub->ip = (uint64_t)function;
	stub->enter = (uint64_t)base + ((struct region_header *)base)->enter;
	memcpy(stub->code, code, sizeof(code));
	memcpy(stub->code + sizeof(code), &function, sizeof(function));
	return stub->code;
}
