/* SPDX-License-Identifier: MIT */
/*
 * Links and raw tracepoints: the attachments that bpf() itself makes.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/place.h"
#include "notifier/probe.h"
#include "notifier/uspace.h"

/* MAX_UPROBE_MULTI_CNT, MAX_KPROBE_MULTI_CNT: kernel/trace/bpf_trace.c, Linux 6.18. */
#define MULTI_MAX	    (1u << 20)
#define UPROBE_MULTI_RETURN 1u /* BPF_F_UPROBE_MULTI_RETURN */

/* What is known of a link before it exists. */
struct link_plan {
	enum policy_attach what;
	char target[256];
	uint64_t offset;
	uint32_t fd_type, weight; /* weight 0: 1 */
	struct uspace_link *user; /* USER placement; owned until link_reply() */
	struct reason placement;
};

static int link_check(struct call *call, enum policy_attach what, const char *target)
{
	int r = policy_check_kernel(call->tenant->policy, &call->reason);

	if (r == 0)
		r = policy_check_attach(call->tenant->policy, what, target, &call->reason);
	if (r == 0)
		r = call_reserve(call, POLICY_QUOTA_LINKS, 1);
	return r;
}

/*
 * @fd: the kernel's link, or -1 in USER placement; taken over. Registers it and answers with an
 * anchor.
 */
static int link_reply(struct call *call, int fd, const struct link_plan *plan,
		      const struct object *object)
{
	struct attachment *attachment;
	enum kobject_kind kind;
	uint32_t real_id = 0;
	int anchor, r;

	if (fd >= 0)
		kobject_identify(fd, &kind, &real_id);
	r = attachment_new(call->tenant, ATTACHMENT_LINK, fd, &attachment);
	if (r < 0) {
		uspace_link_free(plan->user);
		return r;
	}
	attachment->user = plan->user;
	attachment->placement = plan->placement;
	r = fd < 0 ? 0 : place_kernel(call, attachment, object);
	if (r < 0) {
		attachment_unref(attachment);
		return r;
	}
	pthread_mutex_lock(&call->tenant->lock);
	attachment->id = object_new_id(&call->tenant->table, KOBJECT_LINK);
	attachment->real_id = real_id;
	pthread_mutex_unlock(&call->tenant->lock);
	attachment->what = plan->what;
	attachment->offset = plan->offset;
	attachment->fd_type = plan->fd_type;
	attachment->weight = plan->weight ? plan->weight : 1;
	attachment->prog_id = object->id;
	memcpy(attachment->target, plan->target, sizeof(attachment->target));
	anchor = attachment_anchor(attachment);
	attachment_unref(attachment);
	return anchor < 0 ? anchor : call_reply_fd(call, anchor);
}

/* A user probe that waited for its program: where does it run. */
static int link_perf_place(struct call *call, struct attachment *event, int prog,
			   const struct object *object, struct link_plan *plan)
{
	if (event->user)
		return -EEXIST;
	if (!event->request)
		return 0;
	if (call->attr.link_create.flags)
		return -EINVAL;
	return place_event(call, event, prog, object, call->attr.link_create.perf_event.cookie,
			   &plan->user);
}

/* The tool may just have closed the event's former link, which takes effect here a moment later. */
static int link_again(struct abi_link_create *attr, uint32_t size)
{
	const struct timespec nap = {.tv_nsec = 5000000};
	int fd = sys_bpf(BPF_LINK_CREATE, attr, size);

	for (int i = 0; i < 40 && fd == -EEXIST; i++) {
		nanosleep(&nap, NULL);
		fd = sys_bpf(BPF_LINK_CREATE, attr, size);
	}
	return fd;
}

