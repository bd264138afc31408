/* SPDX-License-Identifier: MIT */
/*
 * A tenant's region in the test's own process, with workers that are tests/programs/worker_stub.c:
 * for tests of what the daemon does with programs. Code that is put there can be called.
 */
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_tier.h"

static struct tenant fake_tenant = {.name = "test"};
static struct uspace uspace;
static int fake_worker_fd;

static inline void fake_uspace_init(int timeout_ms)
{
	const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;

	uspace = (struct uspace){.tenant = &fake_tenant,
				 .base = mmap(NULL, REGION_SIZE, rwx,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)};
	assert_ptr_not_equal(uspace.base, MAP_FAILED);
	pthread_mutex_init(&uspace.lock, NULL);
	pthread_mutex_init(&uspace.apply, NULL);
	list_init(&uspace.maps);
	list_init(&uspace.sites);
	cache_init(&uspace.cache);
	uspace_space_init(&uspace.code, REGION_CODE, REGION_CODE_SIZE, 64);
	((struct region_header *)(void *)uspace.base)->slots = 1;
	fake_worker_fd = open(BPFSHIM_PROGRAMS "/worker-stub", O_RDONLY | O_CLOEXEC);
	assert_true(fake_worker_fd >= 0);
	assert_int_equal(worker_new(fake_worker_fd, 0, &uspace.worker), 0);
	assert_int_equal(tiers_new(&uspace, fake_worker_fd, timeout_ms, &uspace.tiers), 0);
}

static inline void fake_uspace_deinit(void)
{
	uspace.tiers = tiers_free(uspace.tiers);
	worker_free(uspace.worker);
	cache_deinit(&uspace.cache);
	uspace_space_deinit(&uspace.code);
	munmap(uspace.base, REGION_SIZE);
	close_fd(fake_worker_fd);
}

/* The holder of the only reference knows that nobody is at it any more. */
static inline bool fake_is_done(const struct uspace_prog *prog)
{
	return __atomic_load_n(&prog->refs, __ATOMIC_ACQUIRE) == 1;
}

static inline bool fake_becomes_done(const struct uspace_prog *prog, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 200 && !fake_is_done(prog); i++)
		usleep(5000);
	return fake_is_done(prog);
}

/* Ask for better code, and wait until it is there, or will not come. Return: whether it is there.
 */
static inline bool fake_improve(struct uspace_prog *prog)
{
	tiers_want(uspace.tiers, prog);
	assert_true(fake_becomes_done(prog, 10));
	return __atomic_load_n(&prog->full, __ATOMIC_RELAXED);
}
