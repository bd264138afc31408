/* SPDX-License-Identifier: MIT */
/*
 * What programs print by bpf_trace_printk(): in the kernel it goes into a pipe for all of the host,
 * here into the daemon's log. Called by the event thread. Anybody in the tenant can write such
 * lines, hence a limit on how many are shown; the log takes care of what is in them.
 */
#include <time.h>

#include "base/log.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "vm/runtime/runtime.h"

#define LINES_MAX 50 /* in a second */
#define TEXT_MAX  1023u

static time_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

void uspace_text_report(struct uspace *uspace)
{
	struct uspace_text *text = &uspace->text;

	if (text->dropped)
		log_notice("tenant=%s: %u more lines of bpf_trace_printk()", uspace->tenant->name,
			   text->dropped);
	text->dropped = 0;
	text->lines = 0;
}

void uspace_text_take(struct uspace *uspace, uint32_t slot, const struct region_event *event,
		      unsigned char *data)
{
	struct uspace_text *text = &uspace->text;
	uint32_t len = event->size < TEXT_MAX ? event->size : TEXT_MAX;
	time_t now = seconds();

	if (now != text->second) {
		uspace_text_report(uspace);
		text->second = now;
	}
	if (text->lines >= LINES_MAX) {
		text->dropped++;
		return;
	}
	text->lines++;
	rt_ring_data(uspace->base, slot, event, data);
	if (len && data[len - 1] == '\n')
		len--;
	log_notice("tenant=%s pid=%u cpu=%u: bpf_trace_printk: %.*s", uspace->tenant->name,
		   (uint32_t)event->flags, slot, (int)len, (const char *)data);
}