static int link_perf_event(struct call *call, int prog, const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;
	uint32_t size = offsetof(struct abi_link_create, perf_event) + sizeof(attr.perf_event);
	cleanup_fd int target = guest_get_fd(&call->guest, (int)attr.target_fd), timer = -1;
	struct link_plan plan = {0};
	struct attachment *event;
	int fd;

	if (target < 0)
		return target;
	event = attachment_by_fd(call->tenant, target);
	if (!event || event->kind != ATTACHMENT_EVENT) {
		attachment_unref(event);
		/* As for any descriptor that is no perf event. */
		return -EINVAL;
	}
	pthread_mutex_lock(&event->placing);
	fd = link_perf_place(call, event, prog, object, &plan);
	if (fd == 0 && !plan.user) {
		if (event->timer)
			timer = call_timer_variant(call, object->real_id);
		attr.prog_fd = (uint32_t)(timer >= 0 ? timer : prog);
		attr.target_fd = (uint32_t)event->real_fd;
		fd = link_again(&attr, size);
	}
	if (fd >= 0) {
		plan.what = event->what;
		plan.offset = event->offset;
		plan.fd_type = event->fd_type;
		memcpy(plan.target, event->target, sizeof(plan.target));
		event->prog_id = object->id;
		plan.placement = event->placement;
		fd = link_reply(call, plan.user ? -1 : fd, &plan, object);
	}
	pthread_mutex_unlock(&event->placing);
	attachment_unref(event);
	return fd;
}

/* Copy an optional guest array; *ret stays NULL for a NULL pointer. */
static int copy_array(struct call *call, uint64_t addr, uint32_t count, void **ret)
{
	void *copy;
	int r;

	if (!addr)
		return 0;
	copy = malloc((size_t)count * sizeof(uint64_t));
	if (!copy)
		return -ENOMEM;
	r = guest_read(&call->guest, addr, copy, (size_t)count * sizeof(uint64_t));
	if (r < 0) {
		free(copy);
		return r;
	}
	*ret = copy;
	return 0;
}

static int link_uprobe_multi(struct call *call, int prog, const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;
	cleanup_free uint64_t *offsets = NULL, *ref_ctrs = NULL, *cookies = NULL;
	uint32_t cnt = attr.uprobe_multi.cnt;
	struct link_plan plan = {
		.what = POLICY_ATTACH_UPROBE, .fd_type = BPF_FD_TYPE_UPROBE, .weight = cnt};
	struct probe_file file = {.fd = -1};
	struct place_multi multi = {
		.file = &file,
		.cnt = cnt,
		.at_return = attr.uprobe_multi.flags & UPROBE_MULTI_RETURN,
	};
	int r, pid = (int)attr.uprobe_multi.pid;

	/* bpf_uprobe_multi_link_attach(), kernel/trace/bpf_trace.c: the same checks, same order. */
	if (attr.flags || !attr.uprobe_multi.path || !attr.uprobe_multi.offsets || !cnt || pid < 0)
		return -EINVAL;
	if (cnt > MULTI_MAX)
		return -E2BIG;
	r = call_reserve(call, POLICY_QUOTA_LINKS, cnt);
	if (r == 0)
		r = copy_array(call, attr.uprobe_multi.offsets, cnt, (void **)&offsets);
	if (r == 0)
		r = copy_array(call, attr.uprobe_multi.ref_ctr_offsets, cnt, (void **)&ref_ctrs);
	if (r == 0)
		r = copy_array(call, attr.uprobe_multi.cookies, cnt, (void **)&cookies);
	if (r == 0)
		r = probe_file_open(call, attr.uprobe_multi.path, &file);
	if (r < 0 || !offsets)
		return r;
	if (pid > 0)
		pid = probe_pid(call, pid);
	for (uint32_t i = 0; ref_ctrs && i < cnt; i++) {
		ref_ctrs[i] = probe_semaphore(&file, ref_ctrs[i]);
		multi.semaphores |= ref_ctrs[i] != 0;
	}
	snprintf(plan.target, sizeof(plan.target), "%s", file.path);
	plan.offset = offsets[0];
	if (pid >= 0) {
		multi.offsets = offsets;
		multi.cookies = cookies;
		multi.pid = pid ? pid : -1;
		r = place_multi(call, &multi, prog, object, &plan.user, &plan.placement);
	}
	if (r == 1) {
		r = link_reply(call, -1, &plan, object);
		probe_file_close(&file);
		return r;
	}
	if (r == 0 && pid == 0)
		r = probe_scope(call, &file);
	for (uint32_t i = 0; i < cnt && r == 0 && pid >= 0; i++)
		r = probe_conflict(call, &file, offsets[i]);
	if (r == 0 && pid >= 0) {
		attr.prog_fd = (uint32_t)prog;
		attr.uprobe_multi.path = (uintptr_t)file.kernel_path;
		attr.uprobe_multi.offsets = (uintptr_t)offsets;
		attr.uprobe_multi.ref_ctr_offsets = (uintptr_t)ref_ctrs;
		attr.uprobe_multi.cookies = (uintptr_t)cookies;
		attr.uprobe_multi.pid = (uint32_t)pid;
		r = sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
		if (r >= 0)
			r = link_reply(call, r, &plan, object);
	} else if (r == 0) {
		r = pid;
	}
	probe_file_close(&file);
	return r;
}

