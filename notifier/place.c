/* SPDX-License-Identifier: MIT */
/*
 * USER or KERNEL; see place.h.
 */
#include "notifier/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "notifier/uspace_late.h"

#define REF_CTR_SHIFT 32
#define FLAG_RETURN   1u

struct place_request *place_request_new(const struct perf_event_attr *attr, pid_t pid, int cpu,
					struct probe_file *file)
{
	struct place_request *request = malloc(sizeof(*request));

	if (!request) {
		probe_file_close(file);
		return NULL;
	}
	*request = (struct place_request){.attr = *attr, .refs = 1, .pid = pid, .cpu = cpu, .file = *file};
	file->fd = -1;
	return request;
}

struct place_request *place_request_ref(struct place_request *request)
{
	__atomic_add_fetch(&request->refs, 1, __ATOMIC_RELAXED);
	return request;
}

struct place_request *place_request_unref(struct place_request *request)
{
	if (!request || __atomic_sub_fetch(&request->refs, 1, __ATOMIC_ACQ_REL))
		return NULL;
	probe_file_close(&request->file);
	free(request);
	return NULL;
}

/* USER placement of @multi, or -EOPNOTSUPP with @why. */
static int place_user(struct call *call, const struct place_multi *multi, int prog,
		      const struct object *object, struct uspace_link **ret_user,
		      struct reason *why)
{
	struct uspace_link_request request = {
		.prog = object->uprog,
		.prog_fd = prog,
		.file_fd = multi->file->fd,
		.offsets = multi->offsets,
		.cookies = multi->cookies,
		.semaphores = multi->semaphores,
		.cnt = multi->cnt,
		.at_return = multi->at_return,
		.pid = multi->pid,
		.caller = guest_tgid(&call->guest),
		.whole = policy_check_kernel(call->tenant->policy, NULL) == 0,
	};

	if (!object->uprog)
		return reason_set(why, -EOPNOTSUPP,
				  "the program uses maps that only the kernel has");
	if (multi->at_return) {
		int r = uspace_unwind_watch(call);

		if (r < 0)
			return r;
	}
	return uspace_link_new(call->tenant->uspace, &request, ret_user, why);
}

int place_multi(struct call *call, const struct place_multi *multi, int prog,
		const struct object *object, struct placement *ret_placement)
{
	const struct policy *policy = call->tenant->policy;
	struct reason *why = &ret_placement->why;
	int r;

	if (!call->tenant->uspace || call->tenant->verify_only) {
		reason_set(why, 0, "the policy prefers it");
		return policy_check_kernel(policy, &call->reason);
	}
	r = place_user(call, multi, prog, object, &ret_placement->user, why);
	if (r == 0) {
		reason_set(why, 0, "verified");
		return 1;
	}
	/* The kernel would answer the same, did it know of what is there. */
	if (r == -EINVAL && why->text[0])
		return reason_set(&call->reason, r, "%s", why->text);
	if (policy_check_kernel(policy, NULL) == 0) {
		log_debug("tenant=%s: a probe of %s goes to the kernel: %s", call->tenant->name,
			  multi->file->path, why->text[0] ? why->text : strerrordesc_np(-r));
		return 0;
	}
	return reason_set(&call->reason, r,
			  "cannot run in the traced process (%.300s), and the policy refuses the "
			  "kernel",
			  why->text[0] ? why->text : strerrordesc_np(-r));
}

int place_kernel(struct call *call, const struct object *object, struct placement *ret_placement)
{
	int r;

	/* What is only verified does not run. */
	if (!object->uprog || call->tenant->verify_only)
		return 0;
	/* It may be followed for a file it read; whoever holds the lock may have to stop it. */
	if (object->uprog->map_cnt)
		uspace_late_let_go(call->tenant->uspace, guest_tgid(&call->guest));
	r = uspace_prog_kernel_enter(object->uprog, &call->reason);
	if (r == -EPERM && place_move(call, &(struct place_cause){.prog = object->uprog}) == 0) {
		reason_clear(&call->reason);
		r = uspace_prog_kernel_enter(object->uprog, &call->reason);
	}
	if (r == 0)
		ret_placement->kernel_prog = uspace_prog_ref(object->uprog);
	return r;
}

