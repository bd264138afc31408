/* SPDX-License-Identifier: MIT */
/*
 * epoll behind callbacks.
 */
#include "notifier/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BATCH 16

/* @ready, @n_ready: the batch being dispatched, so that removal can strike out later entries. */
struct loop {
	int epoll_fd;
	bool stop;
	struct epoll_event ready[BATCH];
	int n_ready;
};

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return -errno;
	}
	*ret_loop = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (loop)
		close_fd(loop->epoll_fd);
	free(loop);
	return NULL;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < loop->n_ready; i++)
		if (loop->ready[i].data.ptr == source)
			loop->ready[i].data.ptr = NULL;
}

int loop_run(struct loop *loop)
{
	while (!loop->stop) {
		int n = epoll_wait(loop->epoll_fd, loop->ready, BATCH, -1);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		loop->n_ready = n;
		for (int i = 0; i < n && !loop->stop; i++) {
			struct loop_source *source = loop->ready[i].data.ptr;

			if (source)
				source->fn(source, loop->ready[i].events);
		}
		loop->n_ready = 0;
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}
