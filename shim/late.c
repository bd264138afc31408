/* SPDX-License-Identifier: MIT */
/*
 * The daemon's side of late.h: starting and ending the reader thread, and asking it for marks.
 */
#include "shim/late.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/late_internal.h"

/* The reader answers at once, unless it hangs; and then the watchdog ends all watching. */
#define ANSWER_MS 3000

static void wake(struct late *late)
{
	const uint64_t one = 1;

	(void)!write(late->daemon_wake_fd, &one, sizeof(one));
}

static int ask(struct late *late, int file_fd, bool remove)
{
	struct late_request request = {.file_fd = file_fd, .remove = remove, .result = 1};
	struct timespec until;

	deadline_in(ANSWER_MS, &until);
	pthread_mutex_lock(&late->lock);
	if (late->ended)
		request.result = -ESHUTDOWN;
	else
		list_append(&late->requests, &request.node);
	wake(late);
	while (request.result == 1 &&
	       pthread_cond_timedwait(&late->done, &late->lock, &until) != ETIMEDOUT)
		;
	if (request.result == 1) {
		list_remove(&request.node);
		request.result = -ESHUTDOWN;
	}
	pthread_mutex_unlock(&late->lock);
	return request.result;
}

int late_watch(struct late *late, int file_fd)
{
	return ask(late, file_fd, false);
}

int late_unwatch(struct late *late, int file_fd)
{
	return ask(late, file_fd, true);
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
	if (r != 0)
		return -r;
	pthread_mutex_lock(&late->lock);
	while (late->started == 1)
		pthread_cond_wait(&late->done, &late->lock);
	pthread_mutex_unlock(&late->lock);
	if (late->started < 0)
		pthread_join(late->reader, NULL);
	return late->started;
}

static void release(struct late *late)
{
	close_fd(late->daemon_wake_fd);
	if (late->shared)
		munmap(late->shared, sizeof(*late->shared));
	pthread_cond_destroy(&late->done);
	pthread_mutex_destroy(&late->lock);
	free(late);
}

static int prepare(struct late *late)
{
	void *shared = mmap(NULL, sizeof(*late->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	late->daemon_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (shared == MAP_FAILED)
		return -ENOMEM;
	late->shared = shared;
	return late->daemon_wake_fd < 0 ? -errno : 0;
}

int late_new(const struct late_ops *ops, void *data, struct late **ret_late, struct reason *reason)
{
	struct late *late = calloc(1, sizeof(*late));
	int r;

	if (!late)
		return -ENOMEM;
	late->ops = ops;
	late->data = data;
	late->started = 1;
	list_init(&late->watches);
	list_init(&late->requests);
	pthread_mutex_init(&late->lock, NULL);
	pthread_cond_init(&late->done, NULL);
	r = prepare(late);
	if (r == 0)
		r = start_reader(late);
	if (r < 0) {
		if (late->shared)
			reason_set(reason, r, "cannot watch files: %s failed: %s",
				   late->failed ? late->failed : "a thread", strerrordesc_np(-r));
		release(late);
		return r;
	}
	*ret_late = late;
	return 0;
}

struct late *late_free(struct late *late)
{
	if (!late)
		return NULL;
	atomic_store(&late->stop, true);
	wake(late);
	pthread_join(late->reader, NULL);
	/* Helpers that still run become init's when the daemon ends; killing them could leave a
	 * target half patched. */
	release(late);
	return NULL;
}
