/* SPDX-License-Identifier: MIT */
/*
 * Raising RLIMIT_MEMLOCK. Tools do it first of all and warn when refused, although nothing of
 * theirs is charged to it: the daemon makes their maps.
 */
#include <errno.h>
#include <sys/resource.h>

#include "notifier/call.h"

int call_prlimit(struct call *call)
{
	struct rlimit wanted, now;

	if ((pid_t)call->notif.data.args[0] != 0)
		return CALL_CONTINUE;
	if (guest_read(&call->guest, call->notif.data.args[2], &wanted, sizeof(wanted)) < 0)
		return -EFAULT;
	if (prlimit(call->guest.tid, RLIMIT_MEMLOCK, NULL, &now) < 0 || !guest_valid(&call->guest))
		return -ESRCH;
	/* What the kernel allows is the kernel's to do; it reads the limit again, with its own
	 * rules. */
	if (wanted.rlim_max <= now.rlim_max || wanted.rlim_cur > wanted.rlim_max)
		return CALL_CONTINUE;
	if (call->notif.data.args[3])
		return guest_write(&call->guest, call->notif.data.args[3], &now, sizeof(now));
	return 0;
}
