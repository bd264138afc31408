/* SPDX-License-Identifier: MIT */
/*
 * Idle stubs, and slots that nobody of the process owns.
 */
#include "shim/silence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/maps.h"
#include "shim/stub.h"
#include "shim/tracee.h"

/* Of a thread that has seen a stub's record and does not own a slot yet, nothing can be seen. */
#define ON_THE_WAY_MS 2

#define OWNER_NS_SHIFT	  20 /* struct region_slot */
#define OWNER_THREAD_MASK ((1ull << OWNER_NS_SHIFT) - 1)
#define OWNER_NS_MASK	  0xfffull
#define OWNER_PID_SHIFT	  32

int shim_silence(pid_t tid, int mem_fd)
{
	const struct tracee tracee = {.pid = tid, .mem_fd = mem_fd};
	struct maps maps;
	int r = maps_read(tid, &maps);

	if (r < 0)
		return r;
	r = stub_silence(&tracee, &maps);
	maps_deinit(&maps);
	return r;
}

/* What owner words of the process look like: its pid as it sees it itself, and its pid namespace.
 */
static int owner_of(pid_t tid, uint64_t *ret_owner)
{
	cleanup_free char *text = NULL;
	char path[40], *line, *end;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", tid);
	if (stat(path, &st) < 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return -ESRCH;
	line = strstr(text, "\nNStgid:");
	end = line ? strchr(line + 1, '\n') : NULL;
	if (!end)
		return -ESRCH;
	*end = '\0';
	line = strrchr(line, '\t');
	if (!line)
		return -ESRCH;
	*ret_owner = strtoull(line + 1, NULL, 10) << OWNER_PID_SHIFT | (st.st_ino & OWNER_NS_MASK)
									       << OWNER_NS_SHIFT;
	return 0;
}

static bool owns_slot(uint64_t owner, const struct region_slot *slots, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if ((__atomic_load_n(&slots[i].owner, __ATOMIC_ACQUIRE) & ~OWNER_THREAD_MASK) ==
		    owner)
			return true;
	return false;
}

int shim_wait_quiet(pid_t tid, const struct region_slot *slots, uint32_t cnt, int timeout_ms)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	uint64_t owner;
	int r = owner_of(tid, &owner);

	for (int ms = 0; r == 0 && (ms < ON_THE_WAY_MS || owns_slot(owner, slots, cnt)); ms++) {
		if (ms >= timeout_ms)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
	return r;
}