static int link_raw_tp(struct call *call, int prog, const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;
	struct link_plan plan = {.what = POLICY_ATTACH_RAW_TRACEPOINT,
				 .target = "tp_btf",
				 .fd_type = BPF_FD_TYPE_RAW_TRACEPOINT};
	int fd;

	if (attr.tracing.target_btf_id || attr.target_fd)
		return -EINVAL;
	attr.prog_fd = (uint32_t)prog;
	fd = sys_bpf(BPF_LINK_CREATE, &attr,
		     offsetof(struct abi_link_create, tracing) + sizeof(attr.tracing));
	return fd < 0 ? fd : link_reply(call, fd, &plan, object);
}

static int link_kprobe_multi(struct call *call, int prog, const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;

	/* What a kernel without CONFIG_FPROBE answers; tools fall back to single kprobes. */
	if (attr.kprobe_multi.addrs)
		return reason_set(&call->reason, -EPERM, "kprobes by address are not served");
	return -EOPNOTSUPP;
}

int cmd_link_create(struct call *call)
{
	const struct abi_link_create *attr = &call->attr.link_create;
	cleanup_fd int prog = -1;
	struct object object;
	int r;

	r = call_get_object(call, (int)attr->prog_fd, KOBJECT_PROG, &prog, &object);
	if (r < 0)
		return r;
	switch (attr->attach_type) {
	case BPF_PERF_EVENT:
		/* What the event is for was asked when it was opened. */
		r = call_reserve(call, POLICY_QUOTA_LINKS, 1);
		return r < 0 ? r : link_perf_event(call, prog, &object);
	case ABI_BPF_TRACE_UPROBE_MULTI:
		return link_uprobe_multi(call, prog, &object);
	case BPF_TRACE_RAW_TP:
		r = link_check(call, POLICY_ATTACH_RAW_TRACEPOINT, NULL);
		return r < 0 ? r : link_raw_tp(call, prog, &object);
	case BPF_TRACE_KPROBE_MULTI:
		r = link_check(call, POLICY_ATTACH_KPROBE, NULL);
		return r < 0 ? r : link_kprobe_multi(call, prog, &object);
	default:
		return reason_set(&call->reason, -EPERM, "links of attach type %u are not served",
				  attr->attach_type);
	}
}

/* Without a name this command attaches tracing and lsm programs, most of which are no raw
 * tracepoints: they sit on the kernel function that the program was loaded for. */
static enum policy_attach raw_tracepoint_kind(const struct object *object)
{
	if (object->type == BPF_PROG_TYPE_LSM ||
	    (object->type == BPF_PROG_TYPE_TRACING && object->attach_type != BPF_TRACE_RAW_TP))
		return POLICY_ATTACH_KPROBE;
	return POLICY_ATTACH_RAW_TRACEPOINT;
}

