/* SPDX-License-Identifier: MIT */
/*
 * Log lines on standard error. Only notifier/ calls this (see base/reason.h).
 */
#pragma once

enum log_level {
	LOG_ERROR,  /* we failed; somebody should look */
	LOG_NOTICE, /* a refusal, a lost event: what an operator wants to know */
	LOG_DEBUG,  /* every call; shown with --verbose */
};

/** log_set_level() - drop lines above @level (default LOG_NOTICE) */
void log_set_level(enum log_level level);

/** log_enabled() - whether a line of @level would be written */
int log_enabled(enum log_level level);

/** log_line() - write one line "bpfshimd: ..."; adds the newline, never fails, keeps errno */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	log_line(LOG_ERROR, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_debug(...)	log_line(LOG_DEBUG, __VA_ARGS__)
