/* SPDX-License-Identifier: MIT */
/*
 * One line, one write(2): lines of several threads never mix.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
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

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char prefix[] = "bpfshimd: ";
	char line[1024] = "bpfshimd: ";
	int saved = errno;
	size_t used = sizeof(prefix) - 1;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - used - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	used += (size_t)n < sizeof(line) - used - 1 ? (size_t)n : sizeof(line) - used - 2;
	line[used++] = '\n';
	n = (int)write(STDERR_FILENO, line, used);
	errno = saved;
}
