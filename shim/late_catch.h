/* SPDX-License-Identifier: MIT */
/*
 * What the helper process of late.c does with one opener.
 */
#pragma once

#include <sys/types.h>

#include "shim/late.h"

/* Sent by the helper to the reader, the text (if any) behind it in the same message. */
enum late_word {
	LATE_WORD_HELD = 'h',	 /* it will stop: let the open go on */
	LATE_WORD_PATCHED = 'p', /* last words: */
	LATE_WORD_UNUSED = 'u',
	LATE_WORD_MISSED = 'm',
};

/** late_catch() - stop, follow, hand over, let go; tells @report_fd how it goes */
void late_catch(pid_t tid, int report_fd, const struct late_ops *ops, void *data);
