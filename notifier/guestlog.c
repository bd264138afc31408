/* SPDX-License-Identifier: MIT */
/*
 * Guest log buffers.
 */
#include "notifier/guestlog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notifier/call.h"

/* What the kernel takes; tools ask for up to 16 MB and use a few pages. */
#define LOG_SIZE_MAX (1u << 30)
/* What is kept of it: one log is not all that the tenant may hold. */
#define LOG_KEPT_MAX (64u << 20)

int guestlog_init(struct guestlog *log, struct call *call, uint32_t level, uint64_t buf,
		  uint32_t size)
{
	*log = (struct guestlog){.level = level, .guest_size = size, .guest_buf = buf};
	if (level > 15 || (buf == 0) != (size == 0) || (buf && !level) || size > LOG_SIZE_MAX)
		return -EINVAL;
	if (!buf)
		return 0;
	log->size = size < LOG_KEPT_MAX ? size : LOG_KEPT_MAX;
	/* Zeroed: untouched pages cost nothing, and nothing of ours can reach the guest. */
	return call_alloc(call, log->size, &log->buf);
}

void guestlog_add_line(struct guestlog *log, const char *line)
{
	size_t len = strlen(line), used;

	if (!log->buf)
		return;
	if (len >= log->size)
		len = log->size - 1;
	used = strnlen(log->buf, log->size);
	if (used + len + 1 > log->size) {
		size_t drop = used + len + 1 - log->size;

		memmove(log->buf, log->buf + drop, used - drop);
		used -= drop;
	}
	memcpy(log->buf + used, line, len);
	log->buf[used + len] = '\0';
}

void guestlog_add_reason(struct guestlog *log, const char *reason)
{
	char line[REASON_MAX + 16];

	if (!reason[0])
		return;
	snprintf(line, sizeof(line), "bpfshim: %s\n", reason);
	guestlog_add_line(log, line);
}

int guestlog_deliver(struct guestlog *log, struct call *call)
{
	int r = 0;

	if (log->buf) {
		size_t len = strnlen(log->buf, log->size);

		log->buf[len < log->size ? len : log->size - 1] = '\0';
		r = guest_write(&call->guest, log->guest_buf, log->buf,
				len < log->size ? len + 1 : log->size);
	}
	free(log->buf);
	log->buf = NULL;
	return r;
}
