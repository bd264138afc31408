/* SPDX-License-Identifier: MIT */
/*
 * One line, one write(2): lines of several threads never mix.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum log_level log_max = LOG_NOTICE;

void log_set_level(enum log_level level)
{
	log_max = level;
}

int log_enabled(enum log_level level)
{
	return level <= log_max;
}

/*
 * Names and paths come from tenants: what they can write must not be taken for a line of ours, nor
 * do anything to a terminal. Return: length of @out.
 */
static size_t escape(const char *line, size_t from, char *out, size_t size)
{
	size_t used = from;

	memcpy(out, line, from);
	for (const char *at = line + from; *at; at++) {
		bool plain = *at >= ' ' && *at <= '~';
		char text[5] = {*at};

		if (!plain)
			snprintf(text, sizeof(text), "\\x%02x", (unsigned char)*at);
		if (used + strlen(text) > size)
			break;
		memcpy(out + used, text, strlen(text));
		used += strlen(text);
	}
	return used;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char prefix[] = "bpfshimd: ";
	char line[1024] = "bpfshimd: ", out[sizeof(line)];
	int saved = errno;
	size_t used = sizeof(prefix) - 1;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - used, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	used = escape(line, sizeof(prefix) - 1, out, sizeof(out) - 1);
	out[used++] = '\n';
	n = (int)write(STDERR_FILENO, out, used);
	errno = saved;
}
