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
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/tenant.h"

#define STACK_SIZE (256 * 1024)

/*
 * @leader: held by the thread that waits for notifications
 * @lock: guards the counters
 * @waiting: threads in the queue for @leader
 * @stop_fd: readable once crew_stop() was called
 */
struct crew {
	struct tenant *tenant;
	pthread_mutex_t leader, lock;
	pthread_cond_t gone;
	unsigned int threads, waiting, max_threads;
	int stop_fd;
	bool stopped;
};

static int crew_start_thread(struct crew *crew);

/* Whoever is left is busy: see that somebody can lead next. The caller holds no lock but @leader.
 */
static void crew_promote(struct crew *crew)
{
	bool start;

	pthread_mutex_lock(&crew->lock);
	start = crew->waiting == 0 && crew->threads < crew->max_threads;
	crew->threads += start;
	pthread_mutex_unlock(&crew->lock);
	if (start && crew_start_thread(crew) < 0) {
		pthread_mutex_lock(&crew->lock);
		crew->threads--;
		pthread_mutex_unlock(&crew->lock);
	}
	pthread_mutex_unlock(&crew->leader);
}

static void crew_lead(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->waiting++;
	pthread_mutex_unlock(&crew->lock);
	pthread_mutex_lock(&crew->leader);
	pthread_mutex_lock(&crew->lock);
	crew->waiting--;
	pthread_mutex_unlock(&crew->lock);
}

/* As leader: the next call that needs a look, or NULL when it is over. */
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
			if (call)
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
	struct call *call;

	crew_lead(crew);
	while ((call = crew_next_call(crew))) {
		crew_promote(crew);
		call_run(call);
		crew_lead(crew);
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
	crew->threads = 1;
	pthread_mutex_init(&crew->leader, NULL);
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->gone, NULL);
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
