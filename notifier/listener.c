/* SPDX-License-Identifier: MIT */
/*
 * The ioctls of a seccomp listener.
 */
#include "notifier/listener.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/feature.h"
#include "base/sys.h"

void listener_prepare(int listener)
{
	/* Not every kernel has it; without it only the latency differs. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

int listener_receive(int listener, struct seccomp_notif *ret_notif)
{
	/* The kernel insists on a zeroed buffer. */
	memset(ret_notif, 0, sizeof(*ret_notif));
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, ret_notif) < 0 ? -errno : 0;
}

static int listener_send(int listener, struct seccomp_notif_resp resp)
{
	int r;

	/* Interrupted means not sent, and nobody else answers for us. */
	do
		r = ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r;
}

int listener_send_value(int listener, uint64_t id, int64_t value)
{
	return listener_send(listener, (struct seccomp_notif_resp){.id = id, .val = value});
}

int listener_send_error(int listener, uint64_t id, int error)
{
	return listener_send(listener, (struct seccomp_notif_resp){.id = id, .error = error});
}

int listener_send_continue(int listener, uint64_t id)
{
	return listener_send(
		listener,
		(struct seccomp_notif_resp){.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

/*
 * One request, made again when it was interrupted. The kernel takes a request that its caller has
 * not come to back from the queue, and gives the result of one that was carried out (Source:
 * seccomp_notify_addfd(), Linux 6.18), so the descriptor is installed once. Not so with FLAG_SEND:
 * then the notification counts as answered from the request on, and if that is taken back, the
 * caller gets the answer that was never filled in, 0.
 */
static int listener_add_fd(int listener, const struct seccomp_notif_addfd *addfd)
{
	int r;

	do {
		r = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, addfd);
		r = r < 0 ? -errno : r;
	} while (r == -EINTR);
	/* The caller's own limit, by whatever name. */
	if (r == -ENFILE || r == -EBADF)
		return -EMFILE;
	/* It was queued when the caller died. */
	return r == -ESRCH ? -ENOENT : r;
}

int listener_send_fd(int listener, uint64_t id, int fd, uint32_t flags)
{
	/* Between two steps only death can end the call, and a process that dies in the kernel's
	 * own call leaves the same. Where any signal makes the caller ask anew it must be one. */
	bool two_steps = feature_has(FEATURE_WAIT_KILLABLE);
	const struct seccomp_notif_addfd addfd = {
		.id = id,
		.flags = two_steps ? 0 : SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = flags,
	};
	int number = listener_add_fd(listener, &addfd);

	if (number < 0) {
		if (number != -ENOENT)
			listener_send_error(listener, id, number);
		return number;
	}
	return two_steps ? listener_send_value(listener, id, number) : 0;
}
