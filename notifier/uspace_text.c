/* SPDX-License-Identifier: MIT */
/*
 * What programs print by bpf_trace_printk(). In the kernel it goes into a pipe for all of the host;
 * here into one of the tree's, or into our log when it has none. Called by the event thread.
 *
 * Anybody in the tenant can write such lines. In the pipe they are the tenant's affair; in the log
 * there is a limit on how many are shown, and the log takes care of what is in them.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "vm/runtime/runtime.h"

#define LINES_MAX 50 /* of the log, in a second */
#define TEXT_MAX  1023u
#define PIPE_LINE (TEXT_MAX + 256) /* less than PIPE_BUF: written as a whole or not at all */
#define NS_IN_SEC 1000000000u

/** struct line - as it is printed; @text is not terminated */
struct line {
	struct region_text head;
	uint32_t slot, tid;
	const char *text;
	int len;
};

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

static void log_text(struct uspace *uspace, const struct line *line)
{
	struct uspace_text *text = &uspace->text;
	time_t now = seconds();
	int len = line->len;

	if (now != text->second) {
		uspace_text_report(uspace);
		text->second = now;
	}
	if (text->lines >= LINES_MAX) {
		text->dropped++;
		return;
	}
	text->lines++;
	if (len && line->text[len - 1] == '\n')
		len--;
	log_notice("tenant=%s pid=%u cpu=%u: bpf_trace_printk: %.*s", uspace->tenant->name,
		   line->tid, line->slot, len, line->text);
}

/*
 * As print_trace_line() does, kernel/trace/trace.c, Linux 6.12; nothing is known of interrupts.
 * Losses are said in its words, where they were, along with the next line that has room.
 */
static void pipe_text(struct uspace *uspace, const struct line *line)
{
	char text[PIPE_LINE];
	int len = 0;

	if (uspace->text.dropped)
		len = snprintf(text, sizeof(text), "CPU:%u [LOST %u EVENTS]\n", line->slot,
			       uspace->text.dropped);
	len += snprintf(
		text + len, sizeof(text) - (size_t)len,
		"%16.15s-%-7u [%03u] ..... %5llu.%06llu: bpf_trace_printk: %.*s\n", line->head.comm,
		line->tid, line->slot, (unsigned long long)(line->head.time_ns / NS_IN_SEC),
		(unsigned long long)(line->head.time_ns / 1000 % 1000000), line->len, line->text);
	if (write(uspace->tenant->trace_pipe, text, (size_t)len) == len)
		uspace->text.dropped = 0;
	else
		uspace->text.dropped++;
}

void uspace_text_take(struct uspace *uspace, uint32_t slot, const struct region_event *event,
		      unsigned char *data)
{
	struct line line = {.slot = slot, .tid = (uint32_t)event->flags};
	uint32_t len = event->size - (uint32_t)sizeof(line.head);

	if (event->size < sizeof(line.head))
		return;
	rt_ring_data(uspace->base, slot, event, data);
	memcpy(&line.head, data, sizeof(line.head));
	line.text = (const char *)data + sizeof(line.head);
	line.len = (int)strnlen(line.text, len < TEXT_MAX ? len : TEXT_MAX);
	if (uspace->tenant->trace_pipe)
		pipe_text(uspace, &line);
	else
		log_text(uspace, &line);
}
