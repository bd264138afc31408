/* SPDX-License-Identifier: MIT */
/*
 * Unwinders that processes with return probes load later: a thread that ends, a backtrace or a
 * plugin brings one in. They are caught like processes that load a probed file.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"

/* Where loaders of glibc and musl look without being told. */
static const char *const dirs[] = {
	"/lib/x86_64-linux-gnu",
	"/usr/lib/x86_64-linux-gnu",
	"/lib64",
	"/usr/lib64",
	"/lib",
	"/usr/lib",
	"/usr/local/lib",
};
static const char *const names[] = {"libgcc_s.so.1", "libunwind.so.1", "libunwind.so.8"};
#define PATHS (ARRAY_SIZE(dirs) * ARRAY_SIZE(names))

bool uspace_unwind_is(const struct uspace *uspace, dev_t dev, ino_t ino)
{
	for (uint32_t i = 0; i < uspace->unwinder_cnt; i++)
		if (uspace->unwinders[i].dev == dev && uspace->unwinders[i].ino == ino)
			return true;
	return false;
}

static int watch(struct uspace *uspace, int fd, struct reason *reason)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    uspace_unwind_is(uspace, st.st_dev, st.st_ino) ||
	    uspace->unwinder_cnt == ARRAY_SIZE(uspace->unwinders))
		return 0;
	r = uspace_late_watch(uspace, fd, reason);
	if (r < 0)
		return r;
	uspace->unwinders[uspace->unwinder_cnt].dev = st.st_dev;
	uspace->unwinders[uspace->unwinder_cnt++].ino = st.st_ino;
	return 0;
}

static uint64_t mount_namespace(pid_t pid)
{
	struct stat st;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static bool looked_in(struct uspace *uspace, uint64_t namespace)
{
	bool looked;

	pthread_mutex_lock(&uspace->apply);
	looked = namespace == uspace->unwinders_in;
	pthread_mutex_unlock(&uspace->apply);
	return looked;
}

int uspace_unwind_watch(struct call *call)
{
	struct uspace *uspace = call->tenant->uspace;
	uint64_t namespace = mount_namespace((pid_t)call->guest.tid);
	int fds[PATHS], r = 0;
	char path[80];

	if (looked_in(uspace, namespace))
		return 0;
	/* Before the lock: a file system of the guest's may take its time. */
	for (size_t i = 0; i < PATHS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i / ARRAY_SIZE(names)],
			 names[i % ARRAY_SIZE(names)]);
		fds[i] = guest_open_path(&call->guest, path);
	}
	pthread_mutex_lock(&uspace->apply);
	for (size_t i = 0; i < PATHS; i++) {
		if (fds[i] >= 0 && r == 0)
			r = watch(uspace, fds[i], &call->reason);
		close_fd(fds[i]);
	}
	if (r == 0)
		uspace->unwinders_in = namespace;
	pthread_mutex_unlock(&uspace->apply);
	return r;
}
