/* SPDX-License-Identifier: MIT */
/*
 * Memory, descriptors and pids of a waiting caller. Paths are in guest_path.c.
 */
#include "notifier/guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/feature.h"
#include "base/sys.h"

#define PAGE 4096u

void guest_init(struct guest *guest, int listener, uint64_t id, pid_t tid)
{
	*guest = (struct guest){
		.listener = listener, .id = id, .tid = tid, .pidfd = -1, .mem_fd = -1};
}

void guest_deinit(struct guest *guest)
{
	guest->pidfd = close_fd(guest->pidfd);
	guest->mem_fd = close_fd(guest->mem_fd);
}

bool guest_valid(const struct guest *guest)
{
	uint64_t id = guest->id;

	return ioctl(guest->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int guest_read(struct guest *guest, uint64_t addr, void *buf, size_t len)
{
	if (len == 0)
		return 0;
	return sys_process_read(guest->tid, addr, buf, len) == (ssize_t)len ? 0 : -EFAULT;
}

ssize_t guest_read_string(struct guest *guest, uint64_t addr, char *buf, size_t size)
{
	size_t used = 0;

	/* Page by page: the string may end just before an unmapped page. */
	while (used < size) {
		size_t chunk = PAGE - (addr + used) % PAGE;
		char *nul;

		if (chunk > size - used)
			chunk = size - used;
		if (sys_process_read(guest->tid, addr + used, buf + used, chunk) != (ssize_t)chunk)
			return -EFAULT;
		nul = memchr(buf + used, '\0', chunk);
		if (nul)
			return nul - buf;
		used += chunk;
	}
	return -ENAMETOOLONG;
}

/* Advance @addr over the writable mappings of @maps from there up to @end, by reading the text. */
static uint64_t writable_until_text(int maps_fd, uint64_t addr, uint64_t end)
{
	FILE *maps = fdopen(dup(maps_fd), "r");
	char line[512];

	while (maps && addr < end && fgets(line, sizeof(line), maps)) {
		uint64_t from, to;
		char perms[5];

		if (!strchr(line, '\n')) {
			int c;

			while ((c = getc(maps)) != EOF && c != '\n')
				;
		}
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, perms) != 3)
			break;
		if (to <= addr)
			continue;
		if (from > addr || perms[1] != 'w')
			break;
		addr = to;
	}
	if (maps)
		fclose(maps);
	return addr;
}

/*
 * /proc/PID/mem writes through read-only mappings (FOLL_FORCE), copy_to_user() does not, so the
 * mapping is looked up first. That check can be raced by the guest, which then writes to its own
 * private page: no right is gained.
 */
static bool guest_range_writable(struct guest *guest, uint64_t addr, size_t len)
{
	uint64_t end = addr + len;
	cleanup_fd int maps = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", guest->tid);
	maps = open(path, O_RDONLY | O_CLOEXEC);
	if (maps < 0)
		return false;
	if (!feature_has(FEATURE_PROCMAP_QUERY))
		return writable_until_text(maps, addr, end) >= end;
	while (addr < end) {
		struct procmap_query_abi query = {.size = sizeof(query), .query_addr = addr};

		/* Fails where nothing is mapped. */
		if (ioctl(maps, PROCMAP_QUERY_ABI, &query) < 0 ||
		    !(query.vma_flags & PROCMAP_WRITABLE))
			return false;
		addr = query.vma_end;
	}
	return true;
}

int guest_zero(struct guest *guest, uint64_t addr, size_t len)
{
	unsigned char bytes[512];

	while (len) {
		size_t chunk = len < sizeof(bytes) ? len : sizeof(bytes);
		int r = guest_read(guest, addr, bytes, chunk);

		if (r < 0)
			return r;
		for (size_t i = 0; i < chunk; i++)
			if (bytes[i])
				return -E2BIG;
		addr += chunk;
		len -= chunk;
	}
	return 0;
}

