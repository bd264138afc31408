/* SPDX-License-Identifier: MIT */
/*
 * The ioctls of a seccomp listener.
 */
#include "notifier/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

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
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 ? -errno : 0;
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

int listener_send_fd(int listener, uint64_t id, int fd, uint32_t flags)
{
	struct seccomp_notif_addfd addfd = {
		.id = id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = flags,
	};

	int r;

	do
		r = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) < 0 ? -errno : 0;
	while (r == -EINTR);
	/* The caller's own limit, by whatever name. */
	if (r == -ENFILE || r == -EBADF)
		r = -EMFILE;
	if (r < 0 && r != -ENOENT)
		listener_send_error(listener, id, r);
	return r;
}
