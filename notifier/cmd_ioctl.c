/* SPDX-License-Identifier: MIT */
/*
 * perf ioctls. On an anchor they act on the event it stands for; on the caller's own perf events
 * they are the kernel's business, except for those that run programs.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/place.h"
#include "notifier/uspace.h"

/* Attach the program behind the guest's descriptor to a real event. */
static int set_bpf(struct call *call, struct attachment *event, int guest_prog)
{
	struct placement placement = PLACEMENT_NONE;
	cleanup_fd int prog = -1, timer = -1;
	struct object object;
	int r;

	r = call_get_object(call, guest_prog, KOBJECT_PROG, &prog, &object);
	if (r == 0)
		r = place_event(call, event, prog, &object, 0, &placement);
	if (r < 0)
		return r;
	if (!placement.user) {
		if (event->timer)
			timer = call_timer_variant(call, object.real_id);
		if (ioctl(place_event_fd(event, &placement), PERF_EVENT_IOC_SET_BPF,
			  timer >= 0 ? timer : prog) < 0) {
			/* Often -EEXIST: the event and its first program stay as they are. */
			r = -errno;
			place_undo(&placement);
			return r;
		}
	}
	place_opened(event, &placement, object.id);
	place_commit(event, &placement);
	return 0;
}

static int ioctl_set_bpf(struct call *call, struct attachment *event, int guest_prog)
{
	int r;

	pthread_mutex_lock(&event->placing);
	r = set_bpf(call, event, guest_prog);
	pthread_mutex_unlock(&event->placing);
	return r;
}

/*
 * A user probe in the kernel runs its program from SET_BPF on, whether the event counts or not:
 * there is nothing to switch.
 */
static int ioctl_user(unsigned int cmd)
{
	switch (cmd) {
	case PERF_EVENT_IOC_ENABLE:
	case PERF_EVENT_IOC_DISABLE:
	case PERF_EVENT_IOC_RESET:
	case PERF_EVENT_IOC_REFRESH:
		return 0;
	case PERF_EVENT_IOC_QUERY_BPF:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

static int ioctl_event(struct call *call, struct attachment *event, unsigned int cmd, uint64_t arg)
{
	uint64_t value;

	/* A tool that ends disables its probes, then reads its buffers a last time. */
	if (event->real_fd < 0 && call->tenant->uspace && cmd == PERF_EVENT_IOC_DISABLE)
		uspace_events_settle(call->tenant->uspace);
	if (event->real_fd < 0 && cmd != PERF_EVENT_IOC_SET_BPF)
		return ioctl_user(cmd);
	switch (cmd) {
	case PERF_EVENT_IOC_SET_BPF:
		return ioctl_set_bpf(call, event, (int)arg);
	case PERF_EVENT_IOC_ENABLE:
	case PERF_EVENT_IOC_DISABLE:
	case PERF_EVENT_IOC_RESET:
	case PERF_EVENT_IOC_REFRESH:
		return ioctl(event->real_fd, cmd, arg) < 0 ? -errno : 0;
	case PERF_EVENT_IOC_ID:
		if (ioctl(event->real_fd, cmd, &value) < 0)
			return -errno;
		return guest_write(&call->guest, arg, &value, sizeof(value));
	case PERF_EVENT_IOC_QUERY_BPF:
		/* Lists every program on a tracepoint, other tenants' included. */
		return -EPERM;
	default:
		return -EINVAL;
	}
}

int call_ioctl(struct call *call)
{
	unsigned int cmd = (unsigned int)call->notif.data.args[1];
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)call->notif.data.args[0]);
	enum kobject_kind kind = KOBJECT_OTHER;
	struct attachment *event;
	uint32_t id;
	int r;

	if (fd < 0)
		return fd;
	event = attachment_by_fd(call->tenant, fd);
	if (event) {
		r = event->kind == ATTACHMENT_EVENT
			    ? ioctl_event(call, event, cmd, call->notif.data.args[2])
			    : -ENOTTY;
		attachment_unref(event);
		return r;
	}
	/*
	 * Not ours. The number may be swapped for another descriptor before the kernel looks, so
	 * what must not happen is refused here whatever the descriptor is.
	 */
	if (cmd != PERF_EVENT_IOC_SET_BPF)
		return CALL_CONTINUE;
	kobject_identify(fd, &kind, &id);
	if (kind == KOBJECT_PERF_EVENT)
		return reason_set(&call->reason, -EPERM,
				  "a program runs only on events opened through the daemon");
	return -ENOTTY;
}
