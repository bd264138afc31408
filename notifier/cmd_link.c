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
	struct attachment_facts facts;
	struct placement placement; /* owned; link_reply() takes it over */
	uint64_t event;		    /* in USER placement: of which event; or 0 */
	struct place_request *request; /* then: what was asked for; borrowed */
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
 * @fd: the kernel's link, or -1 in USER placement; taken over, as is @plan's placement. Registers
 * it and answers with an anchor.
 */
static int link_reply(struct call *call, int fd, struct link_plan *plan,
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
		place_undo(&plan->placement);
		return r;
	}
	place_commit(attachment, &plan->placement);
	attachment->real_id = real_id;
	attachment->event = plan->event;
	if (plan->request)
		attachment->request = place_request_ref(plan->request);
	attachment->facts = plan->facts;
	attachment->facts.prog_id = object->id;
	attachment_list(attachment);
	anchor = attachment_anchor(attachment);
	attachment_unref(attachment);
	return anchor < 0 ? anchor : call_reply_fd(call, anchor);
}

/* BPF_LINK_CREATE or BPF_RAW_TRACEPOINT_OPEN of a program whose placement is the kernel. */
static int link_kernel(struct call *call, int cmd, const void *attr, uint32_t size,
		       struct link_plan *plan, const struct object *object)
{
	int fd, r = place_kernel(call, object, &plan->placement);

	if (r < 0)
		return r;
	fd = sys_bpf(cmd, (void *)attr, size);
	if (fd < 0) {
		place_undo(&plan->placement);
		return fd;
	}
	return link_reply(call, fd, plan, object);
}

/*
 * The tool may just have closed the event's former link, which takes effect here a moment later.
 * Return: whether it is worth another try.
 */
static bool link_wait(int *tries)
{
	const struct timespec nap = {.tv_nsec = 5000000};

	return ++*tries <= 40 && nanosleep(&nap, NULL) == 0;
}

static int link_again(struct abi_link_create *attr, uint32_t size)
{
	int tries = 0, fd;

	do
		fd = sys_bpf(BPF_LINK_CREATE, attr, size);
	while (fd == -EEXIST && link_wait(&tries));
	return fd;
}

/* The caller holds @event->placing. */
static int link_event(struct call *call, struct attachment *event, int prog,
		      const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;
	uint32_t size = offsetof(struct abi_link_create, perf_event) + sizeof(attr.perf_event);
	struct link_plan plan = {.facts = event->facts, .placement = PLACEMENT_NONE};
	cleanup_fd int timer = -1;
	int fd = -1, r, tries = 0;

	if (event->request && attr.flags)
		return -EINVAL;
	while (event->request && !event->user && place_taken(event) && link_wait(&tries))
		;
	r = place_event(call, event, prog, object, attr.perf_event.cookie, &plan.placement);
	if (r < 0)
		return r;
	if (!plan.placement.user) {
		if (event->timer)
			timer = call_timer_variant(call, object->real_id);
		attr.prog_fd = (uint32_t)(timer >= 0 ? timer : prog);
		attr.target_fd = (uint32_t)place_event_fd(event, &plan.placement);
		fd = link_again(&attr, size);
		if (fd < 0) {
			place_undo(&plan.placement);
			return fd;
		}
	}
	plan.facts.weight = 1;
	plan.event = plan.placement.user ? event->event : 0;
	plan.request = plan.placement.user ? event->request : NULL;
	place_opened(event, &plan.placement, object->id);
	return link_reply(call, fd, &plan, object);
}

static int link_perf_event(struct call *call, int prog, const struct object *object)
{
	cleanup_fd int target = guest_get_fd(&call->guest, (int)call->attr.link_create.target_fd);
	struct attachment *event;
	int r;

	if (target < 0)
		return target;
	event = attachment_by_fd(call->tenant, target);
	if (!event || event->kind != ATTACHMENT_EVENT) {
		attachment_unref(event);
		/* As for any descriptor that is no perf event. */
		return -EINVAL;
	}
	pthread_mutex_lock(&event->placing);
	r = link_event(call, event, prog, object);
	pthread_mutex_unlock(&event->placing);
	attachment_unref(event);
	return r;
}

