/* SPDX-License-Identifier: MIT */
/*
 * Verifier statistics in a log; see statslog.h. Called on PROG_LOAD after a trial load and before
 * a log goes back to the tool. Never reads past the given length.
 */
#include "kernel-bridge/statslog.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define TIME_PREFIX	 "verification time "
#define DEPTH_PREFIX	 "stack depth "
#define PROCESSED_PREFIX "processed "

struct line {
	size_t start;
	size_t end; /* past the newline */
};

/* Last line of the first @end bytes; empty (start == end) when there is none. */
static struct line last_line(const char *log, size_t end)
{
	size_t start = end;

	if (start > 0)
		start--; /* over the line's own newline */
	while (start > 0 && log[start - 1] != '\n')
		start--;
	return (struct line){start, end};
}

static bool has_prefix(const char *log, struct line line, const char *prefix)
{
	size_t len = strlen(prefix);

	return line.end - line.start >= len && memcmp(log + line.start, prefix, len) == 0;
}

/* Finds the two statistics lines, which directly precede the final "processed" line. */
static bool find_stats(const char *log, size_t len, struct line *ret_time, struct line *ret_depth)
{
	struct line line = last_line(log, len);

	if (!has_prefix(log, line, PROCESSED_PREFIX))
		return false;
	*ret_depth = last_line(log, line.start);
	if (!has_prefix(log, *ret_depth, DEPTH_PREFIX))
		return false;
	*ret_time = last_line(log, ret_depth->start);
	if (!has_prefix(log, *ret_time, TIME_PREFIX))
		ret_time->start = ret_time->end;
	return true;
}

int statslog_depths(const char *log, size_t len, uint32_t *depths, uint32_t cap, uint32_t *ret_cnt)
{
	struct line time, line;
	uint32_t cnt = 0;
	size_t i;

	len = strnlen(log, len);
	if (!find_stats(log, len, &time, &line))
		return -ENOENT;
	i = line.start + strlen(DEPTH_PREFIX);
	for (;;) {
		uint32_t depth = 0;
		size_t first = i;

		/* Seven digits are far above any stack and far below an overflow. */
		for (; i < line.end && log[i] >= '0' && log[i] <= '9' && i - first < 7; i++)
			depth = depth * 10 + (uint32_t)(log[i] - '0');
		if (i == first || i == line.end)
			return -EBADMSG;
		if (cnt == cap)
			return -E2BIG;
		depths[cnt++] = depth;
		if (log[i] == '\n')
			break;
		if (log[i++] != '+')
			return -EBADMSG;
	}
	*ret_cnt = cnt;
	return 0;
}

size_t statslog_filter(char *log, size_t len, uint32_t user_level)
{
	struct line time, depth;

	len = strnlen(log, len);
	if (user_level == 0)
		return 0;
	if (user_level & STATSLOG_STATS || !find_stats(log, len, &time, &depth))
		return len;
	memmove(log + time.start, log + depth.end, len - depth.end);
	return len - (depth.end - time.start);
}
