/* SPDX-License-Identifier: MIT */
/*
 * Attachments on their way from traced processes into the kernel, because a program there shares
 * maps with theirs, or needs a breakpoint in the same file.
 *
 * The processes are stopped outside of programs and their code is what it was before anything else
 * happens: no hit falls between, and the kernel's breakpoints meet the bytes of the file. They run
 * on when the contents of the maps and the breakpoints are in the kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/place.h"
#include "notifier/uspace.h"
#include "notifier/uspace_targets.h"

#define MOVED_MAX   256u
#define LOCK_TRIES  200 /* of a millisecond each */
#define BUSY_REASON "one of its processes cannot be stopped"

/**
 * struct moved - one attachment on its way
 * @attachment: that has the link; @event: what it is a link of, the same or another, or NULL when
 *	that is closed; references
 * @event_fd, @link_fd: the kernel's; owned until they are taken over
 * @locked: the event's @placing is held
 * @suspended, @entered: how far it has come
 */
struct moved {
	struct attachment *attachment, *event;
	struct uspace_link *link;
	int event_fd, link_fd;
	bool locked, suspended, entered;
};

/* @file: of the cause, or all zero */
struct move {
	struct call *call;
	struct uspace *uspace;
	const struct place_cause *cause;
	struct stat file;
	struct moved moved[MOVED_MAX];
	uint32_t cnt;
};

static bool is_in(const struct move *move, const struct attachment *attachment)
{
	for (uint32_t i = 0; i < move->cnt; i++)
		if (move->moved[i].attachment == attachment)
			return true;
	return false;
}

static bool shares_map(const struct uspace_link *link, const struct uspace_prog *prog)
{
	const struct uspace_prog *own = uspace_link_prog(link);

	for (uint32_t i = 0; i < own->map_cnt; i++)
		for (uint32_t k = 0; k < prog->map_cnt; k++)
			if (own->maps[i] == prog->maps[k])
				return true;
	return false;
}

/* Whether it has to go because of what comes, or of one that goes already. */
static bool has_to_go(const struct move *move, const struct attachment *attachment)
{
	const struct uspace_link *link = attachment->user;

	if (attachment == move->cause->link)
		return true;
	if (move->cause->prog && shares_map(link, move->cause->prog))
		return true;
	if (move->file.st_ino && uspace_link_is_in(link, move->file.st_dev, move->file.st_ino))
		return true;
	for (uint32_t i = 0; i < move->cnt; i++)
		if (uspace_link_touches(link, move->moved[i].link))
			return true;
	return false;
}

/* The event that a link in traced processes is of, with a reference; the tenant's lock is held. */
static struct attachment *event_of(struct tenant *tenant, struct attachment *attachment)
{
	struct attachment *event;

	if (attachment->kind == ATTACHMENT_EVENT) {
		attachment->refs++;
		return attachment;
	}
	list_for_each(event, &tenant->attachments, node)
	{
		if (event->kind == ATTACHMENT_EVENT && attachment->event &&
		    event->event == attachment->event) {
			event->refs++;
			return event;
		}
	}
	return NULL;
}

/* One more that goes; the tenant's lock is held. Return: 1, 0 when there is none left, or -errno.
 */
static int add_next(struct move *move)
{
	struct tenant *tenant = move->call->tenant;
	struct attachment *attachment;

	list_for_each(attachment, &tenant->attachments, node)
	{
		struct moved *moved = &move->moved[move->cnt];

		if (!attachment->user || is_in(move, attachment) || !has_to_go(move, attachment))
			continue;
		if (move->cnt == MOVED_MAX)
			return reason_set(&move->call->reason, -EPERM,
					  "more than %u attachments would have to move into the "
					  "kernel",
					  MOVED_MAX);
		attachment->refs++;
		*moved = (struct moved){.attachment = attachment,
					.event = event_of(tenant, attachment),
					.link = attachment->user,
					.event_fd = -1,
					.link_fd = -1};
		move->cnt++;
		return 1;
	}
	return 0;
}

static int collect(struct move *move)
{
	struct tenant *tenant = move->call->tenant;
	int r;

	pthread_mutex_lock(&move->uspace->apply);
	pthread_mutex_lock(&tenant->lock);
	do
		r = add_next(move);
	while (r > 0);
	pthread_mutex_unlock(&tenant->lock);
	pthread_mutex_unlock(&move->uspace->apply);
	return r;
}