/* Copy an optional guest array; *ret stays NULL for a NULL pointer. */
static int copy_array(struct call *call, uint64_t addr, uint32_t count, void **ret)
{
	void *copy;
	int r;

	if (!addr)
		return 0;
	r = call_alloc(call, (uint64_t)count * sizeof(uint64_t), &copy);
	if (r < 0)
		return r;
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
	struct link_plan plan = {.facts = {.what = POLICY_ATTACH_UPROBE,
					   .fd_type = BPF_FD_TYPE_UPROBE,
					   .weight = cnt,
					   .pid = attr.uprobe_multi.pid,
					   .flags = attr.uprobe_multi.flags,
					   .multi = true},
				 .placement = PLACEMENT_NONE};
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
	for (uint32_t i = 0; ref_ctrs && i < cnt; i++)
		ref_ctrs[i] = probe_semaphore(&file, ref_ctrs[i]);
	multi.semaphores = ref_ctrs;
	snprintf(plan.facts.target, sizeof(plan.facts.target), "%s", file.path);
	plan.facts.offset = offsets[0];
	if (pid >= 0) {
		multi.offsets = offsets;
		multi.cookies = cookies;
		multi.pid = pid ? pid : -1;
		r = place_multi(call, &multi, prog, object, &plan.placement);
	}
	if (r == 1) {
		r = link_reply(call, -1, &plan, object);
		probe_file_close(&file);
		return r;
	}
	if (r == 0 && pid == 0)
		r = probe_scope(call, &file);
	if (r == 0 && pid >= 0)
		r = place_conflict(call, &file, offsets, cnt);
	if (r == 0 && pid >= 0) {
		attr.prog_fd = (uint32_t)prog;
		attr.uprobe_multi.path = (uintptr_t)file.kernel_path;
		attr.uprobe_multi.offsets = (uintptr_t)offsets;
		attr.uprobe_multi.ref_ctr_offsets = (uintptr_t)ref_ctrs;
		attr.uprobe_multi.cookies = (uintptr_t)cookies;
		attr.uprobe_multi.pid = (uint32_t)pid;
		r = link_kernel(call, BPF_LINK_CREATE, &attr, sizeof(attr), &plan, object);
	} else if (r == 0) {
		r = pid;
	}
	probe_file_close(&file);
	return r;
}

static int link_raw_tp(struct call *call, int prog, const struct object *object)
{
	struct abi_link_create attr = call->attr.link_create;
	struct link_plan plan = {.facts = {.what = POLICY_ATTACH_RAW_TRACEPOINT,
					   .target = "tp_btf",
					   .fd_type = BPF_FD_TYPE_RAW_TRACEPOINT,
					   .weight = 1},
				 .placement = PLACEMENT_NONE};

	if (attr.tracing.target_btf_id || attr.target_fd)
		return -EINVAL;
	attr.prog_fd = (uint32_t)prog;
	return link_kernel(call, BPF_LINK_CREATE, &attr,
			   offsetof(struct abi_link_create, tracing) + sizeof(attr.tracing), &plan,
			   object);
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
	struct link_plan plan = {.facts = {.fd_type = BPF_FD_TYPE_RAW_TRACEPOINT, .weight = 1},
				 .placement = PLACEMENT_NONE};
	cleanup_fd int prog = -1;
	struct object object;
	char name[128]; /* buf[128] in bpf_raw_tp_link_attach(), kernel/bpf/syscall.c */
	ssize_t len;
	int r;

	r = call_get_object(call, (int)attr.prog_fd, KOBJECT_PROG, &prog, &object);
	if (r < 0)
		return r;
	plan.facts.what = raw_tracepoint_kind(&object);
	snprintf(plan.facts.target, sizeof(plan.facts.target), "%s",
		 plan.facts.what == POLICY_ATTACH_KPROBE ? "fentry" : "tp_btf");
	if (attr.name) {
		len = guest_read_string(&call->guest, attr.name, name, sizeof(name));
		if (len < 0)
			return len == -ENAMETOOLONG ? -ENOENT : (int)len;
		snprintf(plan.facts.target, sizeof(plan.facts.target), "%s", name);
		attr.name = (uintptr_t)name;
	}
	r = link_check(call, plan.facts.what, attr.name ? name : NULL);
	if (r < 0)
		return r;
	attr.prog_fd = (uint32_t)prog;
	return link_kernel(call, BPF_RAW_TRACEPOINT_OPEN, &attr, size, &plan, &object);
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

/* A pin remembers it, too. */
static void link_set_prog(struct attachment *link, uint32_t prog_id)
{
	struct tenant *tenant = link->tenant;
	struct object *pinned;

	pthread_mutex_lock(&tenant->lock);
	link->facts.prog_id = prog_id;
	pinned = object_by_real_id(&tenant->table, KOBJECT_LINK, link->real_id);
	if (pinned)
		pinned->link->prog_id = prog_id;
	pthread_mutex_unlock(&tenant->lock);
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
	/* As the kernel answers for links of perf events and of uprobe_multi. */
	if (r == 0 && link->user)
		r = -EINVAL;
	if (r == 0) {
		attr.link_fd = (uint32_t)link->real_fd;
		attr.new_prog_fd = (uint32_t)prog;
		attr.old_prog_fd = old >= 0 ? (uint32_t)old : 0;
		r = sys_bpf(BPF_LINK_UPDATE, &attr, sizeof(attr));
		if (r == 0)
			link_set_prog(link, object.id);
	}
	attachment_unref(link);
	return r;
}
