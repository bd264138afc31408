/* SPDX-License-Identifier: MIT */
/*
 * Bounded explanation texts; see reason.h for the error contract of the whole project.
 */
#include "base/reason.h"

#include <stdio.h>

void reason_clear(struct reason *reason)
{
	if (reason)
		reason->text[0] = '\0';
}

int reason_set(struct reason *reason, int error, const char *fmt, ...)
{
	va_list ap;

	if (!reason)
		return error;
	va_start(ap, fmt);
	vsnprintf(reason->text, sizeof(reason->text), fmt, ap);
	va_end(ap);
	return error;
}
