/* SPDX-License-Identifier: MIT */
/*
 * Errors and reasons.
 *
 * Functions return 0 or a negative errno for *our* failure; positive values only where documented.
 * What the guest is told is something else: the guest's errno travels in a reply, together with a
 * reason, a bounded text that ends up in its log buffer and in the journal. Library code never
 * logs; it fills in a reason and returns.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#define REASON_MAX 512

/** struct reason - bounded, always terminated explanation of a refusal; all-zero means none */
struct reason {
	char text[REASON_MAX];
};

/** reason_clear() - back to none; @reason may be NULL */
void reason_clear(struct reason *reason);

/**
 * reason_set() - replace the text
 * @reason: may be NULL
 *
 * Return: @error unchanged, so that refusing is one line: return reason_set(r, -EPERM, "...").
 */
int reason_set(struct reason *reason, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
