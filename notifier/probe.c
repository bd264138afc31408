/* SPDX-License-Identifier: MIT */
/*
 * Files and processes a kernel uprobe may touch.
 */
#include "notifier/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel-bridge/sdt.h"
#include "notifier/call.h"
#include "notifier/control.h"
#include "notifier/file_name.h"
#include "notifier/uspace.h"
#include "notifier/uspace_targets.h"
#include "shim/maps.h"

#define JUMP_SIZE 5u

static int check_file(struct call *call, const struct probe_file *file)
{
	const struct policy *policy = call->tenant->policy;
	const char *path = NULL;
	struct file_name name;

	/* Not without need: the tenant chooses where on the host this looks. */
	if (policy_has_targets(policy, POLICY_ATTACH_UPROBE) && file_name_of(file->fd, &name) == 0)
		path = name.path;
	return policy_check_file(policy, file->path, path, file_name_matches, &call->reason);
}

int probe_file_open(struct call *call, uint64_t path_addr, struct probe_file *ret_file)
{
	struct probe_file file;
	ssize_t len;
	int r;

	/* The kernel takes names up to PATH_MAX; longer than ours is shown cut, so refuse it. */
	len = guest_read_string(&call->guest, path_addr, file.path, sizeof(file.path));
	if (len == -ENAMETOOLONG)
		return reason_set(&call->reason, -ENAMETOOLONG, "path longer than %zu bytes",
				  sizeof(file.path) - 1);
	if (len < 0)
		return (int)len;
	file.fd = guest_open_path(&call->guest, file.path);
	if (file.fd < 0)
		return file.fd;
	r = check_file(call, &file);
	if (r < 0) {
		probe_file_close(&file);
		return r;
	}
	snprintf(file.kernel_path, sizeof(file.kernel_path), "/proc/self/fd/%d", file.fd);
	*ret_file = file;
	return 0;
}

void probe_file_close(struct probe_file *file)
{
	file->fd = close_fd(file->fd);
}

uint64_t probe_semaphore(const struct probe_file *file, uint64_t ref_ctr_offset)
{
	cleanup_fd int fd = -1;
	struct stat st;

	/* Opening a device can have effects of its own, and the kernel probes regular files only.
	 */
	if (!ref_ctr_offset || fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	fd = open(file->kernel_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || !sdt_is_semaphore(fd, ref_ctr_offset))
		return 0;
	return ref_ctr_offset;
}

/* Whether any executable mapping of @pid is of the file (device and inode as maps shows them). */
static bool process_maps_file(const char *pid, const struct stat *st)
{
	char path[280], line[512];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	while (!found && fgets(line, sizeof(line), maps)) {
		unsigned int major, minor;
		uint64_t inode;
		char perms[5];

		if (sscanf(line, "%*x-%*x %4s %*x %x:%x %" SCNu64, perms, &major, &minor, &inode) ==
		    4)
			found = perms[2] == 'x' && inode == st->st_ino &&
				makedev(major, minor) == st->st_dev;
	}
	fclose(maps);
	return found;
}

int probe_scope(struct call *call, const struct probe_file *file)
{
	struct dirent *entry;
	struct stat st;
	int r = 0;
	DIR *proc;

	if (policy_host_breakpoints(call->tenant->policy))
		return 0;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (r == 0 && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name);

		if (pid > 0 && process_maps_file(entry->d_name, &st) &&
		    !tenant_has_pid(call->tenant, pid))
			r = reason_set(&call->reason, -EPERM,
				       "policy: %s is mapped by process %d outside the tenant and "
				       "\"host_breakpoints\" is deny",
				       file->path, pid);
	}
	closedir(proc);
	return r;
}

/* Whether another daemon is on this host, whose targets may have jumps that we know nothing of. */
static bool other_daemons(void)
{
	char own[32];
	struct dirent *entry;
	bool found = false;
	DIR *dir = opendir(CONTROL_DIR);

	snprintf(own, sizeof(own), "%d.sock", getpid());
	while (dir && !found && (entry = readdir(dir)))
		found = strstr(entry->d_name, ".sock") && strcmp(entry->d_name, own) != 0;
	if (dir)
		closedir(dir);
	return found;
}

/* Whether one of the bytes from @at - 4 on is the first of a jump that is not the file's. */
static bool has_jump(int mem_fd, int file_fd, uint64_t at, uint64_t offset)
{
	const uint64_t before = offset < JUMP_SIZE - 1 ? offset : JUMP_SIZE - 1;
	unsigned char live[JUMP_SIZE], file[JUMP_SIZE];

	if (pread(mem_fd, live, before + 1, (off_t)(at - before)) != (ssize_t)before + 1 ||
	    pread(file_fd, file, before + 1, (off_t)(offset - before)) != (ssize_t)before + 1)
		return false;
	for (uint64_t i = 0; i <= before; i++)
		if (live[i] == 0xe9 && file[i] != 0xe9)
			return true;
	return false;
}

