/* SPDX-License-Identifier: MIT */
/*
 * From a notification to its answer. All of it runs in a thread of the tenant's crew (crew.h).
 */
#include "notifier/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/listener.h"
#include "notifier/pending.h"
#include "notifier/uspace.h"

int call_reply_fd(struct call *call, int fd)
{
	call->reply_fd = fd;
	return 0;
}

static int call_dispatch(struct call *call)
{
	switch (call->notif.data.nr) {
	case SYS_bpf:
		return call_bpf(call);
	case SYS_perf_event_open:
		return call_perf_event_open(call);
	case SYS_ioctl:
		return call_ioctl(call);
	case SYS_prlimit64:
		return call_prlimit(call);
	case SYS_seccomp:
	case SYS_prctl:
		return call_seccomp(call);
	default:
		return reason_set(&call->reason, -ENOSYS, "system call %d is not ours",
				  call->notif.data.nr);
	}
}

static const char *call_name(const struct call *call)
{
	if (call->name[0])
		return call->name;
	switch (call->notif.data.nr) {
	case SYS_bpf:
		return "bpf";
	case SYS_perf_event_open:
		return "perf_event_open";
	case SYS_ioctl:
		return "ioctl";
	case SYS_seccomp:
		return "seccomp";
	case SYS_prctl:
		return "prctl";
	default:
		return "prlimit64";
	}
}

static void call_log(const struct call *call, int result)
{
	const char *tenant = call->tenant->name;

	if (call->reason.text[0])
		log_notice("tenant=%s pid=%u %s: refused: %s", tenant, call->notif.pid,
			   call_name(call), call->reason.text);
	else if (result == CALL_CONTINUE)
		log_debug("tenant=%s pid=%u %s: left to the kernel", tenant, call->notif.pid,
			  call_name(call));
	else if (result < 0)
		log_debug("tenant=%s pid=%u %s: %s", tenant, call->notif.pid, call_name(call),
			  strerrordesc_np(-result));
	else
		log_debug("tenant=%s pid=%u %s: ok", tenant, call->notif.pid, call_name(call));
}

static void call_answer(struct call *call, int result)
{
	int listener = call->guest.listener;
	uint64_t id = call->notif.id;
	int r;

	if (result == CALL_CONTINUE)
		r = listener_send_continue(listener, id);
	else if (result < 0)
		r = listener_send_error(listener, id, result);
	else if (call->reply_fd >= 0)
		r = listener_send_fd(listener, id, call->reply_fd, call->reply_flags);
	else
		r = listener_send_value(listener, id, result);
	/* Its own limit of descriptors is the caller's affair. */
	if (r < 0 && r != -ENOENT && r != -EMFILE)
		log_error("tenant=%s pid=%u %s: cannot answer: %s", call->tenant->name,
			  call->notif.pid, call_name(call), strerrordesc_np(-r));
}

void call_answer_early(struct call *call, int result)
{
	call_answer(call, result);
	call->answered = true;
}

void call_run(struct call *call)
{
	int result;

	if (call->notif.pid == 0)
		result = reason_set(&call->reason, -EPERM,
				    "the caller is outside the daemon's pid namespace");
	else
		result = call_dispatch(call);
	call_log(call, result);
	/* Before the answer: what was made is counted by itself by now, and the caller's next call
	 * may come at once. */
	tenant_release(call->tenant, call->reserved);
	tenant_uncharge(call->tenant, call->charged);
	if (!call->answered)
		call_answer(call, result);
	pending_done(call->tenant->pending, call->place);
	/* Closing our copy of an anchor nobody received ends what it stood for. */
	close_fd(call->reply_fd);
	guest_deinit(&call->guest);
	free(call);
}

/* bpf(): unsigned int cmd is all the kernel looks at, so garbage above bit 31 changes nothing. */
static bool call_is_native(const struct tenant *tenant, const struct seccomp_notif *notif)
{
	return notif->data.nr == SYS_bpf && command_is_native(tenant, (int)notif->data.args[0]);
}

