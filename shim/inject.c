/* SPDX-License-Identifier: MIT */
/*
 * Mapping the region.
 */
#include "shim/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/region.h"
#include "shim/vdso.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define PAGE 4096ull

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

enum place {
	PLACE_HOLE,
	PLACE_VOID, /* an array was there */
	PLACE_OURS,
	PLACE_FOREIGN,
};

static bool is_array(uint64_t offset)
{
	return offset - REGION_ARRAYS < REGION_ARRAYS_SIZE;
}

static bool is_void(const struct shim_region *region, const struct map_entry *entry)
{
	return !entry->shared && entry->ino && entry->ino == region->void_ino;
}

/* Whether nothing but the void is where an array belongs; some of it may be a hole. */
static enum place void_or_foreign(const struct shim_region *region, const struct maps *maps,
				  uint64_t address, uint64_t size)
{
	enum place place = PLACE_HOLE;

	for (uint32_t i = 0; i < maps->cnt; i++) {
		const struct map_entry *entry = &maps->entries[i];

		if (entry->end <= address || entry->start >= address + size)
			continue;
		if (!is_void(region, entry))
			return PLACE_FOREIGN;
		place = PLACE_VOID;
	}
	return place;
}

/* What the process has where a segment belongs. */
static enum place place_of(const struct shim_region *region, const struct maps *maps,
			   const struct shim_segment *segment, uint64_t address)
{
	const struct map_entry *entry = maps_find(maps, address);

	if (is_array(segment->offset) && (!entry || is_void(region, entry)))
		return void_or_foreign(region, maps, address, segment->size);
	if (!entry)
		return PLACE_HOLE;
	if (segment->fd < 0)
		return entry->shared || entry->ino ? PLACE_FOREIGN : PLACE_OURS;
	/* Pieces of one file that lie side by side are one mapping to the kernel. */
	return entry->shared && entry->ino == segment->ino &&
			       entry->offset + (address - entry->start) == segment->file_offset
		       ? PLACE_OURS
		       : PLACE_FOREIGN;
}

/* The file that the process was handed last, which several segments may be of. @segment: one of
 * them */
struct handed {
	int64_t fd;
	const struct shim_segment *segment;
};

static void take_back(struct tracee *tracee, struct handed *handed)
{
	if (handed->fd >= 0)
		CALL(tracee, SYS_close, (uint64_t)handed->fd);
	handed->fd = -1;
}

/* What is mapped of the arrays; false when it cannot be read. */
static bool read_arrays(const struct tracee *tracee, uint64_t base, struct region_config *config)
{
	return tracee_read(tracee, base + REGION_CONFIG, config, sizeof(*config)) == 0;
}

static void write_array(struct tracee *tracee, uint64_t base, uint32_t index,
			struct region_pages array)
{
	tracee_write(tracee,
		     base + REGION_CONFIG + offsetof(struct region_config, arrays) +
			     index * sizeof(array),
		     &array, sizeof(array));
}

/* Where there is no room for it, the array stays for ever. */
static void note_array(struct tracee *tracee, const struct shim_segment *segment, uint64_t base)
{
	struct region_config config;

	if (!is_array(segment->offset) || !read_arrays(tracee, base, &config))
		return;
	for (uint32_t i = 0; i < REGION_MAPPED_MAX; i++) {
		if (config.arrays[i].pages)
			continue;
		write_array(
			tracee, base, i,
			(struct region_pages){(uint32_t)((segment->offset - REGION_ARRAYS) / PAGE),
					      (uint32_t)(segment->size / PAGE)});
		return;
	}
}

static int map_file(struct tracee *tracee, const struct shim_plan *plan,
		    const struct shim_segment *segment, uint64_t address, enum place place,
		    struct handed *handed)
{
	const uint64_t fixed = place == PLACE_VOID ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	int64_t r;

	/* Maps of the kernel share one inode. */
	if (handed->fd < 0 || handed->segment->fd != segment->fd ||
	    handed->segment->ino != segment->ino) {
		take_back(tracee, handed);
		handed->segment = segment;
		handed->fd = CALL(tracee, SYS_bpf, (uint64_t)plan->get_fd_cmd, segment->offset,
				  plan->get_fd_nonce);
	}
	if (handed->fd < 0)
		return (int)handed->fd;
	r = CALL(tracee, SYS_mmap, address, segment->size, (uint64_t)segment->prot,
		 MAP_SHARED | fixed, (uint64_t)handed->fd, segment->file_offset);
	return r < 0 ? (int)r : 0;
}

