/* SPDX-License-Identifier: MIT */
/*
 * The region of a tenant: its memory files and our own mapping of them.
 */
#include "notifier/uspace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "kernel-bridge/jiffies.h"
#include "notifier/call.h"
#include "notifier/tenant.h"
#include "notifier/uspace_targets.h"
#include "notifier/uspace_tier.h"
#include "vm/runtime/host.h"
#include "vm/runtime/image.h"

#define TIER_MS 20000 /* for the better code of one program, at a low priority */

/* A second, read-only descriptor: what a target is given must not be able to write. */
static int reopen_readonly(int fd)
{
	char path[32];
	int copy;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path, O_RDONLY | O_CLOEXEC);
	return copy < 0 ? -errno : copy;
}

/* Map @size bytes of @fd over our reservation. */
static int map_over(struct uspace *uspace, uint64_t offset, uint64_t size, int fd)
{
	void *at = mmap(uspace->base + offset, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			fd, 0);

	return at == MAP_FAILED ? -errno : 0;
}

/* Nobody writes to it: zeros for ever. */
static int make_void(struct uspace *uspace)
{
	cleanup_fd int fd = memfd_create("bpfshim-void", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fchmod(fd, 0400) < 0 || ftruncate(fd, REGION_ARRAYS_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	uspace->void_fd = reopen_readonly(fd);
	return uspace->void_fd < 0 ? uspace->void_fd : 0;
}

static int make_files(struct uspace *uspace)
{
	int code = memfd_create("bpfshim-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	uspace->code_rw_fd = code;
	uspace->shared_fd = memfd_create("bpfshim-maps", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (code < 0 || uspace->shared_fd < 0)
		return -errno;
	/* Memory files are born 0777: a target could open its own mapping again, writable. */
	if (fchmod(code, 0400) < 0 || fchmod(uspace->shared_fd, 0600) < 0)
		return -errno;
	if (ftruncate(code, REGION_CODE_FILE_SIZE) < 0 ||
	    ftruncate(uspace->shared_fd, REGION_SHARED_FILE_SIZE) < 0)
		return -errno;
	/* A target that shrank the file would make others fault. */
	if (fcntl(uspace->shared_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    fcntl(code, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	r = map_over(uspace, REGION_TEXT, REGION_CODE_FILE_SIZE, code);
	if (r == 0)
		r = map_over(uspace, REGION_SHARED, REGION_SHARED_FILE_SIZE, uspace->shared_fd);
	if (r < 0)
		return r;
	uspace->code_fd = reopen_readonly(code);
	return uspace->code_fd < 0 ? uspace->code_fd : make_void(uspace);
}

/* Filters of the tenant's first process, ours among them: every other process has at least these.
 */
static uint32_t count_filters(pid_t pid)
{
	cleanup_free char *text = NULL;
	unsigned int filters = 0;
	const char *line;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nSeccomp_filters:");
	if (line)
		sscanf(line, "\nSeccomp_filters: %u", &filters);
	return filters;
}

static int reserve(struct uspace *uspace)
{
	void *base = mmap(NULL, REGION_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	uspace->base = base;
	/* The runtime's own memory: ours says how long we wait for locks of maps. */
	return mprotect(uspace->base + REGION_CACHE, sizeof(struct region_cache),
			PROT_READ | PROT_WRITE) < 0
		       ? -errno
		       : 0;
}

/* The runtime becomes the region's text. */
static int fill_text(struct uspace *uspace, struct reason *reason)
{
	struct region_header *header = (void *)uspace->base;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint32_t tick_ns, at_zero;

	if (runtime_image_size > REGION_TEXT_SIZE)
		return -E2BIG;
	if (cpus < 1 || (uint64_t)cpus > REGION_RINGS_MAX || cpus > (long)REGION_SLOTS_MAX)
		return reason_set(reason, -EOPNOTSUPP,
				  "%ld possible CPUs: programs in traced processes have room for "
				  "%llu",
				  cpus, REGION_RINGS_MAX);
	memcpy(uspace->base, runtime_image, runtime_image_size);
	header->slots = (uint32_t)cpus;
	header->features = rt_cpu_features();
	if (jiffies_find(&tick_ns, &at_zero) < 0)
		log_notice("tenant=%s: the kernel's jiffies are not known: programs in traced "
			   "processes see 0",
			   uspace->tenant->name);
	else
		region_set_jiffies(header, tick_ns, at_zero);
	uspace->seccomp_filters = count_filters(uspace->tenant->pid);
	return 0;
}

int uspace_new(struct tenant *tenant, struct uspace **ret_uspace, struct reason *reason)
{
	struct uspace *uspace = calloc(1, sizeof(*uspace));
	int r;

	if (!uspace)
		return -ENOMEM;
	*uspace = (struct uspace){
		.tenant = tenant,
		.code_fd = -1,
		.code_rw_fd = -1,
		.void_fd = -1,
		.shared_fd = -1,
	};
	uspace_space_init(&uspace->code, REGION_CODE, REGION_CODE_SIZE, 64);
	uspace->code.is_code = true;
	uspace_space_init(&uspace->map_memory, REGION_MAPS, REGION_MAPS_SIZE, 4096);
	uspace_space_init(&uspace->arrays, REGION_ARRAYS, REGION_ARRAYS_SIZE, 4096);
	cache_init(&uspace->cache);
	list_init(&uspace->maps);
	list_init(&uspace->sites);
	list_init(&uspace->rings_busy);
	pthread_mutex_init(&uspace->lock, NULL);
	pthread_mutex_init(&uspace->apply, NULL);
	r = reserve(uspace);
	if (r == 0)
		r = make_files(uspace);
	if (r == 0)
		r = fill_text(uspace, reason);
	if (r == 0 && getrandom(&uspace->nonce, sizeof(uspace->nonce), 0) < 0)
		r = -errno;
	uspace->worker = tenant->worker;
	if (r == 0 && !uspace->worker)
		r = reason_set(reason, -ENOENT, "no bpfshim-worker");
	if (r == 0)
		r = tiers_new(uspace, tenant->worker_fd, TIER_MS, &uspace->tiers);
	if (r < 0) {
		uspace_free(uspace);
		return r;
	}
	*ret_uspace = uspace;
	return 0;
}

struct uspace *uspace_free(struct uspace *uspace)
{
	if (!uspace)
		return NULL;
	tiers_free(uspace->tiers);
	uspace_targets_deinit(uspace);
	uspace_events_stop(uspace);
	cache_deinit(&uspace->cache);
	uspace_space_deinit(&uspace->code);
	uspace_space_deinit(&uspace->map_memory);
	uspace_space_deinit(&uspace->arrays);
	close_fd(uspace->code_fd);
	close_fd(uspace->code_rw_fd);
	close_fd(uspace->shared_fd);
	close_fd(uspace->void_fd);
	if (uspace->base)
		munmap(uspace->base, REGION_SIZE);
	free(uspace);
	return NULL;
}