bool call_is_urgent(const struct call *call)
{
	return call->notif.data.nr == SYS_bpf && (int)call->notif.data.args[0] == USPACE_FD_CMD;
}

struct call *call_receive(struct tenant *tenant)
{
	struct seccomp_notif notif;
	struct call *call;
	int place;

	if (pending_receive(tenant->pending, tenant->listener, &notif, &place) < 0)
		return NULL;
	if (call_is_native(tenant, &notif)) {
		listener_send_continue(tenant->listener, notif.id);
		pending_done(tenant->pending, place);
		return NULL;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		listener_send_error(tenant->listener, notif.id, -ENOMEM);
		pending_done(tenant->pending, place);
		return NULL;
	}
	call->tenant = tenant;
	call->place = place;
	call->notif = notif;
	call->reply_fd = -1;
	call->reply_flags = O_CLOEXEC;
	guest_init(&call->guest, tenant->listener, notif.id, (pid_t)notif.pid);
	return call;
}

int call_get_object(struct call *call, int guest_fd, enum kobject_kind kind, int *ret_fd,
		    struct object *ret_object)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, guest_fd);
	struct object *object;
	enum kobject_kind found;
	uint32_t real_id;
	int r;

	if (fd < 0)
		return fd;
	r = kobject_identify(fd, &found, &real_id);
	if (r < 0)
		return r;
	if (found != kind)
		return -EINVAL;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, kind, real_id);
	if (object)
		*ret_object = *object;
	pthread_mutex_unlock(&call->tenant->lock);
	if (!object)
		return reason_set(&call->reason, -EPERM,
				  "descriptor %d stands for an object of somebody else", guest_fd);
	if (ret_fd)
		*ret_fd = take_fd(&fd);
	return 0;
}

int call_timer_variant(struct call *call, uint32_t real_id)
{
	struct object *object;
	int fd = -ENOENT;

	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, KOBJECT_PROG, real_id);
	if (object && object->timer_fd >= 0) {
		fd = fcntl(object->timer_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			fd = -errno;
	}
	pthread_mutex_unlock(&call->tenant->lock);
	return fd;
}

int call_add_object(struct call *call, enum kobject_kind kind, int fd, struct object *object)
{
	struct tenant *tenant = call->tenant;
	enum kobject_kind found;
	struct object *entry;
	uint32_t real_id;
	int r;

	r = kobject_identify(fd, &found, &real_id);
	if (r < 0)
		return r;
	pthread_mutex_lock(&tenant->lock);
	r = object_add(&tenant->table, kind, real_id, &entry);
	if (r == 0) {
		entry->type = object->type;
		entry->attach_type = object->attach_type;
		entry->size = object->size;
		entry->hidden_flags = object->hidden_flags;
		entry->fields = object->fields;
		entry->timer_fd = take_fd(&object->timer_fd);
		entry->umap = take_ptr(&object->umap);
		entry->uprog = take_ptr(&object->uprog);
		memcpy(entry->name, object->name, sizeof(entry->name));
		entry->name[sizeof(entry->name) - 1] = '\0';
	}
	pthread_mutex_unlock(&tenant->lock);
	if (r == 0)
		tenant_watch_objects(tenant);
	return r;
}

int call_reserve(struct call *call, enum policy_quota quota, uint64_t more)
{
	int r = tenant_reserve(call->tenant, quota, more, &call->reason);

	if (r == 0)
		call->reserved[quota] += more;
	return r;
}

int call_alloc(struct call *call, uint64_t bytes, void *ret)
{
	int r = tenant_charge(call->tenant, bytes, &call->reason);
	void *memory;

	if (r < 0)
		return r;
	call->charged += bytes;
	memory = calloc(1, bytes ? bytes : 1);
	if (!memory)
		return -ENOMEM;
	*(void **)ret = memory;
	return 0;
}

int call_write_attr(struct call *call, uint32_t offset, const void *value, uint32_t len)
{
	return guest_write(&call->guest, call->notif.data.args[1] + offset, value, len);
}