static int map_private(struct tracee *tracee, const struct shim_segment *segment, uint64_t address)
{
	int64_t r = CALL(tracee, SYS_mmap, address, segment->size, (uint64_t)segment->prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
			 (uint64_t)-1, 0);

	if (r >= 0 && segment->wipe_on_fork) {
		r = CALL(tracee, SYS_madvise, address, segment->size, MADV_WIPEONFORK);
		if (r < 0)
			CALL(tracee, SYS_munmap, address, segment->size);
	}
	return r < 0 ? (int)r : 0;
}

/* Take away those of the first @cnt that were not there before. */
static void unmap_segments(struct tracee *tracee, const struct shim_region *region, uint32_t cnt,
			   const struct maps *maps, uint64_t base)
{
	for (uint32_t i = 0; i < cnt; i++) {
		const struct shim_segment *segment = &region->segments[i];

		if (place_of(region, maps, segment, base + segment->offset) == PLACE_HOLE)
			CALL(tracee, SYS_munmap, base + segment->offset, segment->size);
	}
}

/* All that is missing, or nothing. */
static int map_segments(struct tracee *tracee, const struct shim_plan *plan,
			const struct maps *maps, uint64_t base)
{
	struct handed handed = {.fd = -1};
	int r = 0;

	for (uint32_t i = 0; i < plan->region.segment_cnt; i++) {
		const struct shim_segment *segment = &plan->region.segments[i];
		uint64_t address = base + segment->offset;
		enum place place = place_of(&plan->region, maps, segment, address);

		if (place == PLACE_FOREIGN)
			r = -EEXIST;
		else if (place != PLACE_OURS)
			r = segment->fd >= 0
				    ? map_file(tracee, plan, segment, address, place, &handed)
				    : map_private(tracee, segment, address);
		if (r < 0) {
			unmap_segments(tracee, &plan->region, i, maps, base);
			break;
		}
	}
	take_back(tracee, &handed);
	return r;
}

/* Not into core files: they are the tool's maps. Where nothing is mapped the kernel goes on. */
static void leave_out_of_cores(struct tracee *tracee, const struct shim_region *region,
			       const struct maps *maps, uint64_t base, bool fresh)
{
	if (fresh)
		CALL(tracee, SYS_madvise, base, REGION_SIZE, MADV_DONTDUMP);
	for (uint32_t i = 0; i < region->segment_cnt && !fresh; i++) {
		const struct shim_segment *segment = &region->segments[i];

		if (place_of(region, maps, segment, base + segment->offset) < PLACE_OURS)
			CALL(tracee, SYS_madvise, base + segment->offset, segment->size,
			     MADV_DONTDUMP);
	}
}

/* Bytes that are missing. */
static uint64_t missing(const struct shim_region *region, const struct maps *maps, uint64_t base)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < region->segment_cnt; i++)
		if (place_of(region, maps, &region->segments[i],
			     base + region->segments[i].offset) == PLACE_HOLE)
			size += region->segments[i].size;
	return size;
}

/* A process that has set itself a limit counts on what it leaves. */
static int check_limit(pid_t pid, uint64_t size, struct reason *reason)
{
	cleanup_free char *text = NULL;
	struct rlimit limit;
	unsigned long pages;
	char path[40];

	if (prlimit(pid, RLIMIT_AS, NULL, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0 || sscanf(text, "%lu", &pages) != 1)
		return -ESRCH;
	if (limit.rlim_cur >= pages * PAGE + 2 * size)
		return 0;
	return reason_set(reason, -EOPNOTSUPP,
			  "the region needs %llu kB there, which is too much of what RLIMIT_AS "
			  "leaves it",
			  (unsigned long long)size / 1024);
}

/* Left 0 when there is none any more: the process finds out. */
static void find_pid_namespace(pid_t pid, struct region_config *config)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (stat(path, &st) < 0)
		return;
	config->pid_ns_dev = (uint64_t)major(st.st_dev) << 20 | minor(st.st_dev);
	config->pid_ns_ino = st.st_ino;
}