/* Where to look for jumps. */
struct jump_sites {
	int file_fd;
	dev_t dev;
	ino_t ino;
	const uint64_t *offsets;
	uint32_t cnt;
};

static bool mapping_has_jump(const struct maps *maps, uint32_t index, int mem_fd,
			     const struct jump_sites *sites)
{
	for (uint32_t i = 0; i < sites->cnt; i++) {
		uint64_t at = maps_at(maps, index, sites->offsets[i]);

		if (at && has_jump(mem_fd, sites->file_fd, at, sites->offsets[i]))
			return true;
	}
	return false;
}

/* Whether a process has a jump over one of the sites. Its memory is opened only if it maps the
 * file, which few do. */
static bool process_has_jump(pid_t pid, const struct jump_sites *sites)
{
	cleanup_fd int mem = -1;
	bool found = false;
	struct maps maps;
	char path[40];

	if (maps_read(pid, &maps) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", maps.pid);
	for (uint32_t i = 0; i < maps.cnt && !found; i++) {
		const struct map_entry *entry = &maps.entries[i];

		if (!entry->executable || !maps_is_file(&maps, entry, sites->dev, sites->ino))
			continue;
		if (mem < 0)
			mem = open(path, O_RDONLY | O_CLOEXEC);
		found = mem >= 0 && mapping_has_jump(&maps, i, mem, sites);
	}
	maps_deinit(&maps);
	return found;
}

/* All sites in one pass over the processes of the host. */
static int foreign_conflict(struct call *call, const struct probe_file *file, const struct stat *st,
			    const uint64_t *offsets, uint32_t cnt)
{
	cleanup_fd int fd = open(file->kernel_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const struct jump_sites sites = {.file_fd = fd,
					 .dev = st->st_dev,
					 .ino = st->st_ino,
					 .offsets = offsets,
					 .cnt = cnt};
	struct dirent *entry;
	DIR *proc = fd >= 0 ? opendir("/proc") : NULL;
	int r = 0;

	while (proc && r == 0 && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name);

		if (pid > 0 && process_has_jump(pid, &sites) && !tenant_has_pid(call->tenant, pid))
			r = reason_set(&call->reason, -EBUSY,
				       "process %d of another tenant has a probe of its own there",
				       pid);
	}
	if (proc)
		closedir(proc);
	return r;
}

int probe_conflict(struct call *call, const struct probe_file *file, const uint64_t *offsets,
		   uint32_t cnt)
{
	struct uspace *uspace = call->tenant->uspace;
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	for (uint32_t i = 0; uspace && i < cnt; i++)
		if (uspace_targets_overlap(uspace, st.st_dev, st.st_ino, offsets[i]))
			return reason_set(&call->reason, -EBUSY,
					  "a program in the traced process has its jump there");
	if (uspace && atomic_load(&uspace->left_behind) && S_ISREG(st.st_mode) &&
	    !probe_is_clean(file, offsets, cnt))
		return reason_set(&call->reason, -EBUSY,
				  "a process that could not be changed still has a jump there");
	return probe_foreign_conflict(call, file, offsets, cnt);
}

int probe_foreign_conflict(struct call *call, const struct probe_file *file,
			   const uint64_t *offsets, uint32_t cnt)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	/* The kernel probes regular files only, and opening another can have effects of its own. */
	if (!S_ISREG(st.st_mode) || !other_daemons())
		return 0;
	return foreign_conflict(call, file, &st, offsets, cnt);
}

bool probe_is_clean(const struct probe_file *file, const uint64_t *offsets, uint32_t cnt)
{
	cleanup_fd int fd = open(file->kernel_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct jump_sites sites = {.file_fd = fd, .offsets = offsets, .cnt = cnt};
	struct dirent *entry;
	struct stat st;
	bool clean = true;
	DIR *proc = fd >= 0 ? opendir("/proc") : NULL;

	if (!proc || fstat(file->fd, &st) < 0) {
		if (proc)
			closedir(proc);
		return false;
	}
	sites.dev = st.st_dev;
	sites.ino = st.st_ino;
	while (clean && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name);

		clean = pid <= 0 || !process_has_jump(pid, &sites);
	}
	closedir(proc);
	return clean;
}

int probe_pid(struct call *call, int pid)
{
	int host = guest_pid_to_host(&call->guest, pid);

	if (host < 0 || !tenant_has_pid(call->tenant, host))
		return -ESRCH;
	return host;
}
