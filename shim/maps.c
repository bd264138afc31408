/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/maps and map_files.
 */
#include "shim/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/targets.h"

#define TEXT_MAX (64u << 20)
#define NEAR_MAX                                                                                   \
	0x7ff00000ull	     /* reach of a 32-bit displacement, with room for the module itself    \
			      */
#define LOWEST	  0x10000ull /* mmap_min_addr */
#define HIGHEST	  0x7fffffff0000ull
#define PAGE_MASK 0xfffull
/* Distance from the next mapping above; the kernel fills addresses from there downwards. */
#define FAR_AWAY 0x4000000000ull  /* 256 GiB */
#define ENOUGH	 0x10000000000ull /* 1 TiB: a gap to look no further */

static enum unwinder unwinder_of(const char *path)
{
	static const struct {
		const char *name;
		enum unwinder unwinder;
	} names[] = {
		{"/libgcc_s", UNWINDER_GCC},
		{"/libstdc++", UNWINDER_USER},
		{"/libc++abi", UNWINDER_USER},
		{"/libunwind", UNWINDER_OTHER},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strstr(path, names[i].name))
			return names[i].unwinder;
	return UNWINDER_NONE;
}

static bool is_libc(const char *path)
{
	static const char *const names[] = {"/ld-linux", "/ld-musl", "/ld-2.",
					    "/libc.so",	 "/libc-2.", "/libc.musl"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strstr(path, names[i]))
			return true;
	return false;
}

static int add_line(struct maps *maps, uint32_t *cap, const char *line)
{
	struct map_entry entry = {0};
	char perms[5];
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*x:%*x %lu %n", &entry.start,
		   &entry.end, perms, &entry.offset, &entry.ino, &at) < 5)
		return 0;
	entry.readable = perms[0] == 'r';
	entry.writable = perms[1] == 'w';
	entry.executable = perms[2] == 'x';
	entry.shared = perms[3] == 's';
	if (at) {
		entry.vdso = strncmp(line + at, "[vdso]", 6) == 0;
		entry.stack = strncmp(line + at, "[stack]", 7) == 0;
		entry.libc = is_libc(line + at);
		entry.unwinder = unwinder_of(line + at);
	}
	if (maps->cnt == *cap) {
		struct map_entry *grown;

		*cap = *cap ? *cap * 2 : 64;
		grown = realloc(maps->entries, *cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		maps->entries = grown;
	}
	maps->entries[maps->cnt++] = entry;
	return 0;
}

static int read_thread(pid_t pid, struct maps *ret_maps)
{
	struct maps maps = {.pid = pid};
	cleanup_free char *text = NULL;
	uint32_t cap = 0;
	char path[40], *line, *next;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	r = read_file(AT_FDCWD, path, TEXT_MAX, &text, NULL);
	if (r < 0)
		return r == -EFBIG || r == -ENOMEM ? r : -ESRCH;
	for (line = text; *line && r == 0; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		r = add_line(&maps, &cap, line);
	}
	if (r == 0 && !maps.cnt)
		r = -ESRCH;
	if (r < 0) {
		free(maps.entries);
		return r;
	}
	*ret_maps = maps;
	return 0;
}

int maps_read(pid_t pid, struct maps *ret_maps)
{
	int r = read_thread(pid, ret_maps);
	pid_t living = r == -ESRCH ? targets_living(pid) : pid;

	return living && living != pid ? read_thread(living, ret_maps) : r;
}

void maps_deinit(struct maps *maps)
{
	free(maps->entries);
	*maps = (struct maps){0};
}

bool maps_is_file(const struct maps *maps, const struct map_entry *entry, dev_t dev, ino_t ino)
{
	struct stat st;
	char path[80];

	if (entry->ino != ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, maps->pid,
		 entry->start, entry->end);
	return stat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

uint64_t maps_at(const struct maps *maps, uint32_t index, uint64_t offset)
{
	const struct map_entry *entry = &maps->entries[index];

	if (!entry->executable || entry->shared || offset < entry->offset ||
	    offset - entry->offset >= entry->end - entry->start)
		return 0;
	return entry->start + (offset - entry->offset);
}

const struct map_entry *maps_find(const struct maps *maps, uint64_t address)
{
	for (uint32_t i = 0; i < maps->cnt; i++)
		if (address >= maps->entries[i].start && address < maps->entries[i].end)
			return &maps->entries[i];
	return NULL;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

uint64_t maps_gap_near(const struct maps *maps, uint64_t address, uint64_t size)
{
	uint64_t best = 0;

	/* A page is left on either side: what grows downwards must not run into ours. */
	for (uint32_t i = 0; i <= maps->cnt; i++) {
		uint64_t from = i ? maps->entries[i - 1].end + PAGE_MASK + 1 : LOWEST;
		uint64_t to = i < maps->cnt ? maps->entries[i].start : HIGHEST;
		uint64_t at;

		if (to < from + size + PAGE_MASK + 1)
			continue;
		at = to - size - PAGE_MASK - 1;
		if (from > address)
			at = from;
		if (distance(at, address) < NEAR_MAX &&
		    (!best || distance(at, address) < distance(best, address)))
			best = at;
	}
	return best;
}

uint64_t maps_gap_far(const struct maps *maps, uint64_t size)
{
	uint64_t from = 0, to = 0;

	/* The highest that is large, else the largest: sanitizers take low addresses for
	 * themselves. Not the one that the stack grows into. */
	for (uint32_t i = 0; i < maps->cnt; i++) {
		uint64_t start = i ? maps->entries[i - 1].end : LOWEST;
		uint64_t end = maps->entries[i].start;

		if (end <= start || end > HIGHEST || maps->entries[i].stack)
			continue;
		if (end - start >= ENOUGH || end - start > to - from) {
			from = start;
			to = end;
		}
	}
	if (to - from < 4 * size)
		return 0;
	/* In the middle of a small one. */
	if (to - from < 2 * FAR_AWAY)
		return (from + (to - from) / 2 - size / 2) & ~PAGE_MASK;
	return (to - FAR_AWAY - size) & ~PAGE_MASK;
}