static int write_facts(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		       uint64_t base, bool fresh)
{
	struct region_config config = {
		.version = REGION_VERSION,
		.clock_gettime = vdso_symbol(tracee, maps, "__vdso_clock_gettime"),
		.cgroup_id = plan->cgroup_id,
	};
	const uint64_t mapped = base + REGION_CONFIG + offsetof(struct region_config, mapped);
	const uint64_t injected = 1;
	uint32_t before = 0;
	int r;

	find_pid_namespace(tracee->pid, &config);
	/* An older plan may come late. */
	if (fresh)
		r = tracee_write(tracee, base + REGION_CONFIG, &config, sizeof(config));
	else
		r = tracee_read(tracee, mapped, &before, sizeof(before));
	if (r == 0 && plan->region.mapped > before)
		r = tracee_write(tracee, mapped, &plan->region.mapped, sizeof(plan->region.mapped));
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
	if (error == -EEXIST)
		return reason_set(reason, -EOPNOTSUPP,
				  "memory of its own lies where the region belongs");
	return reason_set(reason, -EOPNOTSUPP, "the region cannot be mapped there: %s",
			  strerrordesc_np(-error) ?: "an unknown error");
}

int inject_region(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		  uint64_t base, uint64_t *ret_base, struct reason *reason)
{
	bool fresh = !base;
	uint64_t size;
	int r;

	if (fresh)
		base = maps_gap_far(maps, REGION_SIZE);
	if (!base)
		return explain(-ENOMEM, reason);
	size = missing(&plan->region, maps, base);
	r = size ? check_limit(tracee->pid, size, reason) : 0;
	if (r < 0)
		return r;
	r = map_segments(tracee, plan, maps, base);
	if (r == 0)
		r = write_facts(tracee, plan, maps, base, fresh);
	if (r < 0) {
		if (fresh)
			unmap_segments(tracee, &plan->region, plan->region.segment_cnt, maps, base);
		return explain(r, reason);
	}
	for (uint32_t i = 0; i < plan->region.segment_cnt; i++) {
		const struct shim_segment *segment = &plan->region.segments[i];

		if (place_of(&plan->region, maps, segment, base + segment->offset) < PLACE_OURS)
			note_array(tracee, segment, base);
	}
	leave_out_of_cores(tracee, &plan->region, maps, base, fresh);
	*ret_base = base;
	return 0;
}

/* Whether it is to go. An older plan may come late: it knows less than the process has. */
static bool is_unwanted(const struct shim_plan *plan, const struct region_config *config,
			const struct region_pages *array, bool all)
{
	const uint64_t offset = REGION_ARRAYS + array->page * PAGE;

	if (!array->pages || config->mapped > plan->region.mapped)
		return false;
	for (uint32_t i = 0; i < plan->region.segment_cnt && !all; i++)
		if (plan->region.segments[i].offset == offset)
			return false;
	return true;
}

bool inject_has_arrays(const struct tracee *tracee, const struct shim_plan *plan, uint64_t base,
		       bool all)
{
	struct region_config config;
	bool found = false;

	if (!plan->region.void_ino || !read_arrays(tracee, base, &config))
		return false;
	for (uint32_t i = 0; i < REGION_MAPPED_MAX && !found; i++)
		found = is_unwanted(plan, &config, &config.arrays[i], all);
	return found;
}

void inject_release(struct tracee *tracee, const struct shim_plan *plan, const struct maps *maps,
		    uint64_t base, bool all)
{
	struct region_config config;
	int64_t fd;

	if (!read_arrays(tracee, base, &config))
		return;
	fd = CALL(tracee, SYS_bpf, (uint64_t)plan->get_fd_cmd, REGION_SIZE, plan->get_fd_nonce);
	if (fd < 0)
		return;
	for (uint32_t i = 0; i < REGION_MAPPED_MAX; i++) {
		const struct region_pages *array = &config.arrays[i];
		const uint64_t offset = (uint64_t)array->page * PAGE, size = array->pages * PAGE;
		const uint64_t address = base + REGION_ARRAYS + offset;
		const struct map_entry *entry = maps_find(maps, address);

		if (!is_unwanted(plan, &config, array, all))
			continue;
		/* It is what was mapped there, or nothing of ours. */
		if (size <= REGION_ARRAYS_SIZE - offset && entry && entry->shared && entry->ino &&
		    entry->start == address && entry->end - address == size &&
		    CALL(tracee, SYS_mmap, address, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, (uint64_t)fd, offset) >= 0)
			CALL(tracee, SYS_madvise, address, size, MADV_DONTDUMP);
		write_array(tracee, base, i, (struct region_pages){0});
	}
	CALL(tracee, SYS_close, (uint64_t)fd);
}

int inject_anonymous(struct tracee *tracee, uint64_t address, uint64_t size)
{
	int64_t r = CALL(tracee, SYS_mmap, address, size, PROT_READ | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
			 (uint64_t)-1, 0);

	return r < 0 ? (int)r : 0;
}