int cmd_raw_tracepoint_open(struct call *call)
{
	struct abi_raw_tracepoint_open attr = call->attr.raw_tracepoint_open;
	uint32_t size = call->attr_size < sizeof(attr) ? call->attr_size : (uint32_t)sizeof(attr);
	struct link_plan plan = {.fd_type = BPF_FD_TYPE_RAW_TRACEPOINT};
	cleanup_fd int prog = -1;
	struct object object;
	char name[128]; /* buf[128] in bpf_raw_tp_link_attach(), kernel/bpf/syscall.c */
	ssize_t len;
	int r, fd;

	r = call_get_object(call, (int)attr.prog_fd, KOBJECT_PROG, &prog, &object);
	if (r < 0)
		return r;
	plan.what = raw_tracepoint_kind(&object);
	snprintf(plan.target, sizeof(plan.target), "%s",
		 plan.what == POLICY_ATTACH_KPROBE ? "fentry" : "tp_btf");
	if (attr.name) {
		len = guest_read_string(&call->guest, attr.name, name, sizeof(name));
		if (len < 0)
			return len == -ENAMETOOLONG ? -ENOENT : (int)len;
		snprintf(plan.target, sizeof(plan.target), "%s", name);
		attr.name = (uintptr_t)name;
	}
	r = link_check(call, plan.what, attr.name ? name : NULL);
	if (r < 0)
		return r;
	attr.prog_fd = (uint32_t)prog;
	fd = sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr, size);
	return fd < 0 ? fd : link_reply(call, fd, &plan, &object);
}

/* The link behind a guest's descriptor, with a reference. */
static int get_link(struct call *call, uint32_t guest_fd, struct attachment **ret_link)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)guest_fd);
	struct attachment *link;

	if (fd < 0)
		return fd;
	link = attachment_by_fd(call->tenant, fd);
	if (!link || link->kind != ATTACHMENT_LINK) {
		attachment_unref(link);
		return -EINVAL;
	}
	*ret_link = link;
	return 0;
}

int cmd_link_detach(struct call *call)
{
	struct abi_link_detach attr;
	struct attachment *link;
	int r = get_link(call, call->attr.link_detach.link_fd, &link);

	if (r < 0)
		return r;
	if (link->user) {
		/* As the kernel answers for links of perf events. */
		attachment_unref(link);
		return -EOPNOTSUPP;
	}
	attr.link_fd = (uint32_t)link->real_fd;
	r = sys_bpf(BPF_LINK_DETACH, &attr, sizeof(attr));
	attachment_unref(link);
	return r;
}

int cmd_link_update(struct call *call)
{
	struct abi_link_update attr = call->attr.link_update;
	cleanup_fd int prog = -1, old = -1;
	struct attachment *link;
	struct object object;
	int r;

	r = get_link(call, attr.link_fd, &link);
	if (r < 0)
		return r;
	r = call_get_object(call, (int)attr.new_prog_fd, KOBJECT_PROG, &prog, &object);
	if (r == 0 && (attr.flags & BPF_F_REPLACE)) {
		struct object replaced;

		r = call_get_object(call, (int)attr.old_prog_fd, KOBJECT_PROG, &old, &replaced);
	}
	if (r == 0 && link->user)
		r = reason_set(&call->reason, -EOPNOTSUPP,
			       "replacing a program in traced processes is not served yet");
	if (r == 0) {
		attr.link_fd = (uint32_t)link->real_fd;
		attr.new_prog_fd = (uint32_t)prog;
		attr.old_prog_fd = old >= 0 ? (uint32_t)old : 0;
		r = sys_bpf(BPF_LINK_UPDATE, &attr, sizeof(attr));
		if (r == 0)
			link->prog_id = object.id;
	}
	attachment_unref(link);
	return r;
}
