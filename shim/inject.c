/* SPDX-License-Identifier: MIT */
/*
 * Mapping the region.
 */
#include "shim/inject.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "shim/region.h"
#include "shim/vdso.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define CALL(tracee, nr, ...)                                                                      \
	({                                                                                         \
		uint64_t call_args[6] = {__VA_ARGS__};                                             \
		int64_t call_ret;                                                                  \
		int call_r = tracee_syscall(tracee, nr, call_args, &call_ret);                     \
		call_r < 0 ? call_r : call_ret;                                                    \
	})

uint64_t inject_find(const struct shim_region *region, const struct maps *maps)
{
	struct stat st;

	if (fstat(region->segments[0].fd, &st) < 0)
		return 0;
	for (uint32_t i = 0; i < maps->cnt; i++) {
		const struct map_entry *entry = &maps->entries[i];

		if (entry->executable && !entry->writable && entry->offset == 0 &&
		    maps_is_file(maps, entry, st.st_dev, st.st_ino))
			return entry->start;
	}
	return 0;
}

/* What lies at a segment's place is still our reservation. */
static bool is_missing(const struct maps *maps, uint64_t address)
{
	const struct map_entry *entry = maps_find(maps, address);

	return !entry || (!entry->readable && !entry->ino);
}

static int map_file(struct tracee *tracee, const struct shim_plan *plan,
		    const struct shim_segment *segment, uint64_t address)
{
	int64_t fd = CALL(tracee, SYS_bpf, (uint64_t)plan->get_fd_cmd, segment->offset,
			  plan->get_fd_nonce);
	int64_t r;

	if (fd < 0)
		return (int)fd;
	r = CALL(tracee, SYS_mmap, address, segment->size, (uint64_t)segment->prot,
		 MAP_SHARED | MAP_FIXED, (uint64_t)fd, segment->file_offset);
	CALL(tracee, SYS_close, (uint64_t)fd);
	return r < 0 ? (int)r : 0;
}

static int map_private(struct tracee *tracee, const struct shim_segment *segment, uint64_t address)
{
	int64_t r = CALL(tracee, SYS_mmap, address, segment->size, (uint64_t)segment->prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, (uint64_t)-1, 0);

	if (r >= 0 && segment->wipe_on_fork)
		r = CALL(tracee, SYS_madvise, address, segment->size, MADV_WIPEONFORK);
	return r < 0 ? (int)r : 0;
}

static int map_segments(struct tracee *tracee, const struct shim_plan *plan,
			const struct maps *maps, uint64_t base, bool fresh)
{
	int r = 0;

	for (uint32_t i = 0; i < plan->region.segment_cnt && r == 0; i++) {
		const struct shim_segment *segment = &plan->region.segments[i];

		if (!fresh && !is_missing(maps, base + segment->offset))
			continue;
		r = segment->fd >= 0 ? map_file(tracee, plan, segment, base + segment->offset)
				     : map_private(tracee, segment, base + segment->offset);
	}
	return r;
}

static int write_facts(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		       uint64_t base, bool fresh)
{
	struct region_config config = {
		.version = REGION_VERSION,
		.clock_gettime = vdso_symbol(tracee, maps, "__vdso_clock_gettime"),
		.cgroup_id = plan->cgroup_id,
	};
	const uint64_t injected = 1;
	int r = 0;

	if (fresh)
		r = tracee_write(tracee, base + REGION_CONFIG, &config, sizeof(config));
	/* Also again: a child that inherited the region has lost it, and is now one that was asked
	 * for by itself. */
	if (r == 0)
		r = tracee_write(tracee,
				 base + REGION_CACHE + offsetof(struct region_cache, injected),
				 &injected, sizeof(injected));
	return r;
}

static int explain(int error, struct reason *reason)
{
	if (error == -ESRCH || error == -ERESTART)
		return error;
	if (error == -ENOMEM)
		return reason_set(reason, -EOPNOTSUPP,
				  "it has no room for the region (RLIMIT_AS or address space)");
	return reason_set(reason, -EOPNOTSUPP, "the region cannot be mapped there: %s",
			  strerrordesc_np(-error) ?: "an unknown error");
}

int inject_region(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		  uint64_t base, uint64_t *ret_base, struct reason *reason)
{
	bool fresh = !base;
	int64_t r = (int64_t)base;

	if (fresh)
		r = CALL(tracee, SYS_mmap, 0, REGION_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, (uint64_t)-1, 0);
	if (r < 0)
		return explain((int)r, reason);
	base = (uint64_t)r;
	r = map_segments(tracee, plan, maps, base, fresh);
	if (r == 0)
		r = write_facts(tracee, plan, maps, base, fresh);
	if (r < 0) {
		if (fresh)
			CALL(tracee, SYS_munmap, base, REGION_SIZE);
		return explain((int)r, reason);
	}
	if (fresh)
		/* Not into core files: a gigabyte of holes, and the tool's maps. */
		CALL(tracee, SYS_madvise, base, REGION_SIZE, MADV_DONTDUMP);
	*ret_base = base;
	return 0;
}

int inject_anonymous(struct tracee *tracee, uint64_t address, uint64_t size)
{
	int64_t r = CALL(tracee, SYS_mmap, address, size, PROT_READ | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
			 (uint64_t)-1, 0);

	return r < 0 ? (int)r : 0;
}
