/* SPDX-License-Identifier: MIT */
/*
 * Seccomp filters of the tenant's own. Programs in traced processes make system calls that the
 * process itself never would, and its filter may answer them by killing it: so before it gets one,
 * everything of ours in it falls silent. The call itself is the kernel's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "notifier/call.h"
#include "notifier/uspace.h"
#include "shim/silence.h"

/* A hit takes microseconds of a processor that has many to serve; one that a debugger has stopped is
 * nothing to wait for. */
#define QUIET_MS 300

/* What the filter is read from; the kernel refuses a call that has none. */
static uint64_t program_of(const struct seccomp_notif *notif)
{
	return notif->data.args[2];
}

/* Whether other threads get the filter, too, whatever they are doing. */
static bool is_for_all(const struct seccomp_notif *notif)
{
	return notif->data.nr == SYS_seccomp && (notif->data.args[1] & SECCOMP_FILTER_FLAG_TSYNC);
}

static int silence(struct call *call, struct uspace *uspace, int mem_fd, uint64_t *ret_base)
{
	struct region_header *header = (void *)uspace->base;
	int r;

	/* First: whoever is on the way to patch it looks at this again once it is stopped. */
	__atomic_store_n(&header->own_filters, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&uspace->apply);
	r = shim_silence(call->guest.tid, mem_fd, ret_base);
	pthread_mutex_unlock(&uspace->apply);
	if (r > 0)
		log_notice("tenant=%s pid=%d: not traced any more: it has seccomp filters of its "
			   "own",
			   call->tenant->name, call->guest.tid);
	if (r < 0 && r != -ESRCH)
		log_error("tenant=%s pid=%d: its probes cannot be made idle before it has seccomp "
			  "filters of its own: %s",
			  call->tenant->name, call->guest.tid, strerrordesc_np(-r));
	return r;
}

static void wait_quiet(struct call *call, struct uspace *uspace, uint64_t base)
{
	const struct region_header *header = (void *)uspace->base;
	const struct region_shared *shared = (void *)(uspace->base + REGION_SHARED);
	int r = shim_wait_quiet(call->guest.tid, base, shared->slots, header->slots, QUIET_MS);

	if (r < 0 && r != -ESRCH)
		log_notice("tenant=%s pid=%d: a thread of it may still be in a probe: %s",
			   call->tenant->name, call->guest.tid, strerrordesc_np(-r));
}

int call_seccomp(struct call *call)
{
	struct uspace *uspace = call->tenant->uspace;
	cleanup_fd int mem_fd = -1;
	uint64_t base;
	char path[40];

	if (!uspace || !program_of(&call->notif))
		return CALL_CONTINUE;
	snprintf(path, sizeof(path), "/proc/%d/mem", call->guest.tid);
	mem_fd = open(path, O_RDWR | O_CLOEXEC);
	/* From here on the descriptor stands for the memory of this caller and no other. */
	if (!guest_valid(&call->guest))
		return -ESRCH;
	if (mem_fd >= 0 && silence(call, uspace, mem_fd, &base) > 0 && is_for_all(&call->notif))
		wait_quiet(call, uspace, base);
	return CALL_CONTINUE;
}