/* Programs are put on events one at a time; whoever does that now is done soon. */
static bool lock_event(struct moved *moved)
{
	const struct timespec nap = {.tv_nsec = 1000000};

	for (int i = 0; i < LOCK_TRIES && !moved->locked; i++) {
		moved->locked = pthread_mutex_trylock(&moved->event->placing) == 0;
		if (!moved->locked)
			nanosleep(&nap, NULL);
	}
	return moved->locked;
}

/* Whether the kernel could have it, before anything is stopped for it. */
static int check(struct move *move, struct moved *moved)
{
	struct call *call = move->call;
	const struct place_request *request;
	int r;

	if (moved->event && !lock_event(moved))
		return reason_set(&call->reason, -EPERM, "another program is being attached");
	request = moved->attachment->request;
	if (!request || moved->attachment->user != moved->link)
		return reason_set(&call->reason, -EPERM,
				  "an attachment in traced processes that shares maps or a file "
				  "with it cannot move into the kernel");
	r = request->pid < 0 ? probe_scope(call, &request->file) : 0;
	return r < 0 ? r
		     : probe_foreign_conflict(call, &request->file,
					      &moved->attachment->facts.offset, 1);
}

static int check_all(struct move *move)
{
	int r = move->cnt ? 0 : -EPERM;

	for (uint32_t i = 0; i < move->cnt && r == 0; i++)
		r = check(move, &move->moved[i]);
	return r;
}

static int open_link(struct moved *moved)
{
	struct abi_link_create attr = {
		.prog_fd = (uint32_t)uspace_link_prog_fd(moved->link),
		.target_fd = (uint32_t)moved->event_fd,
		.attach_type = BPF_PERF_EVENT,
		.perf_event.cookie = uspace_link_cookie(moved->link),
	};

	if (moved->attachment->kind == ATTACHMENT_EVENT)
		return ioctl(moved->event_fd, PERF_EVENT_IOC_SET_BPF,
			     uspace_link_prog_fd(moved->link)) < 0
			       ? -errno
			       : 0;
	moved->link_fd =
		sys_bpf(BPF_LINK_CREATE, &attr,
			offsetof(struct abi_link_create, perf_event) + sizeof(attr.perf_event));
	return moved->link_fd < 0 ? moved->link_fd : 0;
}

/* Whatever the visits say: over a jump that is left, a breakpoint would end the process. */
static int check_clean(const struct move *move)
{
	for (uint32_t i = 0; i < move->cnt; i++) {
		const struct attachment *attachment = move->moved[i].attachment;

		if (!probe_is_clean(&attachment->request->file, &attachment->facts.offset, 1))
			return reason_set(&move->call->reason, -EPERM,
					  "a process still has its jump at a probe of %s",
					  attachment->facts.target);
	}
	return 0;
}

/* All of it in the kernel, while the processes stand. */
static int enter(struct move *move)
{
	struct reason *reason = &move->call->reason;
	int r = check_clean(move);

	for (uint32_t i = 0; i < move->cnt && r == 0; i++) {
		r = uspace_prog_kernel_enter_held(uspace_link_prog(move->moved[i].link), reason);
		move->moved[i].entered = r == 0;
	}
	for (uint32_t i = 0; i < move->cnt && r == 0; i++) {
		struct moved *moved = &move->moved[i];

		moved->event_fd = place_open(moved->attachment->request);
		r = moved->event_fd < 0 ? moved->event_fd : open_link(moved);
		if (r < 0)
			reason_set(reason, r, "the kernel does not take the probe of %s: %s",
				   moved->attachment->facts.target, strerrordesc_np(-r));
	}
	return r;
}

/* As it was before; hits meanwhile are lost. */
static void go_back(struct move *move)
{
	struct uspace_reach reach;
	struct reason reason = {0};
	int r = 0;

	for (uint32_t i = 0; i < move->cnt; i++) {
		struct moved *moved = &move->moved[i];

		moved->link_fd = close_fd(moved->link_fd);
		moved->event_fd = close_fd(moved->event_fd);
		if (moved->entered)
			uspace_prog_kernel_leave_held(uspace_link_prog(moved->link));
		moved->entered = false;
	}
	for (uint32_t i = 0; i < move->cnt; i++)
		if (move->moved[i].suspended && r == 0)
			r = uspace_link_resume(move->moved[i].link, &reason);
	if (r == 0)
		r = uspace_targets_apply(move->uspace, guest_tgid(&move->call->guest), &reach,
					 &reason);
	if (r < 0 || reach.failed)
		log_notice("tenant=%s: probes are gone that should have moved into the kernel: %s",
			   move->call->tenant->name, r < 0 ? reason.text : reach.reason.text);
}

