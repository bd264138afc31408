/* SPDX-License-Identifier: MIT */
/*
 * Idle stubs, and slots that nobody of the process owns.
 */
#include "shim/silence.h"

#include <dirent.h>
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

#define RUN_NS 1000000ull /* on a processor: more than any hit takes that does not wait */

#define OWNER_NS_SHIFT	  20 /* struct region_slot */
#define OWNER_THREAD_MASK ((1ull << OWNER_NS_SHIFT) - 1)
#define OWNER_NS_MASK	  0xfffull
#define OWNER_PID_SHIFT	  32

int shim_silence(pid_t tid, int mem_fd, uint64_t *ret_base)
{
	const struct tracee tracee = {.pid = tid, .mem_fd = mem_fd};
	struct maps maps;
	int r = maps_read(tid, &maps);

	if (r < 0)
		return r;
	r = stub_silence(&tracee, &maps, ret_base);
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

/* A thread that may be in a hit. @ran: its time on processors when the process fell silent */
struct busy {
	pid_t tid;
	uint64_t ran;
};

static int read_task(pid_t pid, pid_t tid, const char *file, char **ret_text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	return read_file(AT_FDCWD, path, 4096, ret_text, NULL);
}

/* Nanoseconds on processors, or 0: not known. */
static uint64_t time_of(pid_t pid, pid_t tid)
{
	cleanup_free char *text = NULL;

	return read_task(pid, tid, "schedstat", &text) < 0 ? 0 : strtoull(text, NULL, 10);
}

/* Whether a thread has left the hit that it may have been in. */
static bool has_left(pid_t pid, const struct busy *busy, uint64_t base)
{
	cleanup_free char *text = NULL;
	char *last;
	uint64_t ip;

	if (read_task(pid, busy->tid, "syscall", &text) < 0)
		return true;
	if (strncmp(text, "running", 7) == 0)
		return time_of(pid, busy->tid) >= busy->ran + RUN_NS;
	/* It sleeps: the last number is where its own code goes on. */
	last = strrchr(text, ' ');
	ip = last ? strtoull(last + 1, NULL, 16) : base;
	return ip < base || ip >= base + REGION_SIZE;
}

/* All threads but the one that asks. Return: how many, or -errno. */
static int list_busy(pid_t tid, struct busy **ret_busy)
{
	cleanup_free struct busy *busy = NULL;
	struct dirent *entry;
	int cnt = 0, cap = 0;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", tid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	while (cnt >= 0 && (entry = readdir(dir))) {
		pid_t other = atoi(entry->d_name);
		struct busy *grown;

		if (other <= 0 || other == tid)
			continue;
		if (cnt == cap) {
			cap = cap ? cap * 2 : 64;
			grown = realloc(busy, (size_t)cap * sizeof(*grown));
			if (!grown) {
				cnt = -ENOMEM;
				break;
			}
			busy = grown;
		}
		busy[cnt++] = (struct busy){.tid = other, .ran = time_of(tid, other)};
	}
	closedir(dir);
	*ret_busy = take_ptr(&busy);
	return cnt;
}

/* Those that are left, in front. */
static int drop_quiet(pid_t tid, struct busy *busy, int cnt, uint64_t base)
{
	int left = 0;

	for (int i = 0; i < cnt; i++)
		if (!has_left(tid, &busy[i], base))
			busy[left++] = busy[i];
	return left;
}

int shim_wait_quiet(pid_t tid, uint64_t base, const struct region_slot *slots, uint32_t cnt,
		    int timeout_ms)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	cleanup_free struct busy *busy = NULL;
	uint64_t owner;
	int left, r = owner_of(tid, &owner);

	if (r < 0)
		return r;
	left = list_busy(tid, &busy);
	if (left < 0)
		return left;
	for (int ms = 0;; ms++) {
		left = drop_quiet(tid, busy, left, base);
		if (!left && !owns_slot(owner, slots, cnt))
			return 0;
		if (ms >= timeout_ms)
			return -ETIMEDOUT;
		nanosleep(&nap, NULL);
	}
}
