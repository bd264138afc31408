/* SPDX-License-Identifier: MIT */
/*
 * The statistics the verifier appends to its log at log_level BPF_LOG_STATS: reading the stack
 * depths out of it, and hiding the extra lines from a tool that did not ask for them.
 *
 * Measured on Linux 6.18, successful and failed loads alike: the log ends with
 *	verification time N usec	only with BPF_LOG_STATS
 *	stack depth A+B+C		only with BPF_LOG_STATS, one number per live subprogram
 *	processed N insns ...		at every level but 0
 * A log that failed before verification has none of them. BPF_LOG_STATS changes nothing else.
 *
 * The text before those lines repeats strings of the tenant's program (source lines), which may
 * look like statistics. So only what stands in the very last lines counts.
 * Source: kernel/bpf/verifier.c print_verification_stats(), Linux 6.18.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* log_level bits. Source: include/linux/bpf_verifier.h, Linux 6.18. */
#define STATSLOG_LEVEL1 1u
#define STATSLOG_LEVEL2 2u
#define STATSLOG_STATS	4u

/**
 * statslog_depths() - used stack of each live subprogram
 * @log: text, need not be terminated
 * @len: bytes of @log; reading stops at a NUL
 * @depths: @cap elements, filled with bytes of stack
 * @ret_cnt: elements filled; untouched on failure
 *
 * Errors: -ENOENT no such line at the end, -EBADMSG malformed, -E2BIG more than @cap numbers.
 */
int statslog_depths(const char *log, size_t len, uint32_t *depths, uint32_t cap, uint32_t *ret_cnt);

/**
 * statslog_filter() - turn a log of level (@user_level | STATSLOG_STATS) into one of @user_level
 * @log: edited in place; need not be terminated
 * @len: bytes of @log; reading stops at a NUL
 * @user_level: what the tool asked for; 0 leaves an empty log
 *
 * Return: new length, at most @len; the bytes after it are undefined.
 */
size_t statslog_filter(char *log, size_t len, uint32_t user_level);
