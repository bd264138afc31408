/* SPDX-License-Identifier: MIT */
/*
 * Leader and followers; see crew.h.
 */
#include "notifier/crew.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/tenant.h"

#define STACK_SIZE (256 * 1024)

/*
 * @leader: held by the thread that waits for notifications
 * @lock: guards the counters
 * @waiting: threads in the queue for @leader
 * @backlog: calls that nobody has the time for yet
 * @stop_fd: readable once crew_stop() was called
 */
struct crew {
	struct tenant *tenant;
	pthread_mutex_t leader, lock;
	pthread_cond_t gone;
	struct list backlog;
	unsigned int threads, waiting, max_threads;
	int stop_fd;
	bool stopped;
};

static int crew_start_thread(struct crew *crew);

/*
 * See that somebody can lead next while this thread carries out @call. When all others are busy it
 * goes on leading and leaves the call to whoever is done first: they may be busy waiting for
 * something that a call which has yet to be received would bring about.
 *
 * The caller holds no lock but @leader. Return: whether that is given up.
 */
static bool crew_promote(struct crew *crew, struct call *call)
{
	bool start, failed, found;

	pthread_mutex_lock(&crew->lock);
	start = crew->waiting == 0 && crew->threads < crew->max_threads;
	crew->threads += start;
	crew->waiting += start;
	pthread_mutex_unlock(&crew->lock);
	failed = start && crew_start_thread(crew) < 0;
	pthread_mutex_lock(&crew->lock);
	crew->threads -= failed;
	crew->waiting -= failed;
	/* A thread that is the only one has nobody to leave anything to. */
	found = crew->waiting > 0 || crew->threads == 1;
	if (!found)
		list_append(&crew->backlog, &call->node);
	pthread_mutex_unlock(&crew->lock);
	if (found)
		pthread_mutex_unlock(&crew->leader);
	return found;
}

/* A call that waits for a thread, or NULL: then this one has queued up to lead. */
static struct call *crew_take(struct crew *crew)
{
	struct call *call = NULL;

	pthread_mutex_lock(&crew->lock);
	if (list_empty(&crew->backlog)) {
		crew->waiting++;
	} else {
		call = list_entry(crew->backlog.next, struct call, node);
		list_remove(&call->node);
	}
	pthread_mutex_unlock(&crew->lock);
	return call;
}

static void crew_lead(struct crew *crew)
{
	pthread_mutex_lock(&crew->leader);
	pthread_mutex_lock(&crew->lock);
	crew->waiting--;
	pthread_mutex_unlock(&crew->lock);
}

/* As leader: the next call that needs a look, the lead given up; or NULL, still leading, when it is
 * over.
 */
static struct call *crew_next_call(struct crew *crew)
{
	struct pollfd fds[] = {
		{.fd = crew->tenant->listener, .events = POLLIN},
		{.fd = crew->stop_fd, .events = POLLIN},
	};

	while (!crew->stopped) {
		struct call *call;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents & POLLIN) {
			call = call_receive(crew->tenant);
			if (call && call_is_urgent(call))
				call_run(call);
			else if (call && crew_promote(crew, call))
				return call;
		} else if (fds[0].revents) {
			/* Nobody is left under the filter. */
			return NULL;
		}
	}
	return NULL;
}

static void *crew_thread(void *arg)
{
	struct crew *crew = arg;
	struct call *call = NULL;

	/* It is counted as waiting from the start. */
	for (;;) {
		if (!call) {
			crew_lead(crew);
			call = crew_next_call(crew);
		}
		if (!call)
			break;
		call_run(call);
		call = crew_take(crew);
	}
	pthread_mutex_unlock(&crew->leader);
	pthread_mutex_lock(&crew->lock);
	crew->threads--;
	pthread_cond_broadcast(&crew->gone);
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* No signal comes to these threads: SIGCHLD of helpers whose parent blocks it goes to whoever does
 * not, and breaks off waits in the kernel although nobody has asked for it. */
static int crew_start_thread(struct crew *crew)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, crew_thread, crew);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int crew_new(struct tenant *tenant, unsigned int max_threads, struct crew **ret_crew)
{
	struct crew *crew = calloc(1, sizeof(*crew));
	int r;

	if (!crew)
		return -ENOMEM;
	crew->tenant = tenant;
	crew->max_threads = max_threads;
	crew->threads = crew->waiting = 1;
	pthread_mutex_init(&crew->leader, NULL);
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->gone, NULL);
	list_init(&crew->backlog);
	crew->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = crew->stop_fd < 0 ? -errno : crew_start_thread(crew);
	if (r < 0) {
		close_fd(crew->stop_fd);
		free(crew);
		return r;
	}
	*ret_crew = crew;
	return 0;
}

int crew_stop(struct crew *crew, int timeout_ms)
{
	uint64_t one = 1;
	struct timespec until;
	int r = 0;

	deadline_in(timeout_ms, &until);
	crew->stopped = true;
	(void)!write(crew->stop_fd, &one, sizeof(one));
	pthread_mutex_lock(&crew->lock);
	while (r == 0 && crew->threads)
		r = pthread_cond_timedwait(&crew->gone, &crew->lock, &until);
	pthread_mutex_unlock(&crew->lock);
	if (r)
		return -r;
	close_fd(crew->stop_fd);
	free(crew);
	return 0;
}
