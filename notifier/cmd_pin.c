/* SPDX-License-Identifier: MIT */
/*
 * Pins. The tenant's own bpffs holds them, so the kernel pins and opens with the caller's rights;
 * only what the tenant does not really hold (links) is refused.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "notifier/attachment.h"
#include "notifier/call.h"
#include "notifier/commands.h"

int cmd_obj_pin(struct call *call)
{
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)call->attr.obj_path.bpf_fd);
	struct attachment *attachment;

	if (fd < 0)
		return fd;
	attachment = attachment_by_fd(call->tenant, fd);
	if (!attachment)
		return CALL_CONTINUE;
	attachment_unref(attachment);
	return reason_set(&call->reason, -EPERM, "pinning links is not served yet");
}

int cmd_obj_get(struct call *call)
{
	return CALL_CONTINUE;
}
