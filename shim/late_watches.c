/* SPDX-License-Identifier: MIT */
/*
 * The watched files and their marks. Only the reader thread has the fanotify group, so all of this
 * runs there; other threads hand in requests.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/late_internal.h"

static struct late_watch *find(struct late *late, const struct late_file *file)
{
	struct late_watch *watch;

	list_for_each(watch, &late->watches, node) if (watch->file.dev == file->dev &&
						       watch->file.ino == file->ino) return watch;
	return NULL;
}

/* Marks go by path, because fanotify_mark() takes no O_PATH descriptor; by this path, because the
 * table of descriptors is not that of the process. */
static int mark(struct late *late, unsigned int flags, int file_fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", file_fd);
	if (fanotify_mark(late->fanotify_fd, flags, FAN_OPEN_PERM, AT_FDCWD, path) < 0)
		return atomic_load(&late->shared->off) ? -ESHUTDOWN : -errno;
	return 0;
}

static void watch_free(struct late *late, struct late_watch *watch)
{
	list_remove(&watch->node);
	atomic_fetch_sub(&late->shared->watches, 1);
	close_fd(watch->fd);
	free(watch);
}

static int watch_new(struct late *late, int file_fd, const struct late_file *file,
		     struct late_watch **ret_watch)
{
	struct late_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return -ENOMEM;
	watch->fd = fcntl(file_fd, F_DUPFD_CLOEXEC, 3);
	r = watch->fd < 0 ? -errno : mark(late, FAN_MARK_ADD, watch->fd);
	if (r < 0) {
		close_fd(watch->fd);
		free(watch);
		return r;
	}
	watch->file = *file;
	list_append(&late->watches, &watch->node);
	if (atomic_fetch_add(&late->shared->watches, 1) == 0)
		syscall(SYS_futex, &late->shared->watches, FUTEX_WAKE, 1, NULL, NULL, 0);
	*ret_watch = watch;
	return 0;
}

int late_watch_add(struct late *late, int file_fd, bool gate)
{
	struct late_watch *watch;
	struct late_file file;
	struct stat st;
	int r = 0;

	if (atomic_load(&late->shared->off))
		return -ESHUTDOWN;
	if (fstat(file_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	file = (struct late_file){st.st_dev, st.st_ino};
	watch = find(late, &file);
	if (!watch)
		r = watch_new(late, file_fd, &file, &watch);
	if (r == 0)
		*(gate ? &watch->gates : &watch->refs) += 1;
	return r;
}

int late_watch_remove(struct late *late, int file_fd, bool gate)
{
	struct late_watch *watch;
	struct late_file file;
	struct stat st;
	uint32_t *refs;

	if (fstat(file_fd, &st) < 0)
		return -errno;
	file = (struct late_file){st.st_dev, st.st_ino};
	watch = find(late, &file);
	refs = !watch ? NULL : gate ? &watch->gates : &watch->refs;
	if (!refs || *refs == 0)
		return -ENOENT;
	*refs -= 1;
	if (watch->refs + watch->gates == 0) {
		mark(late, FAN_MARK_REMOVE, watch->fd);
		watch_free(late, watch);
	}
	return 0;
}

bool late_is_probed(struct late *late, const struct late_file *file)
{
	const struct late_watch *watch = find(late, file);

	return watch && watch->refs > 0;
}

void late_forget_watches(struct late *late)
{
	struct late_watch *watch, *tmp;

	list_for_each_safe(watch, tmp, &late->watches, node) watch_free(late, watch);
}

void late_serve_requests(struct late *late)
{
	struct late_request *request, *tmp;

	pthread_mutex_lock(&late->lock);
	list_for_each_safe(request, tmp, &late->requests, node)
	{
		cleanup_fd int fd = sys_pidfd_getfd(late->self_fd, request->file_fd);

		list_remove(&request->node);
		if (fd < 0)
			request->result = fd;
		else if (request->remove)
			request->result = late_watch_remove(late, fd, false);
		else
			request->result = late_watch_add(late, fd, false);
	}
	pthread_cond_broadcast(&late->done);
	pthread_mutex_unlock(&late->lock);
}

void late_end_requests(struct late *late)
{
	struct late_request *request, *tmp;

	pthread_mutex_lock(&late->lock);
	late->ended = true;
	list_for_each_safe(request, tmp, &late->requests, node)
	{
		list_remove(&request->node);
		request->result = -ESHUTDOWN;
	}
	pthread_cond_broadcast(&late->done);
	pthread_mutex_unlock(&late->lock);
}
