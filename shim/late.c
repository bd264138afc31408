/* SPDX-License-Identifier: MIT */
/*
 * Watched files and the life of the reader thread; see late.h.
 */
#include "shim/late.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shim/late_internal.h"

/* Reports of all helpers at once fit, so that a helper need not wait for the reader. */
#define REPORTS_SIZE (1 << 20)

static struct late_watch *find(struct late *late, const struct late_file *file)
{
	struct late_watch *watch;

	list_for_each(watch, &late->watches, node) if (watch->file.dev == file->dev &&
						       watch->file.ino == file->ino) return watch;
	return NULL;
}

/* Marks go by path, because fanotify_mark() takes no O_PATH descriptor. */
static int mark(struct late *late, unsigned int flags, int file_fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
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
	char path[40];
	int r;

	if (!watch)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	watch->fd = open(path, O_PATH | O_CLOEXEC);
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
	pthread_mutex_lock(&late->lock);
	watch = find(late, &file);
	if (!watch)
		r = watch_new(late, file_fd, &file, &watch);
	if (r == 0)
		*(gate ? &watch->gates : &watch->refs) += 1;
	pthread_mutex_unlock(&late->lock);
	return r;
}

void late_watch_remove(struct late *late, int file_fd, bool gate)
{
	struct late_watch *watch;
	struct late_file file;
	struct stat st;
	uint32_t *refs;

	if (fstat(file_fd, &st) < 0)
		return;
	file = (struct late_file){st.st_dev, st.st_ino};
	pthread_mutex_lock(&late->lock);
	watch = find(late, &file);
	refs = !watch ? NULL : gate ? &watch->gates : &watch->refs;
	if (refs && *refs > 0) {
		*refs -= 1;
		if (watch->refs + watch->gates == 0) {
			mark(late, FAN_MARK_REMOVE, watch->fd);
			watch_free(late, watch);
		}
	}
	pthread_mutex_unlock(&late->lock);
}

bool late_is_probed(struct late *late, const struct late_file *file)
{
	struct late_watch *watch;
	bool probed;

	pthread_mutex_lock(&late->lock);
	watch = find(late, file);
	probed = watch && watch->refs > 0;
	pthread_mutex_unlock(&late->lock);
	return probed;
}

int late_watch(struct late *late, int file_fd)
{
	return late_watch_add(late, file_fd, false);
}

void late_unwatch(struct late *late, int file_fd)
{
	late_watch_remove(late, file_fd, false);
}

static int open_report_pipe(struct late *late)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	fcntl(fds[1], F_SETPIPE_SZ, REPORTS_SIZE);
	late->report_read = fds[0];
	late->report_write = fds[1];
	return 0;
}

static int open_all(struct late *late, struct reason *reason)
{
	late->shared = mmap(NULL, sizeof(*late->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (late->shared == MAP_FAILED) {
		late->shared = NULL;
		return -ENOMEM;
	}
	late->fanotify_fd =
		fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID |
				      FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
			      O_RDONLY | O_CLOEXEC | O_LARGEFILE);
	if (late->fanotify_fd < 0)
		return reason_set(reason, -errno, "no fanotify permission events: %s",
				  strerrordesc_np(errno));
	late->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	late->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	late->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (late->wake_fd < 0 || late->null_fd < 0 || late->epoll_fd < 0)
		return -errno;
	return open_report_pipe(late);
}

/* All signals are blocked in the reader and so in helpers: Ctrl-C in the daemon's terminal must not
 * end a helper while it makes a target do something. */
static int start_reader(struct late *late)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&late->reader, NULL, late_reader_main, late);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void release(struct late *late)
{
	struct late_watch *watch, *tmp;

	/* First of all: openers go on. */
	late->fanotify_fd = close_fd(late->fanotify_fd);
	list_for_each_safe(watch, tmp, &late->watches, node) watch_free(late, watch);
	close_fd(late->wake_fd);
	close_fd(late->null_fd);
	close_fd(late->epoll_fd);
	close_fd(late->report_read);
	close_fd(late->report_write);
	if (late->shared)
		munmap(late->shared, sizeof(*late->shared));
	pthread_mutex_destroy(&late->lock);
	free(late);
}

int late_new(const struct late_ops *ops, void *data, struct late **ret_late, struct reason *reason)
{
	struct late *late = calloc(1, sizeof(*late));
	int r;

	if (!late)
		return -ENOMEM;
	late->ops = ops;
	late->data = data;
	late->fanotify_fd = late->wake_fd = late->null_fd = late->epoll_fd = -1;
	late->report_read = late->report_write = -1;
	list_init(&late->watches);
	pthread_mutex_init(&late->lock, NULL);
	r = open_all(late, reason);
	if (r == 0)
		r = start_reader(late);
	if (r < 0) {
		release(late);
		return r;
	}
	*ret_late = late;
	return 0;
}

struct late *late_free(struct late *late)
{
	const uint64_t one = 1;

	if (!late)
		return NULL;
	atomic_store(&late->stop, true);
	(void)!write(late->wake_fd, &one, sizeof(one));
	pthread_join(late->reader, NULL);
	/* Helpers that still run become init's when the daemon ends; killing them could leave a
	 * target half patched. */
	if (late->watchdog > 0) {
		kill(late->watchdog, SIGKILL);
		waitpid(late->watchdog, NULL, 0);
	}
	release(late);
	return NULL;
}