int guest_write(struct guest *guest, uint64_t addr, const void *buf, size_t len)
{
	char path[32];

	if (len == 0)
		return 0;
	if (addr + len < addr)
		return -EFAULT;
	if (guest->mem_fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/mem", guest->tid);
		guest->mem_fd = open(path, O_RDWR | O_CLOEXEC);
		if (guest->mem_fd < 0)
			return -ESRCH;
	}
	/* The descriptor pins the address space; that it is the caller's is known only now. */
	if (!guest_valid(guest))
		return -ESRCH;
	if (!guest_range_writable(guest, addr, len))
		return -EFAULT;
	return pwrite(guest->mem_fd, buf, len, (off_t)addr) == (ssize_t)len ? 0 : -EFAULT;
}

static pid_t tgid_of(pid_t tid)
{
	cleanup_free char *text = NULL;
	const char *line;
	char path[40];
	int tgid;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(AT_FDCWD, path, 16384, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nTgid:");
	return line && sscanf(line, "\nTgid: %d", &tgid) == 1 ? tgid : 0;
}

pid_t guest_tgid(const struct guest *guest)
{
	return tgid_of(guest->tid);
}

/* The descriptor table belongs to the thread, not to the process: threads may have unshared it. */
static int guest_open_pidfd(pid_t tid)
{
	int tgid;

	if (feature_has(FEATURE_PIDFD_THREAD))
		return sys_pidfd_open(tid, PIDFD_THREAD);
	/* A pidfd names a process; accept it only if it shares the caller's table. */
	tgid = tgid_of(tid);
	if (!tgid)
		return -ESRCH;
	if (tgid != tid && sys_kcmp_files(tgid, tid) != 0)
		return -EBADF;
	return sys_pidfd_open(tgid, 0);
}

int guest_get_fd(struct guest *guest, int fd)
{
	if (fd < 0)
		return -EBADF;
	if (guest->pidfd < 0) {
		int pidfd = guest_open_pidfd(guest->tid);

		if (pidfd < 0)
			return pidfd == -EBADF || pidfd == -EMFILE ? pidfd : -ESRCH;
		guest->pidfd = pidfd;
		if (!guest_valid(guest))
			return -ESRCH;
	}
	return sys_pidfd_getfd(guest->pidfd, fd);
}

/* Number of a process in the innermost pid namespace it is visible in. */
static pid_t innermost_pid(const char *host_pid)
{
	cleanup_free char *text = NULL;
	char path[280], *line, *last;

	snprintf(path, sizeof(path), "/proc/%s/status", host_pid);
	if (read_file(AT_FDCWD, path, 16384, &text, NULL) < 0)
		return -ESRCH;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return -ESRCH;
	line[1 + strcspn(line + 1, "\n")] = '\0';
	last = strrchr(line, '\t');
	return last ? atoi(last + 1) : -ESRCH;
}

/* Without the ioctl: search the processes that our /proc shows. */
static pid_t guest_pid_search(int ns_fd, pid_t pid)
{
	struct dirent *entry;
	struct stat own, other;
	pid_t found = -ESRCH;
	char path[280];
	DIR *proc;

	if (fstat(ns_fd, &own) < 0)
		return -ESRCH;
	proc = opendir("/proc");
	while (proc && found < 0 && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/ns/pid", entry->d_name);
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && stat(path, &other) == 0 &&
		    own.st_ino == other.st_ino && own.st_dev == other.st_dev &&
		    innermost_pid(entry->d_name) == pid)
			found = atoi(entry->d_name);
	}
	if (proc)
		closedir(proc);
	return found;
}

pid_t guest_pid_to_host(struct guest *guest, pid_t pid)
{
	cleanup_fd int ns_fd = -1;
	char path[40];
	int host;

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", guest->tid);
	ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ns_fd < 0)
		return -ESRCH;
	if (!feature_has(FEATURE_NS_GET_PID))
		return guest_pid_search(ns_fd, pid);
	host = ioctl(ns_fd, NS_GET_PID_FROM_PIDNS, pid);
	return host > 0 ? host : -ESRCH;
}