int place_conflict(struct call *call, const struct probe_file *file, const uint64_t *offsets,
		   uint32_t cnt)
{
	int r = probe_conflict(call, file, offsets, cnt);

	if (r != -EBUSY || place_move(call, &(struct place_cause){.file = file}) < 0)
		return r;
	reason_clear(&call->reason);
	return probe_conflict(call, file, offsets, cnt);
}

int place_open(const struct place_request *request)
{
	struct perf_event_attr attr = request->attr;

	attr.config1 = (uintptr_t)request->file.kernel_path;
	return sys_perf_event_open(&attr, request->pid, request->cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* The kernel's event that was only asked for so far. */
static int open_kernel(struct call *call, const struct attachment *event, int *ret_fd)
{
	const struct place_request *request = event->request;
	int fd, r;

	if (request->pid < 0) {
		r = probe_scope(call, &request->file);
		if (r < 0)
			return r;
	}
	r = place_conflict(call, &request->file, &event->facts.offset, 1);
	if (r < 0)
		return r;
	fd = place_open(request);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int place_request(struct call *call, const struct attachment *event, int prog,
			 const struct object *object, uint64_t cookie,
			 struct placement *ret_placement)
{
	const struct place_request *request = event->request;
	uint64_t semaphore = request->attr.config >> REF_CTR_SHIFT;
	struct place_multi multi = {.file = &request->file,
				    .offsets = &event->facts.offset,
				    .cookies = &cookie,
				    .cnt = 1,
				    .at_return = request->attr.config & FLAG_RETURN,
				    .semaphores = &semaphore,
				    .pid = request->pid};
	int r;

	/* perf_event_set_bpf_prog(), kernel/events/core.c: only this type on a uprobe. */
	if (object->type != BPF_PROG_TYPE_KPROBE)
		return -EINVAL;
	r = place_multi(call, &multi, prog, object, ret_placement);
	return r == 0 ? open_kernel(call, event, &ret_placement->event_fd) : r;
}

bool place_taken(const struct attachment *event)
{
	struct tenant *tenant = event->tenant;
	struct attachment *link;
	bool taken = event->user;

	pthread_mutex_lock(&tenant->lock);
	list_for_each(link, &tenant->attachments, node)
	{
		if (link->kind == ATTACHMENT_LINK && link->event == event->event)
			taken = true;
	}
	pthread_mutex_unlock(&tenant->lock);
	return taken;
}

int place_event(struct call *call, const struct attachment *event, int prog,
		const struct object *object, uint64_t cookie, struct placement *ret_placement)
{
	int r = 0;

	/* perf_event_attach_bpf_prog(), kernel/trace/bpf_trace.c; of its own events the kernel
	 * knows. */
	if (event->request && place_taken(event))
		return -EEXIST;
	if (event->request)
		r = place_request(call, event, prog, object, cookie, ret_placement);
	if (r == 0)
		r = place_kernel(call, object, ret_placement);
	if (r < 0)
		place_undo(ret_placement);
	return r < 0 ? r : 0;
}

int place_event_fd(const struct attachment *event, const struct placement *placement)
{
	return placement->event_fd >= 0 ? placement->event_fd : event->real_fd;
}

void place_opened(struct attachment *event, struct placement *placement, uint32_t prog_id)
{
	struct place_request *request = NULL;

	pthread_mutex_lock(&event->tenant->lock);
	if (placement->event_fd >= 0) {
		event->real_fd = take_fd(&placement->event_fd);
		request = take_ptr(&event->request);
	}
	event->placement = placement->why;
	event->facts.prog_id = prog_id;
	pthread_mutex_unlock(&event->tenant->lock);
	place_request_unref(request);
}

void place_commit(struct attachment *attachment, struct placement *placement)
{
	pthread_mutex_lock(&attachment->tenant->lock);
	attachment->user = take_ptr(&placement->user);
	attachment->kernel_prog = take_ptr(&placement->kernel_prog);
	attachment->placement = placement->why;
	pthread_mutex_unlock(&attachment->tenant->lock);
}

void place_undo(struct placement *placement)
{
	uspace_link_free(take_ptr(&placement->user));
	placement->event_fd = close_fd(placement->event_fd);
	if (placement->kernel_prog)
		uspace_prog_kernel_leave(placement->kernel_prog);
	placement->kernel_prog = uspace_prog_unref(placement->kernel_prog);
}
