/* SPDX-License-Identifier: MIT */
/*
 * Events, links and their anchors; see attachment.h.
 */
#include "notifier/attachment.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "notifier/place.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"

/* One descriptor given to the tenant; lives until every copy of it is closed. */
struct anchor {
	struct list node;
	struct loop_source source;
	struct attachment *attachment;
	uint64_t cookie;
};

int attachment_new(struct tenant *tenant, enum attachment_kind kind, int real_fd,
		   struct attachment **ret_attachment)
{
	struct attachment *attachment = calloc(1, sizeof(*attachment));

	if (!attachment) {
		close_fd(real_fd);
		return -ENOMEM;
	}
	attachment->tenant = tenant;
	attachment->refs = 1;
	attachment->facts.weight = 1;
	attachment->kind = kind;
	attachment->real_fd = real_fd;
	pthread_mutex_init(&attachment->placing, NULL);
	list_init(&attachment->node);
	*ret_attachment = attachment;
	return 0;
}

void attachment_list(struct attachment *attachment)
{
	struct tenant *tenant = attachment->tenant;

	pthread_mutex_lock(&tenant->lock);
	if (attachment->kind == ATTACHMENT_LINK)
		attachment->id = object_new_id(&tenant->table, KOBJECT_LINK);
	else
		attachment->event = ++tenant->last_event;
	list_append(&tenant->attachments, &attachment->node);
	pthread_mutex_unlock(&tenant->lock);
}

/* Closing a probe waits for RCU grace periods, so it happens in a pool thread. */
static void attachment_close(struct pool_job *job)
{
	struct attachment *attachment = container_of(job, struct attachment, job);

	close_fd(attachment->real_fd);
	uspace_link_free(attachment->user);
	place_request_unref(attachment->request);
	if (attachment->kernel_prog)
		uspace_prog_kernel_leave(attachment->kernel_prog);
	uspace_prog_unref(attachment->kernel_prog);
	pthread_mutex_destroy(&attachment->placing);
	free(attachment);
}

struct attachment *attachment_unref(struct attachment *attachment)
{
	struct tenant *tenant;
	bool last;

	if (!attachment)
		return NULL;
	tenant = attachment->tenant;
	pthread_mutex_lock(&tenant->lock);
	last = --attachment->refs == 0;
	if (last)
		list_remove(&attachment->node);
	pthread_mutex_unlock(&tenant->lock);
	if (last) {
		attachment->job.fn = attachment_close;
		pool_submit(tenant->pool, &attachment->job);
	}
	return NULL;
}

static void anchor_closed(struct loop_source *source, uint32_t events)
{
	struct anchor *anchor = container_of(source, struct anchor, source);
	struct attachment *attachment = anchor->attachment;
	struct tenant *tenant = attachment->tenant;

	loop_remove(tenant->loop, source);
	close_fd(source->fd);
	pthread_mutex_lock(&tenant->lock);
	list_remove(&anchor->node);
	pthread_mutex_unlock(&tenant->lock);
	free(anchor);
	attachment_unref(attachment);
}

static uint64_t socket_cookie(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;

	/* Unique for the life of the host, unlike inode numbers. */
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
		return 0;
	return cookie;
}

int attachment_anchor(struct attachment *attachment)
{
	struct tenant *tenant = attachment->tenant;
	struct anchor *anchor = calloc(1, sizeof(*anchor));
	int fds[2], r;

	if (!anchor)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		free(anchor);
		return -errno;
	}
	/* The tenant can put nothing into our end. */
	shutdown(fds[0], SHUT_RD);
	anchor->source = (struct loop_source){.fd = fds[0], .fn = anchor_closed};
	anchor->attachment = attachment;
	anchor->cookie = socket_cookie(fds[1]);
	pthread_mutex_lock(&tenant->lock);
	attachment->refs++;
	list_append(&tenant->anchors, &anchor->node);
	pthread_mutex_unlock(&tenant->lock);
	r = anchor->cookie ? loop_add(tenant->loop, &anchor->source, 0) : -EIO;
	if (r < 0) {
		pthread_mutex_lock(&tenant->lock);
		list_remove(&anchor->node);
		pthread_mutex_unlock(&tenant->lock);
		attachment_unref(attachment);
		close_fd(fds[0]);
		close_fd(fds[1]);
		free(anchor);
		return r;
	}
	return fds[1];
}

struct attachment *attachment_by_fd(struct tenant *tenant, int fd)
{
	uint64_t cookie = socket_cookie(fd);
	struct attachment *found = NULL;
	struct anchor *anchor;

	if (!cookie)
		return NULL;
	pthread_mutex_lock(&tenant->lock);
	list_for_each(anchor, &tenant->anchors, node)
	{
		if (anchor->cookie == cookie) {
			found = anchor->attachment;
			found->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&tenant->lock);
	return found;
}

struct attachment *attachment_by_id(struct tenant *tenant, uint32_t id)
{
	struct attachment *attachment, *found = NULL;

	pthread_mutex_lock(&tenant->lock);
	list_for_each(attachment, &tenant->attachments, node)
	{
		if (attachment->kind == ATTACHMENT_LINK && attachment->id == id && id) {
			found = attachment;
			found->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&tenant->lock);
	return found;
}

struct attachment *attachment_by_real_id(struct tenant *tenant, uint32_t real_id)
{
	struct attachment *attachment;

	list_for_each(attachment, &tenant->attachments, node)
	{
		if (attachment->kind == ATTACHMENT_LINK && attachment->real_id == real_id)
			return attachment;
	}
	return NULL;
}