static int suspend(struct move *move)
{
	for (uint32_t i = 0; i < move->cnt; i++) {
		int r = uspace_link_suspend(move->moved[i].link);

		if (r < 0)
			return r;
		move->moved[i].suspended = true;
	}
	return 0;
}

static int move_all(struct move *move)
{
	struct reason *reason = &move->call->reason;
	struct uspace_hold hold = {.cnt = 0};
	struct uspace_reach reach = {0};
	int r;

	pthread_mutex_lock(&move->uspace->apply);
	r = suspend(move);
	if (r == 0)
		r = uspace_targets_hold(move->uspace, &hold, &reach, reason);
	if (r == 0 && reach.failed)
		r = reason_set(reason, -EPERM, "%s",
			       reach.reason.text[0] ? reach.reason.text : BUSY_REASON);
	if (r == 0)
		r = enter(move);
	uspace_targets_let_go(&hold);
	if (r < 0)
		go_back(move);
	pthread_mutex_unlock(&move->uspace->apply);
	return r;
}

/* From now on it is the kernel's. */
static void commit(struct move *move, struct moved *moved)
{
	struct attachment *attachment = moved->attachment, *event = moved->event;
	struct place_request *requests[2] = {NULL};
	enum kobject_kind kind;
	uint32_t real_id = 0;

	if (moved->link_fd >= 0)
		kobject_identify(moved->link_fd, &kind, &real_id);
	pthread_mutex_lock(&attachment->tenant->lock);
	requests[0] = take_ptr(&attachment->request);
	attachment->user = NULL;
	attachment->kernel_prog = uspace_prog_ref(uspace_link_prog(moved->link));
	if (moved->link_fd >= 0) {
		attachment->real_fd = take_fd(&moved->link_fd);
		attachment->real_id = real_id;
	}
	reason_set(&attachment->placement, 0,
		   "what is in the kernel, or has to be, shares maps or a file with it");
	if (event) {
		event->real_fd = take_fd(&moved->event_fd);
		requests[1] = take_ptr(&event->request);
		event->placement = attachment->placement;
	}
	pthread_mutex_unlock(&attachment->tenant->lock);
	/* The kernel's link has it. */
	moved->event_fd = close_fd(moved->event_fd);
	place_request_unref(requests[0]);
	place_request_unref(requests[1]);
	uspace_link_forget(moved->link);
}

static void finish(struct move *move)
{
	for (uint32_t i = 0; i < move->cnt; i++) {
		if (move->moved[i].locked)
			pthread_mutex_unlock(&move->moved[i].event->placing);
		attachment_unref(move->moved[i].event);
		attachment_unref(move->moved[i].attachment);
	}
}

int place_move(struct call *call, const struct place_cause *cause)
{
	struct tenant *tenant = call->tenant;
	struct move *move = calloc(1, sizeof(*move));
	int r;

	if (!move)
		return -ENOMEM;
	move->call = call;
	move->uspace = tenant->uspace;
	move->cause = cause;
	if (policy_check_kernel(call->tenant->policy, &call->reason) < 0 ||
	    (cause->file && fstat(cause->file->fd, &move->file) < 0)) {
		free(move);
		return -EPERM;
	}
	pthread_mutex_lock(&tenant->moving);
	r = collect(move);
	if (r == 0)
		r = check_all(move);
	if (r == 0) {
		uspace_events_settle(move->uspace);
		r = move_all(move);
	}
	for (uint32_t i = 0; i < move->cnt && r == 0; i++)
		commit(move, &move->moved[i]);
	if (r == 0)
		log_notice("tenant=%s: %u probes moved into the kernel, with what shares maps or a "
			   "file with them",
			   tenant->name, move->cnt);
	finish(move);
	pthread_mutex_unlock(&tenant->moving);
	free(move);
	return r < 0 ? -EPERM : 0;
}
